/* SPDX-License-Identifier: Apache-2.0 */
/* Columns and axes against numbers worked out by hand; the graphs as files to look at. */
#include "output/timeline.h"
#include "synth.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS 1000000ull
#define SECOND (1000 * MS)
#define MIB (1ull << 20)

static const struct timeline_svg_options whole;

static void made(const struct profile *p, size_t columns, size_t ticks, struct timeline *t)
{
	struct seep_error *err = timeline_make(p, columns, ticks, 5, t);

	if (err)
		fail_msg("%s", err->message);
}

static void assert_columns(const uint64_t *columns, const uint64_t *want, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (columns[i] != want[i])
			fail_msg("column %zu is %llu, not %llu", i, (unsigned long long)columns[i],
			         (unsigned long long)want[i]);
}

static void columns_show_their_highest_and_hold(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("a");
	_cleanup_timeline_ struct timeline t = { 0 };
	/* ten columns of 10 ns: before the first point nothing, a spike stays, a level holds */
	static const uint64_t want[] = { 0, 7, 900, 3, 3, 3, 3, 50, 20, 20 };
	static const uint64_t U = TIMELINE_UNKNOWN;
	const uint64_t rss[] = { U, U, U, 40, 40, 41, 41, 41, 0, 0 };

	p->duration_ns = 100;
	synth_point(p, 12, 7, 7);
	synth_point(p, 21, 900, 907);
	synth_point(p, 22, 3, 907);
	synth_point(p, 70, 50, 957);
	synth_point(p, 79, 20, 957);
	assert_true(profile_add_rss(p, 35, 40));
	assert_true(profile_add_rss(p, 51, 41));
	assert_true(profile_add_rss(p, 80, 0));
	made(p, 10, 5, &t);
	assert_int_equal(t.n, 10);
	assert_int_equal(t.end, 100);
	assert_columns(t.inuse, want, 10);
	/* the level a column begins with counts in it: at 80 it was still 41 */
	assert_int_equal(t.rss[8], 41);
	t.rss[8] = 0;
	assert_columns(t.rss, rss, 10);
	assert_int_equal(t.peak, 900);
	assert_int_equal(t.peak_time, 21);
	assert_int_equal(t.last, 20);
	assert_int_equal(t.highest_rss, 41);
	assert_int_equal(t.time_step, 20);
}

static void axes_end_at_round_numbers(void **state)
{
	static const struct {
		uint64_t bytes, step, top;
	} sizes[] = {
		{ 0, 2, 8 },
		{ 100, 20, 100 },
		{ 1023, 256, 1024 },
		{ 1024, 256, 1024 },
		{ 1200 << 10, 256 << 10, 1280 << 10 },
		{ 3 * MIB, MIB, 3 * MIB },
		{ 67 * MIB, 20 * MIB, 80 * MIB },
		{ 700 * MIB, 256 * MIB, 768 * MIB },
		{ 1000 * MIB, 256 * MIB, 1024 * MIB },
		{ 5ull << 40, 1ull << 40, 5ull << 40 },
	};
	static const struct {
		uint64_t time, step;
		const char *label; /* of the second tick */
	} times[] = {
		{ 900, 200, "400 ns" },
		{ 1200 * MS, 200 * MS, "400 ms" },
		{ 10 * SECOND, 2 * SECOND, "4 s" },
		{ 170 * SECOND, 30 * SECOND, "60 s" },
		{ 3600 * SECOND, 600 * SECOND, "20 min" },
		{ 12 * 3600 * SECOND, 2 * 3600 * SECOND, "4 h" },
		{ 8 * 86400 * SECOND, 2 * 86400 * SECOND, "4 d" },
		{ 400 * 86400 * SECOND, 100 * 86400 * SECOND, "200 d" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_profile_ struct profile *p = synth_new("a");
		_cleanup_timeline_ struct timeline t = { 0 };

		p->duration_ns = 1000;
		synth_point(p, 0, 0, 0);
		synth_point(p, 1000, sizes[i].bytes, 1);
		made(p, 10, 6, &t);
		if (t.step != sizes[i].step || t.top != sizes[i].top)
			fail_msg("%llu: step %llu, top %llu", (unsigned long long)sizes[i].bytes,
			         (unsigned long long)t.step, (unsigned long long)t.top);
	}
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		_cleanup_profile_ struct profile *p = synth_new("a");
		_cleanup_timeline_ struct timeline t = { 0 };
		_cleanup_buf_ struct buf label = { 0 };

		p->duration_ns = times[i].time;
		synth_point(p, 0, 1, 1);
		made(p, 10, 6, &t);
		assert_int_equal(t.time_step, times[i].step);
		timeline_tick(&label, &t, 2 * t.time_step);
		assert_string_equal(label.data, times[i].label);
	}
}

/* Nothing to be drawn is no error; what no clock and no machine can say is drawn anyway. */
static void odd_profiles(void **state)
{
	for (unsigned int which = 0; which < 4; which++) {
		_cleanup_profile_ struct profile *p = synth_new("a");
		const struct timeline_text_options o = { .width = 80, .ascii = which % 2 };
		_cleanup_buf_ struct buf text = { 0 }, svg = { 0 };
		struct seep_error *err;

		if (which == 1)
			p->duration_ns = 5;
		if (which > 1) {
			p->duration_ns = UINT64_MAX;
			synth_point(p, 0, UINT64_MAX, UINT64_MAX);
			synth_point(p, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX);
			assert_true(profile_add_rss(p, UINT64_MAX, UINT64_MAX));
			assert_true(
				profile_add_event(p, UINT64_MAX, PROF_EVENT_EXEC, "\x1b[31m\xff"));
		}
		assert_null(timeline_text(p, &o, &text));
		assert_int_equal(text.len > 0, which > 1);
		err = timeline_svg(p, &whole, &svg);
		assert_int_equal(err == NULL, which > 1);
		seep_error_free(err);
		if (which > 1) {
			assert_null(strchr(text.data, '\x1b'));
			assert_null(strchr(svg.data, '\x1b'));
			assert_null(strstr(svg.data, "nan"));
			assert_null(strstr(svg.data, "inf"));
		}
	}
}

/* ---- files ------------------------------------------------------------------------- */

/* With SEEP_GOLDEN_WRITE=1 in the environment the files are written anew: look at the difference before committing. */
static void assert_golden(const char *name, const struct buf *out)
{
	static char want[1 << 20];
	char path[512];
	FILE *f;
	size_t n;

	assert_non_null(getenv("SEEP_GOLDEN_DIR"));
	snprintf(path, sizeof(path), "%s/%s", getenv("SEEP_GOLDEN_DIR"), name);
	if (getenv("SEEP_GOLDEN_WRITE")) {
		f = fopen(path, "w");
		assert_non_null(f);
		fwrite(out->data, 1, out->len, f);
		fclose(f);
		return;
	}
	f = fopen(path, "r");
	if (!f)
		fail_msg("%s is missing", path);
	n = fread(want, 1, sizeof(want) - 1, f);
	want[n] = '\0';
	fclose(f);
	if (n != out->len || memcmp(want, out->data, n) != 0)
		fail_msg("%s differs; it is now:\n%s", path, out->data);
}

/* A server that warms up, leaks, is looked at twice and killed. */
static struct profile *a_service(void)
{
	struct profile *p = synth_new("./service --name '<b>&\"'");
	uint64_t level = 0;

	p->duration_ns = 90 * SECOND;
	p->tracker_ledger_bytes = 2 * MIB;
	for (uint64_t i = 0; i <= 900; i++) {
		level = i < 100 ? i * MIB / 4 : 25 * MIB + (i - 100) * 16384;
		synth_point(p, i * 100 * MS, i == 400 ? 60 * MIB : level, i * MIB);
		if (i % 10 == 0 && i >= 20)
			assert_true(
				profile_add_rss(p, i * 100 * MS, (i > 400 ? 64 : 8) * MIB + level));
	}
	assert_true(profile_add_event(p, 0, PROF_EVENT_LOAD, "/usr/lib/plugin.so"));
	assert_true(profile_add_event(p, 30 * SECOND, PROF_EVENT_SNAPSHOT, "every 30s"));
	assert_true(profile_add_event(p, 60 * SECOND, PROF_EVENT_SNAPSHOT, "every 30s"));
	assert_true(profile_add_event(p, 60 * SECOND + 1, PROF_EVENT_FORK,
	                              "process 12: sh -c '<script>'"));
	assert_true(profile_add_event(p, 90 * SECOND, PROF_EVENT_KILLED, "SIGKILL"));
	return p;
}

static void graphs_look_as_they_did(void **state)
{
	static const struct {
		const char *name;
		struct timeline_text_options o;
	} cases[] = {
		{ "timeline-blocks.txt", { .width = 80, .height = 16 } },
		{ "timeline-ascii.txt", { .width = 80, .height = 16, .ascii = true } },
		{ "timeline-narrow.txt", { .width = 30, .height = 5, .marks = 2 } },
	};
	_cleanup_profile_ struct profile *p = a_service();
	_cleanup_buf_ struct buf svg = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_buf_ struct buf out = { 0 };
		char *line, *rest;

		assert_null(timeline_text(p, &cases[i].o, &out));
		assert_golden(cases[i].name, &out);
		for (line = strtok_r(out.data, "\n", &rest); line;
		     line = strtok_r(NULL, "\n", &rest)) {
			if (cases[i].o.width >= 80 && text_columns(line) > cases[i].o.width)
				fail_msg("too long: %s", line);
			if (cases[i].o.ascii)
				for (const char *c = line; *c; c++)
					assert_in_range(*c, ' ', '~');
		}
	}
	assert_null(timeline_svg(p, &whole, &svg));
	assert_golden("timeline.svg", &svg);
	assert_null(strstr(svg.data, "<script"));
	assert_null(strstr(svg.data, "<b>"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_show_their_highest_and_hold),
		cmocka_unit_test(axes_end_at_round_numbers),
		cmocka_unit_test(odd_profiles),
		cmocka_unit_test(graphs_look_as_they_did),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
