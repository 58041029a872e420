/* SPDX-License-Identifier: Apache-2.0 */
/* exit_ways return|exit|_exit|abort|kill9|segv|thread: every way to end leaves the same 25 blocks in the ledger. */
#include "truth.h"

#include <pthread.h>
#include <signal.h>

TRUTH(last_blocks);

NOINLINE static void *last_blocks(void)
{
	return BORN(last_blocks, malloc(4000), 4000);
}

static void *exit_from_thread(void *arg)
{
	(void)arg;
	exit(13);
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "return";
	pthread_t thread;

	for (int i = 0; i < 25; i++)
		ESCAPE(last_blocks());
	truth_print("exit_ways", way);
	if (!strcmp(way, "return"))
		return 10;
	if (!strcmp(way, "exit"))
		exit(11);
	if (!strcmp(way, "_exit"))
		_exit(12);
	if (!strcmp(way, "abort"))
		abort();
	if (!strcmp(way, "kill9"))
		raise(SIGKILL);
	if (!strcmp(way, "segv"))
		raise(SIGSEGV);
	if (!strcmp(way, "thread") && !pthread_create(&thread, NULL, exit_from_thread, NULL))
		pthread_join(thread, NULL);
	return 96;
}
