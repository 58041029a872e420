/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One large block freed raises malloc's thresholds; from then on the ends of threads' arenas stay, however much is freed
 * there.  malloc_trim() does not see them.
 */
#include "doctor_truth.h"

#include <pthread.h>

#define THREADS 4
#define N 8000

static pthread_barrier_t full, empty;

static void *work(void *arg)
{
	static __thread char *blocks[N];

	(void)arg;
	for (size_t i = 0; i < N; i++)
		blocks[i] = doctor_block(4000);
	pthread_barrier_wait(&full);
	for (size_t i = 0; i < N; i++)
		free(blocks[i]);
	memset(blocks, 0, sizeof(blocks));
	pthread_barrier_wait(&empty);
	while (pause())
		;
	return NULL;
}

int main(void)
{
	pthread_t t;
	uint64_t before, during;

	free(doctor_block(31 * MIB));
	pthread_barrier_init(&full, NULL, THREADS + 1);
	pthread_barrier_init(&empty, NULL, THREADS + 1);
	before = doctor_anonymous();
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t, NULL, work, NULL);
	pthread_barrier_wait(&full);
	pthread_barrier_wait(&empty);
	/* Each thread's table of pointers is resident, too. */
	during = doctor_anonymous() - before - THREADS * N * sizeof(char *);
	doctor_say("thread-arena-tops",
	           (struct doctor_truth[]){ { "free_thread_tops", during }, { NULL, 0 } });
	while (doctor_wait())
		;
	_exit(0);
}
