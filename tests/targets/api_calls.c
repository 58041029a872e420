/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call of include/seep.h, once, with what it gave: built position-independent or not, static, and as
 * C++ (api_calls_cxx.cc includes this file).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../include/seep.h"

#define NOINLINE __attribute__((noinline))
/* Or the compiler may leave the allocation out. */
#define ESCAPE(p) __asm__ volatile("" : : "g"(p) : "memory")

static char region[256];

NOINLINE static void *guarded(size_t size)
{
	SEEP_DISABLE_SCOPE;

	return malloc(size);
}

static void said(const char *what, long value)
{
	printf("%s %ld\n", what, value);
}

static void marks(void *ignored, void *again)
{
	seep_ignore(ignored);
	seep_ignore(again);
	seep_unignore(again);
	seep_ignore(NULL);
	seep_register_root(region, 64);
	seep_register_root(region + 128, 128);
	seep_unregister_root(region + 128, 128);
	printf("ignored %p\nregion %p\n", ignored, (void *)region);
}

static void checks(void)
{
	struct seep_check_result r = { 77, 78 };

	said("check", seep_check(&r));
	printf("result %lu %lu\n", (unsigned long)r.leaked_blocks, (unsigned long)r.leaked_bytes);
	said("check-without-result", seep_check(NULL));
	said("begin", seep_check_begin("request"));
	r.leaked_blocks = r.leaked_bytes = 79;
	said("end", seep_check_end("request", &r));
	printf("result %lu %lu\n", (unsigned long)r.leaked_blocks, (unsigned long)r.leaked_bytes);
	said("begin-without-name", seep_check_begin(NULL));
}

int main(int argc, char **argv)
{
	void *blocks[8];
	int status = 0;
	pid_t pid;

	(void)argv;
	errno = 99;
	said("present", seep_present());
	printf("version %s\n", seep_version() ? seep_version() : "none");
	marks(malloc(24), malloc(25));
	blocks[0] = guarded(1001);
	blocks[1] = malloc(1002);
	seep_disable();
	seep_disable();
	seep_enable();
	blocks[2] = malloc(1003);
	seep_enable();
	seep_enable();
	blocks[3] = malloc(1004);
#ifdef __cplusplus
	{
		seep::disable_scope scope;

		blocks[4] = malloc(1005);
	}
#else
	blocks[4] = guarded(1005);
#endif
	ESCAPE(blocks);
	checks();
	said("errno", errno);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		seep_ignore(region + 1);
		_exit(seep_present() ? 41 : 40);
	}
	waitpid(pid, &status, 0);
	printf("child %d %d\n", (int)pid, WEXITSTATUS(status));
	for (int i = 0; i < 5; i++)
		printf("%s", blocks[i] ? "" : "no memory\n");
	return argc > 5 ? 1 : 0;
}
