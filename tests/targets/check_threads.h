/* SPDX-License-Identifier: Apache-2.0 */
/* Threads for the targets of the leak checks: started one after the other, each in a known state before the next. */
#ifndef TARGETS_CHECK_THREADS_H
#define TARGETS_CHECK_THREADS_H

#include "leaktruth.h"

#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>

__attribute__((unused)) static int threads_waiting;

/* What a thread says once its state is built; it then waits for the end of the process. */
NOINLINE __attribute__((unused)) static void thread_wait_here(void)
{
	leak_scrub();
	__atomic_fetch_add(&threads_waiting, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
}
#define thread_wait() (leak_scrub(), thread_wait_here())

/* Starts a thread and returns when it waits. */
__attribute__((unused)) static pthread_t thread_start(void *(*run)(void *), void *arg)
{
	int before = __atomic_load_n(&threads_waiting, __ATOMIC_ACQUIRE);
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, run, arg));
	while (__atomic_load_n(&threads_waiting, __ATOMIC_ACQUIRE) == before)
		sched_yield();
	return thread;
}

#endif
