/* SPDX-License-Identifier: Apache-2.0 */
/* Courses in a word: what a leak, a cache, a buffer and a sampled site look like. */
#include "server/measure.h"
#include "server/trend.h"

#include "base/buf.h"
#include "store/store.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N 20
#define MIB 1048576u

static enum trend judge(uint64_t (*value)(size_t i), size_t n, struct trend_result *ret)
{
	int64_t times[N];
	uint64_t values[N];
	struct trend_result r;

	for (size_t i = 0; i < n; i++) {
		times[i] = 1700000000000 + (int64_t)i * 60000;
		values[i] = value(i);
	}
	r = trend_of(times, values, n);
	if (ret)
		*ret = r;
	return r.trend;
}

static uint64_t ramp(size_t i)
{
	return (i + 1) * 10 * MIB;
}

static uint64_t stairs(size_t i)
{
	return (i / 5 + 1) * 10 * MIB;
}

static uint64_t noisy_ramp(size_t i)
{
	return (i + 1) * 10 * MIB + (i % 3) * 3 * MIB;
}

static uint64_t filling(size_t i)
{
	return (uint64_t)(100 * MIB * (1 - exp(-(double)i / 4)));
}

static uint64_t flat(size_t i)
{
	return 50 * MIB + (i % 2) * 1000;
}

static uint64_t nothing(size_t i)
{
	(void)i;
	return 0;
}

static uint64_t comb(size_t i)
{
	return i % 2 ? 50 * MIB : 2 * MIB;
}

static uint64_t emptying(size_t i)
{
	return (N - i) * 10 * MIB;
}

static uint64_t late(size_t i)
{
	return i < 15 ? 0 : 5 * MIB;
}

static void courses(void **state)
{
	static const struct {
		uint64_t (*value)(size_t i);
		enum trend trend;
	} cases[] = {
		{ ramp, TREND_GROWING },       { stairs, TREND_GROWING },
		{ noisy_ramp, TREND_GROWING }, { filling, TREND_SLOWING },
		{ flat, TREND_STEADY },        { nothing, TREND_STEADY },
		{ comb, TREND_JUMPY },         { emptying, TREND_SHRINKING },
		{ late, TREND_NEW },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		enum trend found = judge(cases[i].value, N, NULL);

		if (found != cases[i].trend)
			fail_msg("course %zu: %s, not %s", i, trend_word(found),
			         trend_word(cases[i].trend));
	}
	assert_int_equal(judge(ramp, 3, NULL), TREND_UNKNOWN);
	assert_int_equal(judge(ramp, 1, NULL), TREND_UNKNOWN);
	assert_int_equal(judge(ramp, 0, NULL), TREND_UNKNOWN);
}

static void rates_and_reasons(void **state)
{
	struct trend_result r;
	struct buf text = { 0 };

	(void)state;
	judge(ramp, N, &r);
	assert_true(fabs(r.rate - 10.0 * MIB / 60) < 1);
	trend_evidence(&r, &text);
	assert_string_equal(text.data, "grew in 19 of 19 steps, in all by 190 MiB in 19 min 0 s");
	buf_reset(&text);
	judge(emptying, N, &r);
	trend_evidence(&r, &text);
	assert_string_equal(text.data, "shrank in 19 steps, in all by \xe2\x88\x92"
	                               "190 MiB in 19 min 0 s");
	buf_reset(&text);
	judge(ramp, 1, &r);
	trend_evidence(&r, &text);
	assert_string_equal(text.data, "only 1 reading so far");
	assert_true(isnan(r.rate));
	buf_release(&text);
}

static void rollups(void **state)
{
	struct measured m = {
		.rss = STORE_NONE, .pss = STORE_NONE, .uss = STORE_NONE, .swap = STORE_NONE
	};

	(void)state;
	measure_parse_rollup(
		"5581-7ffc ---p 00000000 00:00 0    [rollup]\nRss:    123 kB\nPss:  100 kB\n"
		"Private_Clean:  10 kB\nPrivate_Dirty: 20 kB\nSwap:  5 kB\nSwapPss: 4 kB\n"
		"Locked: 99999999999999999999 kB\n",
		&m);
	assert_int_equal(m.rss, 123 * 1024);
	assert_int_equal(m.pss, 100 * 1024);
	assert_int_equal(m.uss, 30 * 1024);
	assert_int_equal(m.swap, 5 * 1024);
	m.pss = STORE_NONE;
	measure_parse_rollup("Pss: -5 kB\nPss:\nPss", &m);
	assert_int_equal(m.pss, STORE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(courses),
		cmocka_unit_test(rates_and_reasons),
		cmocka_unit_test(rollups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
