/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach_calls: for trackers that come while the program runs.
 *
 * Before the first line of standard input it makes blocks that no tracker sees; then, for each line, a round of every call
 * there is.  "free" gives back the blocks from before, "kid" lets a forked child make a round, "x" and a number are so many blocks that are freed at once (tens), "exec" goes on as another
 * program (this one), anything else is a number of rounds.  After each line the truth so far, of what was allocated since
 * the first one.
 */
#include "truth.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define OLD 100

TRUTH(make_plain);
TRUTH(make_zeroed);
TRUTH(make_grown);
TRUTH(make_kept);
TRUTH(make_aligned);
TRUTH(make_posix);
TRUTH(make_c11);
TRUTH(make_deep);
TRUTH(make_mapping);
TRUTH(make_moved);
TRUTH(make_threaded);
TRUTH(make_freed);

static void *old[OLD];
static void *volatile sink[64];
static size_t huge;

NOINLINE static void make_plain(void)
{
	sink[0] = BORN(make_plain, malloc(101), 101);
	NOTAIL();
}

NOINLINE static void make_zeroed(void)
{
	sink[1] = BORN(make_zeroed, calloc(7, 29), 7 * 29);
	NOTAIL();
}

/* Each step is a block of this function that replaces the one before. */
NOINLINE static void make_grown(void)
{
	void *p = BORN(make_grown, realloc(NULL, 50), 50);

	for (size_t n = 50; n < 100000; n *= 3) {
		p = realloc(p, n * 3);
		DIED(make_grown, n);
		BORN(make_grown, p, n * 3);
	}
	sink[2] = p;
	NOTAIL();
}

/* A realloc that fails leaves the block as it is. */
NOINLINE static void make_kept(void)
{
	void *p = BORN(make_kept, malloc(333), 333);
	void *q = realloc(p, huge);

	if (q)
		_exit(98);
	sink[3] = p;
	NOTAIL();
}

NOINLINE static void make_aligned(void)
{
	sink[4] = BORN(make_aligned, memalign(256, 700), 700);
	NOTAIL();
}

NOINLINE static void make_posix(void)
{
	void *p = NULL;

	if (posix_memalign(&p, 4096, 5000))
		_exit(97);
	sink[5] = BORN(make_posix, p, 5000);
	NOTAIL();
}

NOINLINE static void make_c11(void)
{
	sink[6] = BORN(make_c11, aligned_alloc(64, 640), 640);
	NOTAIL();
}

NOINLINE static void make_deep(int depth)
{
	volatile char frame[128];

	frame[0] = (char)depth;
	if (depth > 0)
		make_deep(depth - 1);
	else
		sink[7] = BORN(make_deep, malloc(48), 48);
	frame[1] = frame[0];
	NOTAIL();
}

NOINLINE static void make_mapping(void)
{
	char *p = mmap(NULL, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || munmap(p + 3 * 4096, 2 * 4096))
		_exit(96);
	/* what is left of it counts as a block of its own */
	BORN(make_mapping, p, 5 * 4096);
	DIED(make_mapping, 5 * 4096);
	BORN(make_mapping, p, 3 * 4096);
	NOTAIL();
}

NOINLINE static void make_moved(void)
{
	void *p = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		_exit(95);
	BORN(make_moved, p, 2 * 4096);
	p = mremap(p, 2 * 4096, 40 * 4096, MREMAP_MAYMOVE);
	if (p == MAP_FAILED)
		_exit(94);
	DIED(make_moved, 2 * 4096);
	BORN(make_moved, p, 40 * 4096);
	NOTAIL();
}

NOINLINE static void *make_threaded(void *arg)
{
	sink[8] = BORN(make_threaded, malloc(1234), 1234);
	NOTAIL();
	return arg;
}

NOINLINE static void make_freed(void)
{
	for (int i = 0; i < 10; i++) {
		void *p = BORN(make_freed, malloc(77), 77);

		free(p);
		DIED(make_freed, 77);
	}
	NOTAIL();
}

static void round_of_calls(void)
{
	pthread_t thread;

	make_plain();
	make_zeroed();
	make_grown();
	make_kept();
	make_aligned();
	make_posix();
	make_c11();
	make_deep(40);
	make_mapping();
	make_moved();
	make_freed();
	if (!pthread_create(&thread, NULL, make_threaded, NULL))
		pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	char line[64];
	size_t used = 0;

	(void)argc;
	huge = SIZE_MAX / 2 - 4096;
	for (int i = 0; i < OLD; i++)
		old[i] = malloc(1000);
	truth_write("ready\n", 6);
	while (used < sizeof(line) - 1 && read(0, line + used, 1) == 1) {
		if (line[used] != '\n') {
			used++;
			continue;
		}
		line[used] = '\0';
		used = 0;
		if (line[0] == 'f') {
			for (int i = 0; i < OLD; i++) {
				free(old[i]);
				old[i] = NULL;
			}
		}
		if (line[0] == 'k') {
			pid_t child = fork();

			if (!child) {
				round_of_calls();
				_exit(0);
			}
			waitpid(child, NULL, 0);
		}
		if (line[0] == 'e')
			execv("/proc/self/exe", argv);
		for (int i = line[0] == 'x' ? atoi(line + 1) : 0; i > 0; i--)
			make_freed();
		for (int i = atoi(line); i > 0; i--)
			round_of_calls();
		truth_print("attach_calls", "main");
	}
	return 0;
}
