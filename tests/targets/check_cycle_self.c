/* SPDX-License-Identifier: Apache-2.0 */
/* A lost block that points to itself: held by nothing but itself, so it leads. */
#include "leaktruth.h"

NOINLINE static void make_cycle(void)
{
	void **p = leak_new(504);

	p[7] = p;
	LEAK(p, 504, DEFINITE);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 5; i++)
		make_cycle();
	leak_cycles = 5;
	leak_ready("check_cycle_self", argc, argv);
}
