/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exit_park_ways WAY: the ways a program ends, for tests of where it stands still to be checked.
 *
 * Each says where the frame is that ends it ("frame ROLE PID ADDRESS"): what lies above is alive, what is below
 * is not.  The process's own status is 20 and more.
 */
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noinline, noclone))
#endif
#define ESCAPE(p) __asm__ volatile("" : : "g"(p) : "memory")

/* Unbuffered: what was said before _exit() must be seen. */
static void say(const char *role, const void *frame)
{
	dprintf(1, "frame %s %d %p\n", role, (int)getpid(), frame);
}

#define FRAME(role) say(role, __builtin_frame_address(0))

NOINLINE static void deep(unsigned int depth, void (*end)(int), const char *role)
{
	volatile char room[100];

	room[depth] = 1;
	if (depth) {
		deep(depth - 1, end, role);
	} else {
		FRAME(role);
		end(21);
	}
	ESCAPE(room);
}

static void *ender(void *arg)
{
	deep(3, exit, "main");
	return arg;
}

static void *runner(void *arg)
{
	for (;;) {
		void *p = malloc(100);

		ESCAPE(p);
		free(p);
		(void)arg;
	}
	return NULL;
}

static void handler_allocates(void)
{
	void *p = malloc(333);

	ESCAPE(p);
	dprintf(1, "handler\n");
}

static void handler_ends(void)
{
	FRAME("handler");
	_exit(27);
}

static void child_ends(void (*end)(int))
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		FRAME("child");
		end(22);
	}
	waitpid(pid, &status, 0);
	dprintf(1, "child ended %d\n", WEXITSTATUS(status));
}

static void vfork_ends(void)
{
	int status = 0;
	pid_t pid = vfork();

	if (!pid)
		_exit(23);
	waitpid(pid, &status, 0);
	dprintf(1, "child ended %d\n", WEXITSTATUS(status));
}

/* With a value in a register that functions preserve, and nowhere else. */
NOINLINE static void end_with_register(void)
{
	FRAME("main");
	__asm__ volatile("movabsq $0x5eeb00005eeb, %r12\n\t"
	                 "movl $24, %edi\n\t"
	                 "andq $-16, %rsp\n\t"
	                 "call exit@PLT\n\t");
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "return";
	void *kept = malloc(77);
	pthread_t th;

	ESCAPE(kept);
	FRAME("outer");
	if (!strcmp(way, "return"))
		return 20;
	if (!strcmp(way, "exit"))
		deep(10, exit, "main");
	if (!strcmp(way, "_exit"))
		deep(10, _exit, "main");
	if (!strcmp(way, "_Exit"))
		deep(10, _Exit, "main");
	if (!strcmp(way, "quick_exit")) {
		at_quick_exit(handler_allocates);
		deep(10, quick_exit, "main");
	}
	if (!strcmp(way, "register"))
		end_with_register();
	if (!strcmp(way, "err")) {
		errno = ENOENT;
		FRAME("main");
		err(25, "as meant");
	}
	if (!strcmp(way, "thread") && !pthread_create(&th, NULL, ender, NULL))
		pthread_join(th, NULL);
	if (!strcmp(way, "pthread_exit"))
		pthread_exit(NULL);
	if (!strcmp(way, "threads")) {
		for (int i = 0; i < 3; i++)
			if (pthread_create(&th, NULL, runner, NULL))
				abort();
		return 20;
	}
	if (!strcmp(way, "handler")) {
		atexit(handler_allocates);
		return 20;
	}
	if (!strcmp(way, "handler_ends")) {
		atexit(handler_ends);
		return 20;
	}
	if (!strcmp(way, "abort"))
		abort();
	if (!strcmp(way, "fork"))
		child_ends(exit);
	if (!strcmp(way, "fork_exit"))
		child_ends(_exit);
	if (!strcmp(way, "vfork"))
		vfork_ends();
	return 26;
}
