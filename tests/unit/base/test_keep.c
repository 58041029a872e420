/* SPDX-License-Identifier: Apache-2.0 */
/* Once large_keep() was called, a table lies where another one was, and the heap does not grow from one round of work to the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/large.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OTHER_ALLOCATOR 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OTHER_ALLOCATOR 1
#endif
#endif
#ifndef __GLIBC__
#define OTHER_ALLOCATOR 1
#endif

/* What one answer of the server takes, more or less; the third part of it stays for the next. */
static const unsigned int megabytes[] = { 10, 6, 4, 8, 10, 2, 8, 4, 2, 4, 6, 12, 4, 2, 10, 4 };
#define TABLES (sizeof(megabytes) / sizeof(megabytes[0]))

static void work(unsigned char **stay)
{
	unsigned char *table[TABLES];

	for (size_t i = 0; i < TABLES; i++) {
		size_t n = (size_t)megabytes[i] << 20;

		table[i] = large_zero(n);
		assert_non_null(table[i]);
		for (size_t k = 0; k < n; k += 4093)
			if (table[i][k])
				fail_msg("byte %zu of table %zu is %d", k, i, table[i][k]);
		memset(table[i], 0xa5, n);
	}
	for (size_t i = 0; i < TABLES; i++) {
		if (i % 3) {
			free(table[i]);
			continue;
		}
		free(stay[i]);
		stay[i] = table[i];
	}
}

static void places_are_used_again(void **state)
{
	unsigned char *stay[TABLES] = { 0 };
	char *before;

	(void)state;
	large_keep();
	for (int i = 0; i < 4; i++)
		work(stay);
	before = sbrk(0);
	for (int i = 0; i < 60; i++)
		work(stay);
#ifndef OTHER_ALLOCATOR
	/* the largest tables may find their places taken now and then; a round is 96 MB */
	assert_true((char *)sbrk(0) - before < (64 << 20));
#else
	(void)before;
#endif
	for (size_t i = 0; i < TABLES; i++)
		free(stay[i]);
}

static void larger_ones_too(void **state)
{
	unsigned char *p;

	(void)state;
	large_keep();
	for (int i = 0; i < 3; i++) { /* mapped on their own */
		p = large_zero(100u << 20);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % LARGE_PAGE, 0);
		assert_int_equal(p[(100u << 20) - 1], 0);
		p[(100u << 20) - 1] = 1;
		p = large_resize(p, 100u << 20, 101u << 20);
		assert_non_null(p);
		assert_int_equal(p[(100u << 20) - 1], 1);
		p = large_resize(p, 101u << 20, 3u << 20);
		assert_non_null(p);
		free(p);
	}
	assert_null(large_alloc(SIZE_MAX - 5));
	assert_null(large_zero(SIZE_MAX / 2 + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_are_used_again),
		cmocka_unit_test(larger_ones_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
