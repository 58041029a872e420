/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that end and are never joined: 400 more at each line.  Of each stack glibc keeps its last 16 KiB and what
 * lies above, in case somebody joins.
 */
#include "doctor_truth.h"

#include <pthread.h>
#include <sys/mman.h>

#define THREADS 400
#define MOST 8000
#define STACK (256u * 1024u)

static struct {
	void *start;
	size_t size;
} stacks[MOST];
static size_t nstacks;

static void *work(void *arg)
{
	volatile char deep[STACK / 2];
	pthread_attr_t attr;
	size_t me = __atomic_fetch_add(&nstacks, 1, __ATOMIC_SEQ_CST);

	for (size_t i = 0; i < sizeof(deep); i += 512)
		deep[i] = 1;
	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &stacks[me].start, &stacks[me].size);
	pthread_attr_destroy(&attr);
	return arg;
}

static int running(void)
{
	int n = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Threads: %d", &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

int main(void)
{
	static unsigned char pages[STACK / PAGE + 16];
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	do {
		uint64_t resident = 0;

		for (int i = 0; i < THREADS && nstacks < MOST - THREADS; i++)
			if (pthread_create(&t, &attr, work, NULL))
				return 1;
		while (running() > 1)
			usleep(1000);
		for (size_t i = 0; i < nstacks; i++) {
			if (mincore(stacks[i].start, stacks[i].size, pages))
				return 1;
			for (size_t k = 0; k < stacks[i].size / PAGE; k++)
				resident += (pages[k] & 1) * PAGE;
		}
		doctor_say("thread-stacks",
		           (struct doctor_truth[]){ { "stacks_ended", resident }, { NULL, 0 } });
	} while (doctor_wait());
	_exit(0);
}
