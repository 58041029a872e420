/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does what standard input says, a line at a time, and answers each with "ok ..." on standard output:
 *
 *     alloc PHASE COUNT SIZE    COUNT blocks of SIZE bytes in the function phase_PHASE (0 to 7)
 *     free PHASE                all of them
 *     grow PHASE SIZE           realloc() of all of them
 *     map PHASE SIZE            an anonymous mapping
 *     fork                      a child takes over the commands; the parent goes on when it has ended
 *     snap NAME                 seep_snapshot(NAME); "ok RESULT"
 *     @ COMMAND                 the same in a second thread, which waits in between
 *     take SIGNAL, count        install a handler of our own; "ok CALLS"
 */
#include "truth.h"

#include "../../include/seep.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PHASES 8
#define MOST 2000000

static char *blocks[PHASES][MOST];
static size_t nblocks[PHASES];

#define PHASE(n)                                     \
	NOINLINE static void *phase_##n(size_t size) \
	{                                            \
		char *p = malloc(size);              \
                                                     \
		CHECK(p);                            \
		p[0] = n;                            \
		ESCAPE(p);                           \
		return p;                            \
	}
PHASE(0)
PHASE(1)
PHASE(2)
PHASE(3)
PHASE(4)
PHASE(5)
PHASE(6)
PHASE(7)
static void *(*const phases[])(size_t) = { phase_0, phase_1, phase_2, phase_3,
	                                   phase_4, phase_5, phase_6, phase_7 };

static volatile sig_atomic_t calls;
static int started; /* the second thread */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;

static void own_handler(int sig)
{
	(void)sig;
	calls++;
}

static long alloc(unsigned int phase, size_t count, size_t size)
{
	for (size_t i = 0; i < count && nblocks[phase] < MOST; i++)
		blocks[phase][nblocks[phase]++] = phases[phase](size);
	return (long)nblocks[phase];
}

static long free_all(unsigned int phase)
{
	long n = (long)nblocks[phase];

	while (nblocks[phase])
		free(blocks[phase][--nblocks[phase]]);
	return n;
}

static long grow(unsigned int phase, size_t size)
{
	for (size_t i = 0; i < nblocks[phase]; i++) {
		blocks[phase][i] = realloc(blocks[phase][i], size);
		CHECK(blocks[phase][i]);
	}
	return (long)nblocks[phase];
}

static long map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	ESCAPE(p);
	return 0;
}

static long fork_child(int *ret_child)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	*ret_child = !pid;
	if (!pid) { /* only one thread comes over, and nobody waits any more */
		started = 0;
		pthread_mutex_init(&lock, NULL);
		pthread_cond_init(&wake, NULL);
	}
	if (pid)
		CHECK(waitpid(pid, NULL, 0) == pid);
	return getpid();
}

static long obey(const char *line)
{
	unsigned int phase = 0;
	size_t a = 0, b = 0;
	char name[64];
	int child = 0;

	if (sscanf(line, "alloc %u %zu %zu", &phase, &a, &b) == 3)
		return alloc(phase % PHASES, a, b);
	if (sscanf(line, "free %u", &phase) == 1)
		return free_all(phase % PHASES);
	if (sscanf(line, "grow %u %zu", &phase, &a) == 2)
		return grow(phase % PHASES, a);
	if (sscanf(line, "map %zu", &a) == 1)
		return map(a);
	if (sscanf(line, "snap %63s", name) == 1)
		return seep_snapshot(name);
	if (sscanf(line, "take %u", &phase) == 1)
		return signal((int)phase, own_handler) == SIG_ERR;
	if (!strncmp(line, "count", 5))
		return calls;
	if (!strncmp(line, "fork", 4))
		return fork_child(&child);
	return -99;
}

/* ---- the second thread ------------------------------------------------------------------ */

static char order[256];
static int ordered;
static long result;

static void *second(void *arg)
{
	pthread_mutex_lock(&lock);
	for (;;) {
		while (!ordered)
			pthread_cond_wait(&wake, &lock);
		result = obey(order);
		ordered = 0;
		pthread_cond_broadcast(&wake);
	}
	return arg;
}

static long obey_there(const char *line)
{
	pthread_t thread;
	long r;

	if (!started++)
		CHECK(!pthread_create(&thread, NULL, second, NULL));
	pthread_mutex_lock(&lock);
	strncpy(order, line, sizeof(order) - 1);
	ordered = 1;
	pthread_cond_broadcast(&wake);
	while (ordered)
		pthread_cond_wait(&wake, &lock);
	r = result;
	pthread_mutex_unlock(&lock);
	return r;
}

/* stdio would allocate at moments of its own. */
static int read_line(char *line, size_t size)
{
	size_t n = 0;

	while (n + 1 < size) {
		ssize_t r = read(0, line + n, 1);

		if (r < 0)
			continue;
		if (!r || line[n] == '\n')
			break;
		n++;
	}
	line[n] = '\0';
	return n > 0;
}

int main(void)
{
	char line[256], answer[64];

	while (read_line(line, sizeof(line))) {
		long r = line[0] == '@' ? obey_there(line + 2) : obey(line);
		int n = snprintf(answer, sizeof(answer), "ok %ld\n", r);

		CHECK(write(1, answer, (size_t)n) == n);
	}
	return 0;
}
