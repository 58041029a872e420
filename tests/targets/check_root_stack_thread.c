/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointers are on the stacks of other threads, which wait. */
#include "check_threads.h"

NOINLINE static void *make_kept(void)
{
	void *p = leak_new(280);

	LEAK(p, 280, REACHABLE);
	return p;
}

static void *run(void *arg)
{
	void *kept[3];

	(void)arg;
	for (int i = 0; i < 3; i++)
		kept[i] = make_kept();
	ESCAPE(kept);
	thread_wait();
	ESCAPE(kept);
	return NULL;
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 20; i++)
		thread_start(run, NULL);
	leak_ready("check_root_stack_thread", argc, argv);
}
