/* SPDX-License-Identifier: Apache-2.0 */
#include "base/select.h"

#include <stdlib.h>

static int largest_first(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x > y ? -1 : x < y;
}

static void swap(uint64_t *a, uint64_t *b)
{
	uint64_t t = *a;

	*a = *b;
	*b = t;
}

static uint64_t middle_of(uint64_t a, uint64_t b, uint64_t c)
{
	if (a > b)
		return b > c ? b : a > c ? c : a;
	return a > c ? a : b > c ? c : b;
}

uint64_t select_largest(uint64_t *v, size_t n, size_t k)
{
	size_t lo = 0, hi = n - 1, at = k - 1;
	unsigned int rounds = 0;

	while (lo < hi) {
		uint64_t pivot = middle_of(v[lo], v[lo + (hi - lo) / 2], v[hi]);
		size_t i = lo, j = hi;

		/* Numbers come from files: an order that makes every pivot a bad one must not be quadratic. */
		if (++rounds > 128) {
			qsort(v + lo, hi - lo + 1, sizeof(*v), largest_first);
			break;
		}
		for (;;) { /* [lo, j] >= pivot >= [i, hi] */
			while (v[i] > pivot)
				i++;
			while (v[j] < pivot)
				j--;
			if (i <= j) {
				swap(&v[i], &v[j]);
				i++;
				if (!j)
					break;
				j--;
			}
			if (i > j)
				break;
		}
		if (at <= j)
			hi = j;
		else if (at >= i)
			lo = i;
		else
			break;
	}
	return v[at];
}
