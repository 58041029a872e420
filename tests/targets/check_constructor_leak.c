/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks lost before main begins, in a constructor of the executable. */
#include "leaktruth.h"

static void *kept;

NOINLINE static void make_lost(void)
{
	LEAK(leak_new(680), 680, DEFINITE);
}

NOINLINE static void make_kept(void)
{
	kept = leak_new(696);
	LEAK(kept, 696, REACHABLE);
}

__attribute__((constructor)) static void early(void)
{
	for (int i = 0; i < 4; i++)
		make_lost();
	make_kept();
	leak_scrub();
}

int main(int argc, char **argv)
{
	ESCAPE(&kept);
	leak_ready("check_constructor_leak", argc, argv);
}
