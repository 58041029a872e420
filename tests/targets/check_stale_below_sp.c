/* SPDX-License-Identifier: Apache-2.0 */
/* Pointers in frames that have been left hold nothing. */
#include "leaktruth.h"

NOINLINE static void *make_lost(void)
{
	void *p = leak_new(264);

	LEAK(p, 264, DEFINITE);
	return p;
}

/* Deep below all that is scrubbed or called later. */
NOINLINE static void deep(void)
{
	char below[80000];
	void *kept[5];

	ESCAPE(below);
	for (int i = 0; i < 5; i++)
		kept[i] = make_lost();
	ESCAPE(kept);
	memcpy(below, kept, sizeof(kept));
	ESCAPE(below);
}

int main(int argc, char **argv)
{
	deep();
	leak_ready("check_stale_below_sp", argc, argv);
}
