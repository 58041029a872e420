/* SPDX-License-Identifier: Apache-2.0 */
/* A pointer in memory that was freed holds nothing: small blocks that are cached, large ones that are merged. */
#include "leaktruth.h"

NOINLINE static void *make_lost(void)
{
	void *p = leak_new(56);

	LEAK(p, 56, DEFINITE);
	return p;
}

NOINLINE static void free_holder(size_t size)
{
	void **holder = leak_new(size);

	for (size_t i = 8; i < 16; i++)
		holder[i] = make_lost();
	ESCAPE(holder);
	free(holder);
}

int main(int argc, char **argv)
{
	free_holder(200);
	free_holder(3000);
	free_holder(60000);
	leak_ready("check_freed_holder", argc, argv);
}
