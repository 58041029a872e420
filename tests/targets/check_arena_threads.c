/* SPDX-License-Identifier: Apache-2.0 */
/* Lost, held and kept blocks in the arenas of threads, of those that wait and of those that have ended. */
#include "check_threads.h"

static void *kept[16];
static char *middles[16];

NOINLINE static void *make_held(void)
{
	void *p = leak_new(88);

	LEAK(p, 88, INDIRECT);
	return p;
}

NOINLINE static void make_lost(void)
{
	void **p = leak_new(568);

	p[3] = make_held();
	LEAK(p, 568, DEFINITE);
}

NOINLINE static void make_kept(int i)
{
	kept[i] = leak_new(584);
	LEAK(kept[i], 584, REACHABLE);
}

NOINLINE static void make_possible(int i)
{
	char *p = leak_new(600);

	middles[i] = p + 304;
	LEAK(p, 600, POSSIBLE);
}

static void build(int i)
{
	for (int k = 0; k < 50; k++) {
		void *gap = malloc(2000); /* holes between the blocks */

		make_lost();
		ESCAPE(gap);
		free(gap);
	}
	make_kept(i);
	make_possible(i);
}

static void *run(void *arg)
{
	build((int)(intptr_t)arg);
	thread_wait();
	return NULL;
}

static void *run_and_end(void *arg)
{
	build((int)(intptr_t)arg);
	return NULL;
}

int main(int argc, char **argv)
{
	mallopt(M_ARENA_MAX, 8);
	for (int i = 0; i < 12; i++)
		thread_start(run, (void *)(intptr_t)i);
	for (int i = 12; i < 16; i++) {
		pthread_t thread;

		CHECK(!pthread_create(&thread, NULL, run_and_end, (void *)(intptr_t)i));
		CHECK(!pthread_join(thread, NULL));
	}
	ESCAPE(kept);
	ESCAPE(middles);
	leak_ready("check_arena_threads", argc, argv);
}
