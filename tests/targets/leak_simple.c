/* SPDX-License-Identifier: Apache-2.0 */
/* The plainest leak: 100 blocks through three functions, pointers dropped. */
#include "truth.h"

TRUTH(leak_here);

NOINLINE static void *leak_here(size_t size)
{
	return BORN(leak_here, malloc(size), size);
}

NOINLINE static void *leak_caller(size_t size)
{
	void *p = leak_here(size);

	NOTAIL();
	return p;
}

int main(void)
{
	for (int i = 0; i < 100; i++)
		ESCAPE(leak_caller(1000));
	truth_print("leak_simple", "main");
	return 0;
}
