/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointer is in a variable that is static in a function. */
#include "leaktruth.h"

NOINLINE static void make_kept(void)
{
	static void *kept;

	kept = leak_new(184);
	ESCAPE(&kept);
	LEAK(kept, 184, REACHABLE);
}

int main(int argc, char **argv)
{
	make_kept();
	leak_ready("check_root_static_local", argc, argv);
}
