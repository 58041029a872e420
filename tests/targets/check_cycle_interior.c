/* SPDX-License-Identifier: Apache-2.0 */
/* Lost blocks that hold each other by pointers into their middles. */
#include "leaktruth.h"

NOINLINE static void make_cycle(void)
{
	char **a = leak_new(536), **b = leak_new(536);

	a[0] = (char *)b + 96;
	b[0] = (char *)a + 256;
	LEAK(a, 536, DEFINITE);
	LEAK(b, 536, INDIRECT);
}

int main(int argc, char **argv)
{
	make_cycle();
	leak_cycles = 1;
	leak_ready("check_cycle_interior", argc, argv);
}
