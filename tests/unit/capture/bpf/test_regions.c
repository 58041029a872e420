/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges against a picture of one byte for each page.
 */
#include "capture/bpf/regions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGES 200
#define STEPS 20000

static uint32_t owner[PAGES]; /* site of each page; 0: none */
static uint64_t records;      /* blocks that the callbacks say there are */

static void gone(void *arg, uint64_t addr, uint64_t now)
{
	(void)arg;
	(void)addr;
	(void)now;
	records--;
}

static void left(void *arg, const struct region *cut, uint64_t addr, uint64_t len, uint64_t now)
{
	(void)arg;
	(void)now;
	records++;
	assert_true(addr >= cut->addr && addr + len <= cut->addr + cut->len && len);
}

static void as_the_picture_says(void **state)
{
	struct regions rs = { .gone = gone, .left = left };

	(void)state;
	srand(7);
	for (uint32_t step = 1; step < STEPS; step++) {
		uint64_t at = (uint64_t)rand() % PAGES,
			 n = 1 + (uint64_t)rand() % (PAGES - at > 20 ? 20 : PAGES - at);
		size_t touched = 0;

		for (uint64_t i = at; i < at + n; i++)
			touched += owner[i] && (i == at || owner[i] != owner[i - 1]);
		assert_int_equal(regions_remove(&rs, at * 4096, n * 4096, 0), touched);
		memset(&owner[at], 0, n * sizeof(owner[0]));
		if (rand() % 2) {
			struct region r = { at * 4096, n * 4096, step, 0 };

			assert_true(regions_add(&rs, &r));
			records++;
			for (uint64_t i = at; i < at + n; i++)
				owner[i] = step;
		}
		assert_int_equal(records, rs.n);
		for (size_t i = 0; i < rs.n; i++) {
			uint64_t from = rs.items[i].addr / 4096, to = from + rs.items[i].len / 4096;

			for (uint64_t k = from; k < to; k++)
				assert_int_equal(owner[k], rs.items[i].site);
			assert_true(!from || owner[from - 1] != rs.items[i].site);
			assert_true(to == PAGES || owner[to] != rs.items[i].site);
		}
	}
	regions_release(&rs);
}

static void ends_of_the_address_space(void **state)
{
	struct regions rs = { .gone = gone, .left = left };
	struct region wraps = { UINT64_MAX - 4095, 8192, 1, 0 }, empty = { 4096, 0, 1, 0 };

	(void)state;
	assert_false(regions_add(&rs, &wraps));
	assert_false(regions_add(&rs, &empty));
	assert_int_equal(regions_remove(&rs, UINT64_MAX - 4095, 8192, 0), 0);
	regions_release(&rs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_picture_says),
		cmocka_unit_test(ends_of_the_address_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
