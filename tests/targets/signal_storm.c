/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signal_storm [SIGNALS]: a timer interrupts a program that does nothing but allocate.  The handler maps and unmaps memory, also
 * when it interrupted the allocator or the tracker (those events may be counted as lost, never
 * deadlock), and calls malloc only where it interrupted neither, as a careful handler may.
 */
#include "truth.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

TRUTH(handler_alloc);
TRUTH(main_alloc);

static volatile sig_atomic_t inside, signals;

NOINLINE static void *handler_alloc(size_t size)
{
	return BORN(handler_alloc, malloc(size), size);
}

NOINLINE static void *main_alloc(size_t size)
{
	void *p;

	inside = 1;
	p = BORN(main_alloc, malloc(size), size);
	inside = 0;
	return p;
}

static void on_timer(int sig)
{
	void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)sig;
	CHECK(map != MAP_FAILED);
	*(char *)map = 1;
	CHECK(!munmap(map, 4096));
	if (!inside)
		ESCAPE(handler_alloc(20));
	signals++;
}

int main(int argc, char **argv)
{
	int wanted = argc > 1 ? atoi(argv[1]) : 300;
	struct sigaction action = { .sa_handler = on_timer, .sa_flags = SA_RESTART };
	struct itimerval every = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };

	CHECK(!sigaction(SIGALRM, &action, NULL));
	CHECK(!setitimer(ITIMER_REAL, &every, NULL));
	for (unsigned long i = 0; signals < wanted; i++) {
		void *p = main_alloc(1 + i % 300);

		inside = 1;
		DIED(main_alloc, 1 + i % 300);
		free(p);
		inside = 0;
	}
	CHECK(!setitimer(ITIMER_REAL, &never, NULL));
	truth_print("signal_storm", "main");
	return 0;
}
