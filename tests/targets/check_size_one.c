/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of one byte. */
#include "leaktruth.h"

NOINLINE static void make_lost(void)
{
	LEAK(leak_new(1), 1, DEFINITE);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 33; i++)
		make_lost();
	leak_ready("check_size_one", argc, argv);
}
