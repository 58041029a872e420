/* SPDX-License-Identifier: Apache-2.0 */
/* Only pointers into the middle of blocks are left; what those blocks hold is no better off. */
#include "leaktruth.h"

static char *middles[20];

NOINLINE static void *make_held(void)
{
	void *p = leak_new(40);

	LEAK(p, 40, POSSIBLE);
	return p;
}

NOINLINE static void make_possible(int i)
{
	char *p = leak_new(200);

	*(void **)p = make_held();
	middles[i] = p + 104;
	LEAK(p, 200, POSSIBLE);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 20; i++)
		make_possible(i);
	ESCAPE(middles);
	leak_ready("check_possible", argc, argv);
}
