/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dropin_storm: threads allocate and free without pause while profiles are written from signal handlers, from another
 * thread and in forked children, all at once.  dropin_storm SECONDS [PREFIX]: what was kept is the same before
 * and after.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "truth.h"

extern void HeapProfilerStart(const char *) __attribute__((weak));
extern void HeapProfilerDump(const char *) __attribute__((weak));
extern char *GetHeapProfile(void) __attribute__((weak));
extern int mallctl(const char *, void *, size_t *, void *, size_t) __attribute__((weak));

TRUTH(stay);

#define WORKERS 4

static volatile bool stop;
static unsigned long forks, signals, dumps;

NOINLINE static void *stay(void)
{
	return BORN(stay, malloc(1000), 1000);
}

static void on_alarm(int signo)
{
	(void)signo;
	signals++;
	if (signals % 2)
		HeapProfilerDump("alarm");
	else
		mallctl("prof.dump", NULL, NULL, NULL, 0);
}

static void *work(void *arg)
{
	uint64_t x = (uint64_t)(uintptr_t)arg * 977 + 1;
	void *p[256] = { NULL };

	while (!stop) {
		unsigned int i;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		i = x % 256;
		free(p[i]);
		p[i] = malloc(x >> 40 & 0x3ff);
		ESCAPE(p[i]);
	}
	for (int i = 0; i < 256; i++)
		free(p[i]);
	return NULL;
}

static void *dumper(void *arg)
{
	while (!stop) {
		char *profile = GetHeapProfile();

		CHECK(profile);
		free(profile);
		HeapProfilerDump("thread");
		dumps++;
	}
	return arg;
}

static void fork_one(void)
{
	int status, pid = fork();

	if (!pid) {
		stay();
		HeapProfilerDump("child");
		mallctl("prof.dump", NULL, NULL, NULL, 0);
		_exit(0);
	}
	CHECK(pid > 0);
	while (waitpid(pid, &status, 0) != pid)
		;
	CHECK(status == 0);
	forks++;
}

int main(int argc, char **argv)
{
	struct itimerval every = { { 0, 3000 }, { 0, 3000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	pthread_t threads[WORKERS + 1];
	struct timespec begin, now;

	CHECK(argc > 1 && HeapProfilerDump && mallctl && GetHeapProfile);
	if (argc > 2)
		HeapProfilerStart(argv[2]);
	for (int i = 0; i < 500; i++)
		stay();
	for (uintptr_t i = 0; i < WORKERS; i++)
		CHECK(!pthread_create(&threads[i], NULL, work, (void *)(i + 1)));
	CHECK(!pthread_create(&threads[WORKERS], NULL, dumper, NULL));
	CHECK(!sigaction(SIGALRM, &sa, NULL) && !setitimer(ITIMER_REAL, &every, NULL));
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		fork_one();
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begin.tv_sec < atoi(argv[1]));
	stop = true;
	CHECK(!setitimer(ITIMER_REAL, &never, NULL));
	for (int i = 0; i <= WORKERS; i++)
		CHECK(!pthread_join(threads[i], NULL));
	HeapProfilerDump("last");
	printf("%lu forks, %lu signals, %lu dumps\n", forks, signals, dumps);
	fflush(stdout);
	truth_print("dropin_storm", "main");
	return 0;
}
