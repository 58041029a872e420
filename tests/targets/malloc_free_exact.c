/* SPDX-License-Identifier: Apache-2.0 */
/* Small and large blocks, some freed in another order than they came, some kept: plain counting. */
#include "truth.h"

#define SMALL 1000
#define LARGE 10

TRUTH(make_small);
TRUTH(make_large);

static void *small[SMALL], *large[LARGE];

NOINLINE static void *make_small(size_t size)
{
	return BORN(make_small, malloc(size), size);
}

NOINLINE static void *make_large(size_t size)
{
	return BORN(make_large, malloc(size), size);
}

static size_t small_size(int i)
{
	return (size_t)(1 + i % 200);
}

int main(void)
{
	for (int i = 0; i < SMALL; i++) {
		small[i] = make_small(small_size(i));
		memset(small[i], i, small_size(i));
	}
	for (int i = 0; i < LARGE; i++)
		large[i] = make_large(200000 + (size_t)i);
	for (int i = SMALL - 1; i >= 0; i -= 2) {
		DIED(make_small, small_size(i));
		free(small[i]);
		small[i] = NULL;
	}
	for (int i = 0; i < LARGE; i += 3) {
		DIED(make_large, 200000 + (size_t)i);
		free(large[i]);
		large[i] = NULL;
	}
	truth_print("malloc_free_exact", "main");
	return 0;
}
