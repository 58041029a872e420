/* SPDX-License-Identifier: Apache-2.0 */
/* Twelve threads at a time, each with an arena, each leaving one block in use at its arena's end, then gone: the arenas stay. */
#include "doctor_truth.h"

#include <pthread.h>

#define THREADS 12
#define N 1500

static pthread_barrier_t all;
static void *left[THREADS];
static uint64_t freed[THREADS];

static void *work(void *arg)
{
	size_t me = (size_t)(uintptr_t)arg;
	char **blocks = malloc(N * sizeof(*blocks));

	pthread_barrier_wait(&all);
	for (size_t i = 0; i < N; i++)
		blocks[i] = doctor_block(4000);
	left[me] = doctor_block(4000);
	freed[me] = doctor_pages_between(blocks[0], left[me]);
	for (size_t i = 0; i < N; i++)
		free(blocks[i]);
	free(blocks);
	pthread_barrier_wait(&all);
	return NULL;
}

int main(void)
{
	pthread_t t[THREADS];
	uint64_t sum = 0;

	mallopt(M_ARENA_MAX, 32);
	pthread_barrier_init(&all, NULL, THREADS);
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, work, (void *)(uintptr_t)i);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (size_t i = 0; i < THREADS; i++)
		sum += freed[i];
	doctor_say("arenas-left", (struct doctor_truth[]){ { "free_bins", sum }, { NULL, 0 } });
	while (doctor_wait())
		;
	return 0;
}
