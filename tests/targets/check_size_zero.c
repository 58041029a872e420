/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of zero bytes count: as blocks, with no bytes. */
#include "leaktruth.h"

static void *kept[3];

NOINLINE static void make_empty(void **slot)
{
	volatile size_t none = 0;
	void *p = malloc(none);

	CHECK(p);
	*slot = p;
	LEAK(p, 0, slot >= kept && slot < kept + 3 ? REACHABLE : DEFINITE);
}

int main(int argc, char **argv)
{
	void *lost;

	for (int i = 0; i < 3; i++)
		make_empty(&kept[i]);
	for (int i = 0; i < 7; i++)
		make_empty(&lost);
	lost = NULL;
	ESCAPE(&lost);
	ESCAPE(kept);
	leak_ready("check_size_zero", argc, argv);
}
