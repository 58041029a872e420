/* SPDX-License-Identifier: Apache-2.0 */
/* A pointer to just behind a block does not hold it. */
#include "leaktruth.h"

static char *ends[10];

NOINLINE static void make_lost(int i)
{
	char *p = leak_new(72);

	ends[i] = p + 72;
	LEAK(p, 72, DEFINITE);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 10; i++)
		make_lost(i);
	ESCAPE(ends);
	leak_ready("check_one_past_end", argc, argv);
}
