/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks nothing points to any more. */
#include "leaktruth.h"

NOINLINE static void make_lost(size_t size)
{
	LEAK(leak_new(size), size, DEFINITE);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 100; i++)
		make_lost(56);
	leak_ready("check_definite", argc, argv);
}
