/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointers are in thread-local variables of a library that came late: in blocks the loader makes for each thread. */
#include "check_plugin.h"

NOINLINE static void make_kept(void)
{
	void *p = leak_new(456);

	plugin_keep_in_thread(p);
	LEAK(p, 456, REACHABLE);
}

static void *run(void *arg)
{
	(void)arg;
	make_kept();
	thread_wait();
	return NULL;
}

static void *run_idle(void *arg)
{
	thread_wait();
	return arg;
}

int main(int argc, char **argv)
{
	thread_start(run_idle, NULL); /* its vector is older than the library */
	plugin_open(argv[0]);
	make_kept();
	for (int i = 0; i < 3; i++)
		thread_start(run, NULL);
	leak_ready("check_root_tls_dynamic", argc, argv);
}
