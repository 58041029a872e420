/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointers are in an array on the stack of main, which is still there when exit() is called. */
#include "leaktruth.h"

NOINLINE static void *make_kept(void)
{
	void *p = leak_new(248);

	LEAK(p, 248, REACHABLE);
	return p;
}

int main(int argc, char **argv)
{
	void *kept[5];

	for (int i = 0; i < 5; i++)
		kept[i] = make_kept();
	ESCAPE(kept);
	leak_ready("check_root_stack_main", argc, argv);
	ESCAPE(kept);
}
