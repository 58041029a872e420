/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks are freed by another thread than the one that allocated them, some after their thread is gone. */
#include "truth.h"

#include <pthread.h>

#define PRODUCERS 3
#define EACH 2000

TRUTH(produce_block);

static void *queue[PRODUCERS * EACH];
static unsigned int filled[PRODUCERS];
static pthread_barrier_t all_here; /* all threads at once: libc uses the memory of a dead one again */

static size_t block_size(size_t i)
{
	return 8 + i % 500;
}

NOINLINE static void *produce_block(size_t size)
{
	return BORN(produce_block, malloc(size), size);
}

static void *producer(void *arg)
{
	uintptr_t id = (uintptr_t)arg;

	pthread_barrier_wait(&all_here);
	for (size_t i = 0; i < EACH; i++) {
		queue[id * EACH + i] = produce_block(block_size(i));
		__atomic_store_n(&filled[id], (unsigned int)i + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Frees the first three quarters of what a producer makes, while it makes it. */
static void *consumer(void *arg)
{
	uintptr_t id = (uintptr_t)arg;

	pthread_barrier_wait(&all_here);
	for (size_t i = 0; i < EACH * 3 / 4; i++) {
		while (__atomic_load_n(&filled[id], __ATOMIC_ACQUIRE) <= i)
			sched_yield();
		DIED(produce_block, block_size(i));
		free(queue[id * EACH + i]);
	}
	return NULL;
}

int main(void)
{
	pthread_t producers[PRODUCERS], consumers[PRODUCERS];

	CHECK(!pthread_barrier_init(&all_here, NULL, 2 * PRODUCERS));
	for (uintptr_t i = 0; i < PRODUCERS; i++) {
		CHECK(!pthread_create(&producers[i], NULL, producer, (void *)i));
		CHECK(!pthread_create(&consumers[i], NULL, consumer, (void *)i));
	}
	for (int i = 0; i < PRODUCERS; i++) {
		CHECK(!pthread_join(producers[i], NULL));
		CHECK(!pthread_join(consumers[i], NULL));
	}
	for (size_t i = EACH * 3 / 4; i < EACH; i += 2) { /* producer 0 is gone by now */
		DIED(produce_block, block_size(i));
		free(queue[i]);
	}
	truth_print("cross_thread_free", "main");
	return 0;
}
