/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments made up here in the layouts of versions that no package has, and damaged ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "heap/mimalloc.h"

static uint8_t header[MIMALLOC_HEADER];

static void put(size_t at, uint64_t v, size_t bytes)
{
	memcpy(header + at, &v, bytes);
}

struct layout {
	uint32_t first, stride, used, used_bytes, block_size, block_size_bytes;
};

/* Entries: the segment's own slice, a page of 100 blocks, a free span, one block as large as its page. */
static void make_segment(const struct layout *l)
{
	const struct {
		uint32_t slices, capacity, reserved, used;
		uint64_t size;
	} pages[] = { { 1, 0, 0, 0, 0x10000 },
		      { 2, 100, 128, 77, 1024 },
		      { 400, 0, 0, 0, 0 },
		      { 109, 1, 1, 1, 6 << 20 } };
	uint32_t at = 0;

	memset(header, 0xa5, sizeof(header));
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		size_t e = l->first + at * l->stride;

		memset(header + e, 0, l->stride);
		put(e, pages[i].slices, 4);
		put(e + 10, pages[i].capacity, 2);
		put(e + 12, pages[i].reserved, 2);
		put(e + l->used, pages[i].used, l->used_bytes);
		put(e + l->block_size, pages[i].size, l->block_size_bytes);
		at += pages[i].slices;
	}
	assert_int_equal(at, MIMALLOC_SLICES);
}

static void layouts_are_found(void **state)
{
	static const struct layout layouts[] = { { 264, 80, 24, 4, 28, 4 },
		                                 { 328, 96, 32, 2, 40, 8 },
		                                 { 272, 88, 24, 4, 28, 4 } };
	struct mimalloc_page pages[MIMALLOC_SLICES];

	(void)state;
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		struct mimalloc_layout l;

		make_segment(&layouts[i]);
		assert_true(mimalloc_find_layout(header, &l));
		assert_int_equal(l.first, layouts[i].first);
		assert_int_equal(l.stride, layouts[i].stride);
		assert_int_equal(mimalloc_pages(header, &l, pages), 3);
		assert_int_equal(pages[0].used, 77);
		assert_int_equal(pages[0].block_size, 1024);
		assert_int_equal(pages[1].block_size, 0);
		assert_int_equal(pages[1].slices, 400);
		assert_int_equal(pages[2].used, 1);
		assert_int_equal(pages[2].block_size, 6 << 20);
	}
}

static void more_used_than_there_is_room_for_is_no_segment(void **state)
{
	static const struct layout l = { 264, 80, 24, 4, 28, 4 };
	struct mimalloc_layout found;

	(void)state;
	make_segment(&l);
	put(l.first + l.stride + l.used, 101, 4);
	assert_false(mimalloc_find_layout(header, &found));
	make_segment(&l);
	put(l.first + l.stride + 12, 129, 2); /* blocks beyond the page's end */
	assert_false(mimalloc_find_layout(header, &found));
	memset(header, 0, sizeof(header));
	assert_false(mimalloc_find_layout(header, &found));
}

/* Whatever the bytes: nothing is read outside, and what is called a page lies in the segment. */
static void damage_is_survived(void **state)
{
	static const struct layout l = { 264, 80, 24, 4, 28, 4 };
	const struct mimalloc_layout known = { 264, 80, 0 };
	struct mimalloc_page pages[MIMALLOC_SLICES];
	unsigned int seed = 1;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct mimalloc_layout found;
		size_t n;

		make_segment(&l);
		for (int k = 0; k < 1 + round % 20; k++) {
			seed = seed * 1103515245 + 12345;
			header[seed % 60000] = (uint8_t)(seed >> 16);
			header[l.first + (seed >> 8) % 400] = (uint8_t)(seed >> 20);
		}
		if (round % 50 == 0)
			mimalloc_find_layout(header, &found);
		n = mimalloc_pages(header, &known, pages);
		assert_true(n <= MIMALLOC_SLICES);
		for (size_t i = 0; i < n; i++) {
			assert_true(pages[i].first < MIMALLOC_SLICES);
			assert_true(!pages[i].block_size || pages[i].used <= pages[i].capacity);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layouts_are_found),
		cmocka_unit_test(more_used_than_there_is_room_for_is_no_segment),
		cmocka_unit_test(damage_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
