/* SPDX-License-Identifier: Apache-2.0 */
/* A burst of work: see burst.h.  80 MB through eight threads, of which one block in 500 stays. */
#include "burst.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 8
#define BLOCKS 10000u /* for each thread */
#define BLOCK_SIZE 1024u
#define KEEP_EVERY 500u
#define KEPT (BLOCKS / KEEP_EVERY)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* one burst at a time */
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static unsigned int full; /* threads that hold all of their jobs */
static bool drain;        /* they may free them */
static char *kept[THREADS][KEPT];

static char *job_new(void)
{
	char *job = malloc(BLOCK_SIZE);

	if (job)
		memset(job, 1, BLOCK_SIZE);
	return job;
}

/* All are full before any frees: however the threads are scheduled, 80 MB are in use at once. */
static void gate_wait(void)
{
	pthread_mutex_lock(&gate_lock);
	full++;
	pthread_cond_broadcast(&gate_moved);
	while (!drain)
		pthread_cond_wait(&gate_moved, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
}

static void gate_open(unsigned int threads)
{
	pthread_mutex_lock(&gate_lock);
	while (full < threads)
		pthread_cond_wait(&gate_moved, &gate_lock);
	drain = true;
	pthread_cond_broadcast(&gate_moved);
	pthread_mutex_unlock(&gate_lock);
}

static void *burst_worker(void *arg)
{
	char **keep = arg;
	char **jobs = calloc(BLOCKS, sizeof(*jobs));

	for (size_t i = 0; jobs && i < BLOCKS; i++)
		jobs[i] = job_new();
	gate_wait();
	if (!jobs)
		return NULL;
	for (size_t i = 0; i < BLOCKS; i++) {
		if (i % KEEP_EVERY)
			free(jobs[i]);
		else
			keep[i / KEEP_EVERY] = jobs[i];
	}
	free(jobs);
	return NULL;
}

static void free_kept(void)
{
	for (size_t t = 0; t < THREADS; t++)
		for (size_t i = 0; i < KEPT; i++) {
			free(kept[t][i]);
			kept[t][i] = NULL;
		}
}

struct burst_result burst_run(void)
{
	struct burst_result result = { 0, 0, 0 };
	pthread_t threads[THREADS];

	pthread_mutex_lock(&lock);
	free_kept();
	full = 0;
	drain = false;
	while (result.threads < THREADS &&
	       !pthread_create(&threads[result.threads], NULL, burst_worker, kept[result.threads]))
		result.threads++;
	gate_open(result.threads);
	for (unsigned int i = 0; i < result.threads; i++)
		pthread_join(threads[i], NULL);
	pthread_mutex_unlock(&lock);
	result.allocated = (size_t)result.threads * BLOCKS * BLOCK_SIZE;
	result.kept = (size_t)result.threads * KEPT * BLOCK_SIZE;
	return result;
}

void burst_clear(void)
{
	pthread_mutex_lock(&lock);
	free_kept();
	pthread_mutex_unlock(&lock);
}
