/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointers are in thread-local variables of the executable, of main and of other threads. */
#include "check_threads.h"

static __thread void *kept;
static __thread void *far[2000];

NOINLINE static void make_kept(void **slot)
{
	*slot = leak_new(344);
	ESCAPE(slot);
	LEAK(*slot, 344, REACHABLE);
}

static void *run(void *arg)
{
	(void)arg;
	make_kept(&kept);
	make_kept(&far[1000]);
	thread_wait();
	return NULL;
}

int main(int argc, char **argv)
{
	make_kept(&kept);
	make_kept(&far[1999]);
	for (int i = 0; i < 5; i++)
		thread_start(run, NULL);
	leak_ready("check_root_tls_static", argc, argv);
}
