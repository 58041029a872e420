/* SPDX-License-Identifier: Apache-2.0 */
/* Thread stacks are memory too: four threads of 1 MiB live at the end, two were joined before. */
#include "truth.h"

#include <pthread.h>

#define ALIVE 4
#define JOINED 2
#define STACK_SIZE (1024u * 1024)

TRUTH(start_thread_here);

static pthread_barrier_t running;

static void *stay(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&running);
	for (;;)
		pause();
	return NULL;
}

static void *leave(void *arg)
{
	return arg;
}

NOINLINE static pthread_t start_thread_here(void *(*routine)(void *))
{
	pthread_attr_t attr;
	pthread_t thread;

	CHECK(!pthread_attr_init(&attr));
	CHECK(!pthread_attr_setstacksize(&attr, STACK_SIZE));
	CHECK(!pthread_create(&thread, &attr, routine, NULL));
	CHECK(!pthread_attr_destroy(&attr));
	BORN(start_thread_here, &truth_start_thread_here, STACK_SIZE);
	return thread;
}

int main(void)
{
	CHECK(!pthread_barrier_init(&running, NULL, ALIVE + 1));
	for (int i = 0; i < JOINED; i++) {
		CHECK(!pthread_join(start_thread_here(leave), NULL));
		DIED(start_thread_here, STACK_SIZE);
	}
	for (int i = 0; i < ALIVE; i++)
		start_thread_here(stay);
	pthread_barrier_wait(&running);
	truth_print("stack_threads", "main");
	return 0;
}
