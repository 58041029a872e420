/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A glibc heap with everything malloc_info() counts: arenas of several threads with several heaps, fastbins,
 * small and large bins, unsorted chunks, mapped blocks.  Answers on stdin:
 *
 *     x  malloc_info(), then "end"     i  mallinfo2() as JSON
 *     t  malloc_stats(), on stderr, then {"told": 1}     q  ends
 */
#include <malloc.h>

#include "doctor_allocator.h"

#define N 4000

/* Before glibc 2.33 there is none; its sums fit into ints here. */
struct info2 {
	size_t v[10];
};
struct info2 mallinfo2_here(void) __asm__("mallinfo2") __attribute__((weak));
struct info1 {
	int v[10];
};
struct info1 mallinfo1_here(void) __asm__("mallinfo");

static void say_info(void)
{
	static const char *const names[] = { "arena",    "ordblks", "smblks",  "hblks",
		                             "hblkhd",   "usmblks", "fsmblks", "uordblks",
		                             "fordblks", "keepcost" };
	static char line[1024];
	size_t n = 0;
	struct info2 m = { { 0 } };

	if (mallinfo2_here) {
		m = mallinfo2_here();
	} else {
		struct info1 old = mallinfo1_here();

		for (int i = 0; i < 10; i++)
			m.v[i] = (unsigned int)old.v[i];
	}
	for (int i = 0; i < 10; i++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s\"%s\": %zu", i ? ", " : "{",
		                      names[i], m.v[i]);
	say("%s}\n", line);
}

static void churn(unsigned int seed, void **p)
{
	for (int i = 0; i < N; i++) {
		size_t size = seed % 7 ? 16 + seed % 3000 : 16 + seed % 90000;

		p[i] = malloc(size);
		memset(p[i], 1, size);
		seed = seed * 1103515245 + 12345;
	}
	for (int i = 0; i < N; i++) {
		seed = seed * 1103515245 + 12345;
		if (seed & 0x10000) {
			free(p[i]);
			p[i] = NULL;
		}
	}
}

static void *worker(void *arg)
{
	unsigned int number = (unsigned int)(uintptr_t)arg;
	void **p = malloc(N * sizeof(*p));
	char byte;

	churn(number * 77, p);
	pthread_barrier_wait(&made);
	while (read(thread_pipe[0], &byte, 1) < 0)
		;
	return p;
}

int main(void)
{
	static void *p[N], *small[600];
	static char buffer[65536];
	char c;

	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	pthread_barrier_init(&made, NULL, THREADS + 1);
	if (pipe(thread_pipe))
		die("pipe");
	for (uintptr_t i = 0; i < THREADS; i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, worker, (void *)i))
			die("pthread_create");
	}
	pthread_barrier_wait(&made);
	churn(1, p);
	p[0] = malloc(3 << 20);
	/* More of the small than thread caches take: fastbins. */
	for (int i = 0; i < 600; i++)
		small[i] = malloc(24 + (size_t)(i % 4) * 16);
	for (int i = 0; i < 600; i++)
		free(small[i]);
	malloc_info(0, stdout);
	malloc_stats();
	fflush(stdout);
	say("\n{\"ready\": %d}\n", (int)getpid());
	while (read(STDIN_FILENO, &c, 1) == 1) {
		if (c == 'x') {
			malloc_info(0, stdout);
			fflush(stdout);
			say("end\n");
		} else if (c == 't') {
			malloc_stats();
			say("{\"told\": 1}\n");
		} else if (c == 'i') {
			say_info();
		} else if (c == 'q') {
			return 0;
		}
	}
	return 0;
}
