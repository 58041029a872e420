/* SPDX-License-Identifier: Apache-2.0 */
/* Two lost blocks hold the same one: both are definite, and what they share hangs on neither alone. */
#include "leaktruth.h"

NOINLINE static void *make_child(void)
{
	void *p = leak_new(1000);

	LEAK(p, 1000, INDIRECT);
	return p;
}

NOINLINE static void make_leader(void *shared)
{
	void **p = leak_new(72);

	p[0] = shared;
	p[1] = make_child();
	LEAK(p, 72, DEFINITE);
}

NOINLINE static void make_all(void)
{
	void *shared = make_child();

	make_leader(shared);
	make_leader(shared);
}

int main(int argc, char **argv)
{
	make_all();
	leak_ready("check_shared_child", argc, argv);
}
