/* SPDX-License-Identifier: Apache-2.0 */
/* Reachable when exit() is called; then an exit handler and a destructor drop the pointers, and another frees its block. */
#include "leaktruth.h"

static void *dropped_by_handler, *dropped_by_destructor, *freed_by_destructor;

NOINLINE static void make_all(void)
{
	dropped_by_handler = leak_new(712);
	LEAK_AT(dropped_by_handler, 712, REACHABLE, REACHABLE, REACHABLE, DEFINITE);
	dropped_by_destructor = leak_new(728);
	LEAK_AT(dropped_by_destructor, 728, REACHABLE, REACHABLE, REACHABLE, DEFINITE);
	freed_by_destructor = leak_new(744);
	ESCAPE(&dropped_by_handler);
	ESCAPE(&dropped_by_destructor);
	LEAK_AT(freed_by_destructor, 744, REACHABLE, REACHABLE, REACHABLE, NONE);
}

static void handler(void)
{
	dropped_by_handler = NULL;
	leak_scrub();
}

__attribute__((destructor)) static void last(void)
{
	dropped_by_destructor = NULL;
	free(freed_by_destructor);
	freed_by_destructor = NULL;
	leak_scrub();
}

int main(int argc, char **argv)
{
	make_all();
	CHECK(!atexit(handler));
	leak_ready("check_destructor_drops", argc, argv);
}
