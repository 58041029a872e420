/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointer is in initialised global data. */
#include "leaktruth.h"

static void *slots[4] = { &slots, &slots, &slots, &slots };

NOINLINE static void make_kept(int i)
{
	slots[i] = leak_new(152);
	LEAK(slots[i], 152, REACHABLE);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 4; i++)
		make_kept(i);
	ESCAPE(slots);
	leak_ready("check_root_data", argc, argv);
}
