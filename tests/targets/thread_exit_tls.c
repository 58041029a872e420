/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that come and go, with per-thread buffers freed by key destructors, which allocate once more:
 * the last things a thread does happen after its start routine returned.
 */
#include "truth.h"

#include <pthread.h>

#define ROUNDS 50
#define THREADS 4

TRUTH(make_buffer);
TRUTH(make_late);

static pthread_key_t buffer_key, late_key;
static pthread_barrier_t all_here; /* all threads at once: libc uses the memory of a dead one again */

NOINLINE static void *make_buffer(void)
{
	return BORN(make_buffer, malloc(333), 333);
}

NOINLINE static void *make_late(void)
{
	return BORN(make_late, malloc(77), 77);
}

static void free_buffer(void *p)
{
	DIED(make_buffer, 333);
	free(p);
	CHECK(!pthread_setspecific(late_key, make_late()));
}

static void free_late(void *p)
{
	DIED(make_late, 77);
	free(p);
}

static void *worker(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&all_here);
	CHECK(!pthread_setspecific(buffer_key, make_buffer()));
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	CHECK(!pthread_barrier_init(&all_here, NULL, THREADS));
	CHECK(!pthread_key_create(&buffer_key, free_buffer));
	CHECK(!pthread_key_create(&late_key, free_late));
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < THREADS; i++)
			CHECK(!pthread_create(&threads[i], NULL, worker, NULL));
		for (int i = 0; i < THREADS; i++)
			CHECK(!pthread_join(threads[i], NULL));
	}
	truth_print("thread_exit_tls", "main");
	return 0;
}
