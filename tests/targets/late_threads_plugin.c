/* SPDX-License-Identifier: Apache-2.0 */
/* Threads for late_threads.c: one is joined, one is detached and waited for, each makes blocks that stay. */
#include "truth.h"

#include <pthread.h>

unsigned int late_work(unsigned int blocks);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;
static unsigned int made;

NOINLINE static void *late_block(void)
{
	void *p = malloc(40);

	CHECK(p);
	return p;
}

static void *run(void *blocks)
{
	for (unsigned int i = 0; i < *(unsigned int *)blocks; i++)
		ESCAPE(late_block());
	pthread_mutex_lock(&lock);
	made += *(unsigned int *)blocks;
	pthread_cond_signal(&done);
	pthread_mutex_unlock(&lock);
	return NULL;
}

unsigned int late_work(unsigned int blocks)
{
	pthread_t joined, detached;

	made = 0;
	CHECK(!pthread_create(&joined, NULL, run, &blocks));
	CHECK(!pthread_create(&detached, NULL, run, &blocks));
	CHECK(!pthread_detach(detached));
	CHECK(!pthread_join(joined, NULL));
	pthread_mutex_lock(&lock);
	while (made < 2 * blocks)
		pthread_cond_wait(&done, &lock);
	pthread_mutex_unlock(&lock);
	return made;
}
