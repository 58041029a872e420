/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointer is in zero-initialised global data, in its file-backed page and far behind it. */
#include "leaktruth.h"

static void *first;
static void *large[300000];
static void *last;

NOINLINE static void make_kept(void **slot)
{
	*slot = leak_new(168);
	LEAK(*slot, 168, REACHABLE);
}

int main(int argc, char **argv)
{
	make_kept(&first);
	make_kept(&large[0]);
	make_kept(&large[150000]);
	make_kept(&large[299999]);
	make_kept(&last);
	ESCAPE(large);
	leak_ready("check_root_bss", argc, argv);
}
