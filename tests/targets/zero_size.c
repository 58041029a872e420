/* SPDX-License-Identifier: Apache-2.0 */
/* A block of zero bytes is a block: it has an address of its own, and it leaks like any other. */
#include "truth.h"

TRUTH(make_empty);

NOINLINE static void *make_empty(int way)
{
	switch (way % 3) {
	case 0:
		return BORN(make_empty, malloc(0), 0);
	case 1:
		return BORN(make_empty, calloc(0, 8), 0);
	default:
		return BORN(make_empty, realloc(NULL, 0), 0);
	}
}

int main(void)
{
	for (int i = 0; i < 300; i++) {
		void *p = make_empty(i), *q = make_empty(i);

		CHECK(p && q && p != q);
		free(p);
		DIED(make_empty, 0);
	}
	truth_print("zero_size", "main");
	return 0;
}
