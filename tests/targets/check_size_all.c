/* SPDX-License-Identifier: Apache-2.0 */
/* Every size from 1 to 3000, every other block lost. */
#include "leaktruth.h"

static void *kept[1501];

NOINLINE static void make_kept(size_t size)
{
	kept[size / 2] = leak_new(size);
	LEAK(kept[size / 2], size, REACHABLE);
}

NOINLINE static void make_lost(size_t size)
{
	LEAK(leak_new(size), size, DEFINITE);
}

int main(int argc, char **argv)
{
	for (size_t size = 1; size <= 3000; size++)
		if (size % 2)
			make_lost(size);
		else
			make_kept(size);
	ESCAPE(kept);
	leak_ready("check_size_all", argc, argv);
}
