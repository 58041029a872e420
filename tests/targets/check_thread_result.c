/* SPDX-License-Identifier: Apache-2.0 */
/* A thread has ended and was not joined yet: what it returned is still to be had. */
#include "check_threads.h"

#include <fcntl.h>

NOINLINE static void *make_kept(void)
{
	void *p = leak_new(312);

	LEAK(p, 312, REACHABLE);
	return p;
}

static void *run(void *arg)
{
	(void)arg;
	return make_kept();
}

static pthread_t thread;

/* Ended for the kernel as well: the process has one thread again. */
static bool alone(void)
{
	char status[4096] = "";
	int fd = open("/proc/self/status", O_RDONLY);

	CHECK(fd >= 0 && read(fd, status, sizeof(status) - 1) > 0);
	close(fd);
	return strstr(status, "Threads:\t1\n");
}

int main(int argc, char **argv)
{
	CHECK(!pthread_create(&thread, NULL, run, NULL));
	while (!alone())
		sched_yield();
	leak_ready("check_thread_result", argc, argv);
}
