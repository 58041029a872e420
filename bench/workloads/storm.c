/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storm [THREADS [OPS [LIVE]]]: does the tracker scale as the bare program does?
 *
 * The same work per thread is timed with 1, 2, ... THREADS (2) threads at once: each thread owns LIVE (20,000) blocks and
 * replaces a random one OPS (1,000,000) times; one replacement in 16 goes through a mailbox shared by all,
 * so that blocks are also freed by a thread that did not allocate them.  Also a single worker runs in a thread of its
 * own, lest libc's shortcuts for single-threaded programs flatter it.  Prints one line of JSON: operations
 * (one malloc and one free) per second for every number of threads.
 */
#include "stacks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define MAX_THREADS 64u
#define MAILBOX 1024u

static _Atomic(void *) mailbox[MAILBOX];
static pthread_barrier_t start_line;
static unsigned long ops = 1000000, live = 20000;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void *new_block(uint64_t r)
{
	char *p = stack_malloc((unsigned int)(r & (STACKS - 1)), 16 + (r >> 40) % 288);

	if (!p) {
		fputs("storm: out of memory\n", stderr);
		exit(1);
	}
	p[0] = (char)r;
	return p;
}

/* What a worker is told and tells: its own clock, so that it does not matter when anyone else wakes up. */
struct worker {
	pthread_t thread;
	uint64_t seed;
	double start, end;
};

static void *worker(void *arg)
{
	struct worker *w = arg;
	uint64_t random = w->seed;
	void **blocks = calloc(live, sizeof(*blocks));

	if (!blocks)
		exit(1);
	for (unsigned long i = 0; i < live; i++)
		blocks[i] = new_block(stack_random(&random));
	pthread_barrier_wait(&start_line);
	w->start = now();
	for (unsigned long i = 0; i < ops; i++) {
		uint64_t r = stack_random(&random);
		size_t victim = (uint64_t)(uint32_t)r * live >> 32;
		void *old = blocks[victim];

		if (!(r >> 60))
			old = atomic_exchange(&mailbox[(r >> 32) % MAILBOX], old);
		free(old);
		blocks[victim] = new_block(stack_random(&random));
	}
	w->end = now();
	for (unsigned long i = 0; i < live; i++)
		free(blocks[i]);
	free(blocks);
	return NULL;
}

/* Seconds from the first worker's start to the last one's end. */
static double run(unsigned int nthreads)
{
	struct worker workers[MAX_THREADS];
	double start = 0, end = 0;

	pthread_barrier_init(&start_line, NULL, nthreads);
	for (unsigned int i = 0; i < nthreads; i++) {
		workers[i].seed = 88172645463325252ull + i * 0x9e3779b97f4a7c15ull;
		if (pthread_create(&workers[i].thread, NULL, worker, &workers[i])) {
			fputs("storm: cannot create a thread\n", stderr);
			exit(1);
		}
	}
	for (unsigned int i = 0; i < nthreads; i++) {
		pthread_join(workers[i].thread, NULL);
		if (!i || workers[i].start < start)
			start = workers[i].start;
		if (!i || workers[i].end > end)
			end = workers[i].end;
	}
	pthread_barrier_destroy(&start_line);
	return end - start;
}

int main(int argc, char **argv)
{
	unsigned long max = argc > 1 ? strtoul(argv[1], NULL, 0) : 2;

	if (argc > 2)
		ops = strtoul(argv[2], NULL, 0);
	if (argc > 3)
		live = strtoul(argv[3], NULL, 0);
	if (!max || max > MAX_THREADS || !ops || !live || live > UINT32_MAX)
		return 2;
	printf("{\"workload\": \"storm\", \"ops_per_thread\": %lu, \"ops_per_second\": {", ops);
	for (unsigned int n = 1; n <= max; n++) {
		double seconds = run(n);

		printf("%s\"%u\": %.0f", n > 1 ? ", " : "", n, (double)n * (double)ops / seconds);
	}
	puts("}}");
	for (unsigned int i = 0; i < MAILBOX; i++)
		free(atomic_exchange(&mailbox[i], NULL));
	return 0;
}
