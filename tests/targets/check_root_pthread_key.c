/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointers are values of thread-specific keys: of the first ones, and of later ones that lie in a block. */
#include "check_threads.h"

static pthread_key_t keys[40];

NOINLINE static void make_kept(int i)
{
	void *p = leak_new(360);

	CHECK(!pthread_setspecific(keys[i], p));
	LEAK(p, 360, REACHABLE);
}

static void *run(void *arg)
{
	(void)arg;
	make_kept(0);
	make_kept(39);
	thread_wait();
	return NULL;
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 40; i++)
		CHECK(!pthread_key_create(&keys[i], NULL));
	make_kept(1);
	make_kept(38);
	thread_start(run, NULL);
	leak_ready("check_root_pthread_key", argc, argv);
}
