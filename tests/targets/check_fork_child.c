/* SPDX-License-Identifier: Apache-2.0 */
/* A child leaks what its parent leaked before the fork, and more of its own; its parent leaks other blocks. */
#include "leaktruth.h"

#include <sys/wait.h>

static void *kept;

NOINLINE static void make_inherited(void)
{
	LEAK(leak_new(616), 616, DEFINITE);
}

NOINLINE static void make_kept(void)
{
	kept = leak_new(632);
	ESCAPE(&kept);
	LEAK(kept, 632, REACHABLE);
}

NOINLINE static void make_childs(void)
{
	LEAK(leak_new(648), 648, DEFINITE);
}

NOINLINE static void make_parents(void)
{
	LEAK(leak_new(664), 664, DEFINITE);
}

/* With a ledger what the parent lost is shown as its parent's: not blamed on the child again. */
static void excuse_inherited(void)
{
	struct leak_site *s = leak_sites;

	CHECK(!strcmp(s->function, "make_inherited"));
	for (int m = MOMENT_TRACKED; m <= MOMENT_END; m++) {
		s->count[m][SUPPRESSED] = s->count[m][DEFINITE];
		s->count[m][DEFINITE] = (struct leak_count){ 0, 0, 0 };
	}
}

/* Both print and wait; the parent ends after its child. */
int main(int argc, char **argv)
{
	int status, to_parent[2];
	pid_t child;
	char c;

	for (int i = 0; i < 10; i++)
		make_inherited();
	make_kept();
	CHECK(!pipe(to_parent));
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		excuse_inherited();
		for (int i = 0; i < 3; i++)
			make_childs();
		leak_print("check_fork_child", "child");
		close(to_parent[0]);
		close(to_parent[1]);
		if (leak_holds(argc, argv))
			leak_wait();
		leak_scrub();
		exit(0);
	}
	close(to_parent[1]);
	if (!leak_holds(argc, argv))
		CHECK(waitpid(child, &status, 0) == child && !status);
	else
		CHECK(!read(to_parent[0], &c, 1)); /* its line comes first */
	for (int i = 0; i < 5; i++)
		make_parents();
	leak_pause("check_fork_child", argc, argv);
	if (leak_holds(argc, argv))
		CHECK(waitpid(child, &status, 0) == child);
	exit(0);
}
