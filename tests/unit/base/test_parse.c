/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as people type them. */
#include "base/parse.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = { { "0", 0 },
		     { "4096", 4096 },
		     { "512K", 524288 },
		     { "512k", 524288 },
		     { "1.5M", 1572864 },
		     { "2GiB", 2147483648u },
		     { "1TB", 1ull << 40 },
		     { "0x10", 16 },
		     { "18446744073709551615", UINT64_MAX },
		     { "3b", 3 },
		     { "2.", 2 },
		     { "9007199254740993", 9007199254740993 } };
	static const char *const bad[] = { "",      "K",   "-1",  "+1",  " 1", "1 ", "1X",
		                           "1.5.5", "1e3", "inf", "nan", ".5", "1K1" };
	uint64_t v;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(parse_size(good[i].text, &v), 0);
		assert_int_equal(v, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		v = 77;
		assert_int_equal(parse_size(bad[i], &v), -EINVAL);
		assert_int_equal(v, 77);
	}
	assert_int_equal(parse_size("18446744073709551616", &v), -ERANGE);
	assert_int_equal(parse_size("99999999999T", &v), -ERANGE);
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = { { "5", 5000000000 },
		     { "250ms", 250000000 },
		     { "90s", 90000000000 },
		     { "10m", 600000000000 },
		     { "1h30m", 5400000000000 },
		     { "2d", 172800000000000 },
		     { "7us", 7000 },
		     { "3ns", 3 },
		     { "1.5s", 1500000000 } };
	static const char *const bad[] = { "", "s", "5x", "1h30", "-1s", "1h 30m", "5mss" };
	uint64_t v;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(parse_duration(good[i].text, &v), 0);
		assert_int_equal(v, good[i].ns);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse_duration(bad[i], &v), -EINVAL);
	assert_int_equal(parse_duration("99999999999d", &v), -ERANGE);
}

static void percentages(void **state)
{
	double v;

	assert_int_equal(parse_percent("12.5%", &v), 0);
	assert_true(v == 12.5);
	assert_int_equal(parse_percent("0", &v), 0);
	assert_true(v == 0);
	assert_int_equal(parse_percent("100", &v), 0);
	assert_int_equal(parse_percent("100.1", &v), -ERANGE);
	assert_int_equal(parse_percent("-1", &v), -EINVAL);
	assert_int_equal(parse_percent("5%%", &v), -EINVAL);
	assert_int_equal(parse_percent("", &v), -EINVAL);
}

static void whole_numbers(void **state)
{
	uint64_t v = 3;

	assert_int_equal(parse_u64("0x1f", &v), 0);
	assert_int_equal(v, 31);
	assert_int_equal(parse_u64("010", &v), 0);
	assert_int_equal(v, 10);
	assert_int_equal(parse_u64("1x", &v), -EINVAL);
	assert_int_equal(parse_u64("0x", &v), -EINVAL);
	assert_int_equal(parse_u64("18446744073709551616", &v), -ERANGE);
	assert_int_equal(v, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(sizes), cmocka_unit_test(durations),
		                            cmocka_unit_test(percentages),
		                            cmocka_unit_test(whole_numbers) };

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
