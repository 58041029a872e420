/* SPDX-License-Identifier: Apache-2.0 */
/* Sixty threads, each with its cache full: seven free blocks of each of 64 sizes. */
#include "doctor_truth.h"

#include <pthread.h>

#define THREADS 60
#define BINS 64
#define EACH 7

static pthread_barrier_t filled;
static uint64_t cached;

static void *work(void *arg)
{
	void *blocks[BINS][EACH];
	uint64_t sum = 0;

	(void)arg;
	for (size_t b = 0; b < BINS; b++)
		for (size_t i = 0; i < EACH; i++)
			blocks[b][i] = doctor_block(24 + 16 * b);
	for (size_t b = 0; b < BINS; b++)
		for (size_t i = 0; i < EACH; i++) {
			sum += malloc_usable_size(blocks[b][i]) + 8;
			free(blocks[b][i]);
		}
	__atomic_fetch_add(&cached, sum, __ATOMIC_SEQ_CST);
	pthread_barrier_wait(&filled);
	while (pause())
		;
	return NULL;
}

int main(void)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	pthread_barrier_init(&filled, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t, &attr, work, NULL);
	pthread_barrier_wait(&filled);
	doctor_say("thread-caches", (struct doctor_truth[]){ { "cached", cached }, { NULL, 0 } });
	while (doctor_wait())
		;
	_exit(0);
}
