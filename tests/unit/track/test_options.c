/* SPDX-License-Identifier: Apache-2.0 */
/* SEEP_OPTIONS: what is understood, what is ignored, and that nothing in it can do harm. */
#include "tracker.h"

static const struct options start = { .active = true, .period = 512 * 1024 };

static void parse(const char *text)
{
	opt = start;
	options_parse(text);
}

static void all_keys_are_read(void **state)
{
	(void)state;
	parse("dir=/run/seep,mode=sampled,sample=4096,only=77,active=0,seed=18446744073709551615,verbose=0");
	assert_string_equal(opt.dir, "/run/seep");
	assert_true(opt.sampled);
	assert_int_equal(opt.period, 4096);
	assert_int_equal(opt.only, 77);
	assert_false(opt.active);
	assert_true(opt.seed == UINT64_MAX);
	assert_false(opt.verbose);
	parse("signal=12");
	assert_int_equal(opt.signal, 12);
	parse("signal=64");
	assert_int_equal(opt.signal, 64);
	parse("signal=65");
	assert_int_equal(opt.signal, 0);
	parse("signal=18446744073709551615");
	assert_int_equal(opt.signal, 0);
	parse("signal=USR2");
	assert_int_equal(opt.signal, 0);
	parse("verbose=1");
	assert_true(opt.verbose);
}

static void nothing_means_the_defaults(void **state)
{
	static const char *const nothing[] = { "",      ",",       ",,,,",     "=",
		                               "=,=",   "dir=",    "dir",      "sample",
		                               "mode=", "xyz=1",   "DIR=/tmp", "dirs=/x",
		                               "di=/x", " dir=/x", "sampl=5",  "seeds=1" };

	(void)state;
	parse(NULL);
	assert_memory_equal(&opt, &start, sizeof(opt));
	for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++) {
		parse(nothing[i]);
		assert_memory_equal(&opt, &start, sizeof(opt));
	}
}

static void moments_of_checks(void **state)
{
	static const struct {
		const char *text;
		unsigned int at;
	} cases[] = {
		{ "check=exit", CHECK_AT_EXIT | CHECK_AT_LOCAL },
		{ "check=end", CHECK_AT_END | CHECK_AT_LOCAL },
		{ "check=exit+end", CHECK_AT_EXIT | CHECK_AT_END | CHECK_AT_LOCAL },
		{ "check=end+exit+local", CHECK_AT_EXIT | CHECK_AT_END | CHECK_AT_LOCAL },
		{ "check=local", CHECK_AT_LOCAL },
		{ "check=now", CHECK_AT_LOCAL },
		{ "check=end,check=local", CHECK_AT_LOCAL },
		{ "check=end,dir=/x", CHECK_AT_END | CHECK_AT_LOCAL },
		{ "check=", 0 },
		{ "check=+", 0 },
		{ "check=++end++", CHECK_AT_END | CHECK_AT_LOCAL },
		{ "check=never", 0 },
		{ "check=ends", 0 },
		{ "check=en", 0 },
		{ "check=exit end", 0 },
		{ "check=1", 0 },
		{ "checks=end", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		parse(cases[i].text);
		if (opt.check != cases[i].at)
			fail_msg("%s: %u, not %u", cases[i].text, opt.check, cases[i].at);
	}
	parse("minimal=1");
	assert_true(opt.minimal);
	assert_int_equal(opt.check, 0);
	parse("minimal=0");
	assert_false(opt.minimal);
}

static void modes(void **state)
{
	(void)state;
	parse("mode=sampled");
	assert_true(opt.sampled);
	assert_int_equal(opt.period, 512 * 1024);
	parse("mode=full");
	assert_false(opt.sampled);
	parse("mode=sampled,mode=full");
	assert_false(opt.sampled);
	parse("sample=1");
	assert_false(opt.sampled); /* every byte is sampled: every block */
	parse("sample=0");
	assert_false(opt.sampled);
	assert_int_equal(opt.period, 512 * 1024);
	parse("sample=");
	assert_false(opt.sampled);
	assert_int_equal(opt.period, 512 * 1024);
	parse("sample=2");
	assert_true(opt.sampled);
	assert_int_equal(opt.period, 2);
}

static void the_last_of_two_wins(void **state)
{
	(void)state;
	parse("seed=1,dir=/a,seed=2,dir=/b");
	assert_int_equal(opt.seed, 2);
	assert_string_equal(opt.dir, "/b");
}

static void values_may_hold_equal_signs(void **state)
{
	(void)state;
	parse("dir=/tmp/a=b=c,seed=9");
	assert_string_equal(opt.dir, "/tmp/a=b=c");
	assert_int_equal(opt.seed, 9);
}

static void numbers_end_at_what_is_none(void **state)
{
	(void)state;
	parse("seed=12x34");
	assert_int_equal(opt.seed, 12);
	parse("seed=x");
	assert_int_equal(opt.seed, 0);
	parse("seed=-5");
	assert_int_equal(opt.seed, 0);
	/* Larger than any number: the largest, not what is left modulo 2^64. */
	parse("seed=99999999999999999999999999999999");
	assert_true(opt.seed == UINT64_MAX);
	parse("sample=99999999999999999999999999999999");
	assert_true(opt.sampled && opt.period == UINT64_MAX);
}

/* A directory that does not fit is not cut: another one would be used. */
static void a_directory_too_long_is_ignored(void **state)
{
	char text[512] = "dir=/";

	(void)state;
	memset(text + 5, 'a', sizeof(opt.dir) - 2);
	parse(text);
	assert_int_equal(strlen(opt.dir), sizeof(opt.dir) - 1);
	text[5 + sizeof(opt.dir) - 2] = 'a';
	parse(text);
	assert_string_equal(opt.dir, "");
}

static void any_bytes_are_harmless(void **state)
{
	uint64_t seed = 3;
	char text[64];

	(void)state;
	for (unsigned int i = 0; i < 200000; i++) {
		static const char letters[] =
			"dirmodesampleonlyactiveseed=====,,,,,0123456789/\xff\x01";
		size_t n = random_next(&seed) % sizeof(text);

		for (size_t k = 0; k < n; k++)
			text[k] = letters[(random_next(&seed) >> 32) % (sizeof(letters) - 1)];
		text[n] = '\0';
		parse(text);
		assert_true(memchr(opt.dir, 0, sizeof(opt.dir)) && opt.period > 0);
		assert_true(!opt.sampled || opt.period > 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_keys_are_read),
		cmocka_unit_test(nothing_means_the_defaults),
		cmocka_unit_test(modes),
		cmocka_unit_test(moments_of_checks),
		cmocka_unit_test(the_last_of_two_wins),
		cmocka_unit_test(values_may_hold_equal_signs),
		cmocka_unit_test(numbers_end_at_what_is_none),
		cmocka_unit_test(a_directory_too_long_is_ignored),
		cmocka_unit_test(any_bytes_are_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
