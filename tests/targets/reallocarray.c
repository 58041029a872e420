/* SPDX-License-Identifier: Apache-2.0 */
/* reallocarray: counted as n * size, once, and a failing one leaves the old block alone. */
#include "truth.h"

TRUTH(array_new);
TRUTH(array_grow);

NOINLINE static void *array_new(size_t n, size_t size)
{
	return BORN(array_new, reallocarray(NULL, n, size), n * size);
}

NOINLINE static void *array_grow(void *p, size_t n, size_t size)
{
	return BORN(array_grow, reallocarray(p, n, size), n * size);
}

int main(void)
{
	for (size_t i = 0; i < 200; i++) {
		void *p = array_new(i + 1, 12);

		CHECK(p);
		if (i % 2) {
			DIED(array_new, (i + 1) * 12);
			p = array_grow(p, i + 1, 48);
			CHECK(p);
			if (i % 4 == 1) {
				DIED(array_grow, (i + 1) * 48);
				free(p);
			}
		}
	}
	truth_print("reallocarray", "main");
	return 0;
}
