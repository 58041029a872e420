/* SPDX-License-Identifier: Apache-2.0 */
/* Two lost blocks that point to each other: one of them leads. */
#include "leaktruth.h"

NOINLINE static void make_cycle(void)
{
	void **a = leak_new(520), **b = leak_new(520);

	a[1] = b;
	b[2] = a;
	LEAK(a, 520, DEFINITE);
	LEAK(b, 520, INDIRECT);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 5; i++)
		make_cycle();
	leak_cycles = 5;
	leak_ready("check_cycle_two", argc, argv);
}
