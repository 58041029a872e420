/* SPDX-License-Identifier: Apache-2.0 */
/* fork and exec, the usual way to start a program: two programs, two ledgers, one summary. */
#include "truth.h"

#include <sys/wait.h>

TRUTH(in_parent);
TRUTH(in_program);

NOINLINE static void *in_parent(void)
{
	return BORN(in_parent, malloc(111), 111);
}

NOINLINE static void *in_program(void)
{
	return BORN(in_program, malloc(222), 222);
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc > 1) {
		for (int i = 0; i < 5; i++)
			ESCAPE(in_program());
		truth_print("fork_exec", "program");
		return 3;
	}
	for (int i = 0; i < 20; i++)
		ESCAPE(in_parent());
	for (int i = 0; i < 3; i++) {
		pid = fork();
		if (!pid) {
			execl("/proc/self/exe", argv[0], "program", (char *)NULL);
			_exit(127);
		}
		CHECK(pid > 0);
		CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
		CHECK(WEXITSTATUS(status) == 3);
		ESCAPE(in_parent());
	}
	truth_print("fork_exec", "parent");
	return 0;
}
