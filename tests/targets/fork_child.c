/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child that goes on without exec: it frees what it inherited and allocates its own.  Its own
 * blocks are its own; the parent's books are as if the child had never been.
 */
#include "truth.h"

#include <sys/wait.h>

TRUTH(before_fork);
TRUTH(in_child);
TRUTH(in_parent);

static void *inherited[100];

NOINLINE static void *before_fork(void)
{
	return BORN(before_fork, malloc(1000), 1000);
}

NOINLINE static void *in_child(void)
{
	return BORN(in_child, malloc(300), 300);
}

NOINLINE static void *in_parent(void)
{
	return BORN(in_parent, malloc(200), 200);
}

int main(void)
{
	int status;
	pid_t pid;

	for (int i = 0; i < 100; i++)
		inherited[i] = before_fork();
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		for (int i = 0; i < 50; i++)
			free(inherited[i]);
		for (int i = 0; i < 30; i++) {
			void *p = in_child();

			if (i % 3 == 0) {
				DIED(in_child, 300);
				free(p);
			}
		}
		truth_print("fork_child", "child");
		exit(7);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
	for (int i = 0; i < 10; i++)
		ESCAPE(in_parent());
	for (int i = 0; i < 20; i++) {
		DIED(before_fork, 1000);
		free(inherited[i]);
	}
	truth_print("fork_child", "parent");
	return 0;
}
