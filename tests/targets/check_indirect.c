/* SPDX-License-Identifier: Apache-2.0 */
/* A lost block that holds others: one definite, the rest indirect. */
#include "leaktruth.h"

NOINLINE static void *make_held(size_t size)
{
	void *p = leak_new(size);

	LEAK(p, size, INDIRECT);
	return p;
}

NOINLINE static void make_holder(void)
{
	void **holder = leak_new(10 * sizeof(void *) + 8);

	for (int i = 0; i < 10; i++)
		holder[i] = make_held(24 + 16 * (size_t)i);
	LEAK(holder, 10 * sizeof(void *) + 8, DEFINITE);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 3; i++)
		make_holder();
	leak_ready("check_indirect", argc, argv);
}
