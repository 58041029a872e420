/* SPDX-License-Identifier: Apache-2.0 */
/* Large tables keep what they hold when they grow; the k-th largest number is the sorted one's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/large.h"
#include "base/select.h"

static void grows_and_keeps(void **state)
{
	size_t cap = 0, n = 0;
	uint32_t *table = NULL;

	(void)state;
	while (n < 3000000) {
		if (n == cap) {
			size_t next = large_next(cap, 16, sizeof(*table));

			assert_true(next > cap);
			table = large_resize(table, n * sizeof(*table), next * sizeof(*table));
			assert_non_null(table);
			cap = next;
		}
		table[n] = (uint32_t)n;
		n++;
	}
	for (size_t i = 0; i < n; i++)
		assert_int_equal(table[i], i);
	assert_int_equal((uintptr_t)table % LARGE_PAGE, 0);
	/* and smaller: what is cut off is gone, the rest stays */
	table = large_resize(table, n * sizeof(*table), 2000000 * sizeof(*table));
	assert_non_null(table);
	assert_int_equal(table[1999999], 1999999);
	free(table);
}

static void is_zero(void **state)
{
	static const size_t sizes[] = { 0, 1, 4096, LARGE_PAGE - 1, LARGE_PAGE, 3 * LARGE_PAGE + 5 };

	(void)state;
	for (int round = 0; round < 2; round++) /* the second time over memory that was used */
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			unsigned char *p = large_zero(sizes[i]);

			assert_non_null(p);
			for (size_t k = 0; k < sizes[i]; k++)
				if (p[k])
					fail_msg("byte %zu of %zu is %d", k, sizes[i], p[k]);
			memset(p, 0xa5, sizes[i]);
			free(p);
		}
	assert_null(large_alloc(SIZE_MAX - 5));
	assert_null(large_zero(SIZE_MAX / 2 + 1));
}

static int largest_first(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x > y ? -1 : x < y;
}

static void check_all(const uint64_t *v, size_t n)
{
	uint64_t *sorted = malloc(n * sizeof(*v)), *work = malloc(n * sizeof(*v));

	assert_non_null(sorted);
	assert_non_null(work);
	memcpy(sorted, v, n * sizeof(*v));
	qsort(sorted, n, sizeof(*sorted), largest_first);
	for (size_t k = 1; k <= n; k++) {
		memcpy(work, v, n * sizeof(*v));
		assert_int_equal(select_largest(work, n, k), sorted[k - 1]);
	}
	free(sorted);
	free(work);
}

static void selects(void **state)
{
	uint64_t v[200], seed = 1;

	(void)state;
	for (size_t n = 1; n <= 200; n += n < 10 ? 1 : 19)
		for (uint64_t kinds = 1; kinds <= 1000; kinds *= 10) {
			for (size_t i = 0; i < n; i++) {
				seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
				v[i] = (seed >> 33) % kinds;
			}
			check_all(v, n);
			for (size_t i = 0; i < n; i++)
				v[i] = i;
			check_all(v, n);
			for (size_t i = 0; i < n; i++)
				v[i] = i % 2 ? UINT64_MAX - i : i;
			check_all(v, n);
		}
}

static void selects_among_many(void **state)
{
	size_t n = 1000000;
	uint64_t *v = malloc(n * sizeof(*v));

	(void)state;
	assert_non_null(v);
	for (size_t i = 0; i < n; i++) /* every number once, the large ones in the middle */
		v[i] = i < n / 2 ? 2 * i : 2 * (n - i) - 1;
	assert_int_equal(select_largest(v, n, 1), n - 1);
	assert_int_equal(select_largest(v, n, 1000), n - 1000);
	assert_int_equal(select_largest(v, n, n), 0);
	free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_and_keeps),
		cmocka_unit_test(is_zero),
		cmocka_unit_test(selects),
		cmocka_unit_test(selects_among_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
