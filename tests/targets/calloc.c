/* SPDX-License-Identifier: Apache-2.0 */
/* calloc: zeroed also where memory is used again, counted as n * size, and not at all when that overflows. */
#include "truth.h"

TRUTH(make_zeroed);

NOINLINE static void *make_zeroed(size_t n, size_t size)
{
	return BORN(make_zeroed, calloc(n, size), n * size);
}

int main(void)
{
	volatile size_t huge = SIZE_MAX / 2;

	for (size_t i = 1; i <= 300; i++) {
		unsigned char *p = make_zeroed(i, 7);

		CHECK(p);
		for (size_t k = 0; k < i * 7; k++)
			CHECK(!p[k]);
		memset(p, 0xa5, i * 7);
		if (i % 3) {
			DIED(make_zeroed, i * 7);
			free(p);
		}
	}
	CHECK(!make_zeroed(huge, 3));
	truth_print("calloc", "main");
	return 0;
}
