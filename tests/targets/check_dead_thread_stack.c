/* SPDX-License-Identifier: Apache-2.0 */
/* Pointers on the stacks of threads that have ended: the stacks are kept for reuse, and hold nothing. */
#include "check_threads.h"

NOINLINE static void *make_lost(void)
{
	void *p = leak_new(296);

	LEAK(p, 296, DEFINITE);
	return p;
}

NOINLINE static void fill_frame(void)
{
	void *kept[64];

	for (int i = 0; i < 64; i++)
		kept[i] = make_lost();
	ESCAPE(kept);
}

static void *run(void *arg)
{
	fill_frame();
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&thread[i], NULL, run, NULL));
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(thread[i], NULL));
	leak_ready("check_dead_thread_stack", argc, argv);
}
