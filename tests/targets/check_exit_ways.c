/* SPDX-License-Identifier: Apache-2.0 */
/* check_exit_ways return|exit|_exit|quick_exit|thread [hold]: whichever way the program ends, its blocks are seen. */
#include "leaktruth.h"

#include <pthread.h>

static void *kept;
static const char *way = "return";

NOINLINE static void make_lost(void)
{
	LEAK(leak_new(776), 776, DEFINITE);
}

NOINLINE static void make_kept(void)
{
	kept = leak_new(792);
	ESCAPE(&kept);
	LEAK(kept, 792, REACHABLE);
}

/* In the frame of main: lost when main returns. */
NOINLINE static void *make_local(void)
{
	bool returns = !strcmp(way, "return");
	void *p = leak_new(808);

	LEAK_AT(p, 808, REACHABLE, REACHABLE, returns ? DEFINITE : REACHABLE,
	        returns ? DEFINITE : REACHABLE);
	return p;
}

static void *run(void *arg)
{
	(void)arg;
	leak_scrub();
	exit(5);
}

int main(int argc, char **argv)
{
	void *local[100];
	pthread_t thread;

	memset(local, 0, sizeof(local));
	if (argc > 1 && strcmp(argv[1], "hold"))
		way = argv[1];
	for (int i = 0; i < 6; i++)
		make_lost();
	make_kept();
	local[50] = make_local();
	ESCAPE(local);
	leak_pause("check_exit_ways", argc, argv);
	if (!strcmp(way, "exit"))
		exit(2);
	if (!strcmp(way, "_exit"))
		_exit(3);
	if (!strcmp(way, "quick_exit"))
		quick_exit(4);
	if (!strcmp(way, "thread")) {
		CHECK(!pthread_create(&thread, NULL, run, NULL));
		for (;;)
			pause();
	}
	ESCAPE(local);
	return 1;
}
