/* SPDX-License-Identifier: Apache-2.0 */
/* The hash index: finds all, only, and every entry of a hash; grows; survives equal hashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/idmap.h"

static void empty_finds_nothing(void **state)
{
	struct idmap m = { 0 };
	size_t pos = idmap_first(&m, 5);
	uint32_t id;

	assert_false(idmap_get(&m, &pos, 5, &id));
	idmap_release(&m);
}

static void finds_what_was_added(void **state)
{
	_cleanup_idmap_ struct idmap m = { 0 };
	unsigned int strangers = 0;
	uint32_t id;

	for (uint32_t i = 0; i < 100000; i++)
		assert_int_equal(idmap_add(&m, hash_mix(i, 1), i), 0);
	assert_int_equal(m.n, 100000);
	assert_true(m.cap / 3 * 2 >= m.n);
	for (uint32_t i = 0; i < 100000; i++) {
		size_t pos = idmap_first(&m, hash_mix(i, 1));

		assert_true(idmap_get(&m, &pos, hash_mix(i, 1), &id));
		assert_int_equal(id, i);
		/* What was not added may bring up a few others, for the caller to compare. */
		pos = idmap_first(&m, hash_mix(i, 2));
		while (idmap_get(&m, &pos, hash_mix(i, 2), &id))
			strangers++;
	}
	assert_true(strangers < 50); /* 100,000 times 100,000 / 2^32: 2.3 are to be expected */
}

/* Two hashes that only differ in the half that is not kept. */
static void all_of_a_hash_counts_where_it_is_all_there_is(void **state)
{
	struct hash_ids ids = { 0 };
	uint32_t id;

	for (uint64_t i = 0; i < 1000; i++) {
		assert_int_equal(hash_ids_get(&ids, 7 | i << 32, &id), 1);
		assert_int_equal(id, i);
	}
	for (uint64_t i = 0; i < 1000; i++) {
		assert_int_equal(hash_ids_get(&ids, 7 | i << 32, &id), 0);
		assert_int_equal(id, i);
	}
	hash_ids_release(&ids);
}

static void equal_hashes_are_all_found(void **state)
{
	_cleanup_idmap_ struct idmap m = { 0 };
	uint64_t sum = 0;
	uint32_t id;
	size_t pos;

	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(idmap_add(&m, 42, i), 0);
	pos = idmap_first(&m, 42);
	while (idmap_get(&m, &pos, 42, &id))
		sum += id;
	assert_int_equal(sum, 999 * 1000 / 2);
}

static void hashes_differ(void **state)
{
	assert_true(hash_str("a") != hash_str("b"));
	assert_true(hash_str("") != hash_str(NULL));
	assert_true(hash_str("12345678") != hash_str("123456780"));
	assert_true(hash_bytes("\0", 1) != hash_bytes("\0\0", 2));
	assert_true(hash_mix(1, 2) != hash_mix(2, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_finds_nothing),
		cmocka_unit_test(finds_what_was_added),
		cmocka_unit_test(all_of_a_hash_counts_where_it_is_all_there_is),
		cmocka_unit_test(equal_hashes_are_all_found),
		cmocka_unit_test(hashes_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
