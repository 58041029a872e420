/* SPDX-License-Identifier: Apache-2.0 */
/* Units, the emitter in both formats, and whole reports against golden files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "golden.h"
#include "output/emit.h"
#include "output/report.h"
#include "output/units.h"
#include "synth.h"

/* ---- units -------------------------------------------------------------------- */

static void assert_unit(void (*unit)(struct buf *, uint64_t), uint64_t v, const char *want)
{
	_cleanup_buf_ struct buf b = { 0 };

	unit(&b, v);
	assert_string_equal(b.data, want);
}

static void units(void **state)
{
	_cleanup_buf_ struct buf b = { 0 };

	assert_unit(unit_bytes, 0, "0 B");
	assert_unit(unit_bytes, 1023, "1023 B");
	assert_unit(unit_bytes, 1024, "1.00 KiB");
	assert_unit(unit_bytes, 1310720, "1.25 MiB");
	assert_unit(unit_bytes, 1048575, "1.00 MiB");
	assert_unit(unit_bytes, 25165824, "24.0 MiB");
	assert_unit(unit_bytes, 340ull << 30, "340 GiB");
	assert_unit(unit_bytes, UINT64_MAX, "16.0 EiB");
	assert_unit(unit_count, 0, "0");
	assert_unit(unit_count, 999, "999");
	assert_unit(unit_count, 1000, "1,000");
	assert_unit(unit_count, 1234567, "1,234,567");
	assert_unit(unit_count, UINT64_MAX, "18,446,744,073,709,551,615");
	assert_unit(unit_duration, 0, "0 s");
	assert_unit(unit_duration, 850, "850 ns");
	assert_unit(unit_duration, 12345, "12.3 µs");
	assert_unit(unit_duration, 850000000, "850 ms");
	assert_unit(unit_duration, 999600000, "1.00 s");
	assert_unit(unit_duration, 12340000000, "12.3 s");
	assert_unit(unit_duration, 59960000000, "1 min 0 s");
	assert_unit(unit_duration, 250000000000, "4 min 10 s");
	assert_unit(unit_duration, 11520000000000, "3 h 12 min");
	assert_unit(unit_duration, 187200000000000, "2 d 4 h");
	assert_unit(unit_time, 1700000000000000000, "2023-11-14 22:13:20 UTC");
	unit_ratio(&b, 0.479);
	buf_putc(&b, ' ');
	unit_ratio(&b, 0.0001);
	buf_putc(&b, ' ');
	unit_ratio(&b, 0);
	assert_string_equal(b.data, "47.9 % <0.1 % 0.0 %");
}

static void text_is_cleaned_and_cut(void **state)
{
	_cleanup_buf_ struct buf b = { 0 };

	text_clean(&b, "a\033[31mb\x7f\xff\xc3(\xc2\x9bü\xed\xa0\x80");
	assert_string_equal(
		b.data,
		"a\xef\xbf\xbd[31mb\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbdü\xef\xbf\xbd"
		"\xef\xbf\xbd\xef\xbf\xbd");
	buf_reset(&b);
	text_cut(&b, "übermäßig", 5, 0);
	text_cut(&b, "/a/b/c.c", 6, 1);
	text_cut(&b, "abc", 3, 0);
	text_cut(&b, "abc", 0, 0);
	assert_string_equal(b.data, "über……b/c.cabc");
	assert_int_equal(text_columns("übermäßig"), 9);
	assert_int_equal(utf8_length("\xf4\x90\x80\x80"), 0); /* beyond U+10FFFF */
	assert_int_equal(utf8_length("\xf0\x9f\x98\x80"), 4);
	assert_int_equal(utf8_length("\xc0\x80"), 0);
	assert_int_equal(utf8_length("\xe2\x82"), 0); /* cut off */
}

/* ---- emitter ---------------------------------------------------------------------- */

static const struct emit_column columns[] = {
	{ "bytes", "bytes", 0, 0 },
	{ "name", "name", EMIT_INDENT | EMIT_SHRINK, 0 },
	{ "path", "path", EMIT_SHRINK_PATH, 0 },
	{ "hidden", NULL, 0, 0 },
	{ NULL, "", 0, 4 },
};

static void emit_sample(struct emit *e)
{
	emit_object(e, NULL);
	emit_heading(e, "Head of %s", "a\nb");
	emit_field(e, "label", "label", emit_string("x\"\\\n\t\x01\xff/"));
	emit_field(e, "json_only", NULL, emit_bool(true));
	emit_field(e, NULL, "text only", emit_count(1234));
	emit_line(e, EMIT_PLAIN, "%: 100%% of %",
	          (struct emit_part[]){ { "share", emit_ratio(0.5), false },
	                                { "secret", emit_number(-3), true },
	                                { "size", emit_bytes(2048), false } },
	          3);
	emit_field(e, "est", "est",
	           emit_sampled(emit_bytes(4096), (struct prof_interval){ 3072, 6144 }));
	emit_table(e, "rows", 2, columns, ARRAY_SIZE(columns));
	emit_row(e, 0, EMIT_PLAIN,
	         (struct emit_value[]){ emit_bytes(1024), emit_string("f"), emit_string("/a/b.c"),
	                                emit_none(), emit_bar(1) });
	emit_row(e, 1, EMIT_MARK,
	         (struct emit_value[]){ emit_bytes(10),
	                                emit_string("a_function_with_a_very_long_name"),
	                                emit_string("/some/very/long/path/to/file.c"),
	                                emit_address(255), emit_bar(0.3) });
	emit_table_end(e);
	emit_array(e, "empty");
	emit_array_end(e);
	emit_object_end(e);
}

static char *emitted(enum emit_format format, unsigned int width, bool color)
{
	struct buf out = { 0 };
	struct emit *e = emit_new(&(struct emit_options){ format, width, color }, &out);

	emit_sample(e);
	emit_free(e);
	assert_false(out.failed);
	return buf_steal(&out);
}

static void emits_text(void **state)
{
	_cleanup_free_ char *text = emitted(EMIT_TEXT, 60, false);

	assert_string_equal(text,
	                    "Head of a\xef\xbf\xbd"
	                    "b\n"
	                    "  label       x\"\\\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd/\n"
	                    "  text only   1,234\n"
	                    "50.0 %: 100% of 2.00 KiB\n"
	                    "  est         4.00 KiB ±2.00 KiB\n"
	                    "     bytes  name                  path\n"
	                    "  1.00 KiB  f                     /a/b.c                ████\n"
	                    "      10 B    a_function_with_a…  …long/path/to/file.c  █▎\n");
}

static void emits_json(void **state)
{
	_cleanup_free_ char *text = emitted(EMIT_JSON, 60, true);

	assert_string_equal(
		text,
		"{\n"
		"  \"label\": \"x\\\"\\\\\\n\\t\\u0001\\ufffd/\",\n"
		"  \"json_only\": true,\n"
		"  \"share\": 0.5,\n"
		"  \"secret\": -3,\n"
		"  \"size\": 2048,\n"
		"  \"est\": 4096,\n"
		"  \"est_low\": 3072,\n"
		"  \"est_high\": 6144,\n"
		"  \"rows\": [\n"
		"    {\"depth\": 0, \"bytes\": 1024, \"name\": \"f\", \"path\": \"/a/b.c\", "
		"\"hidden\": null},\n"
		"    {\"depth\": 1, \"bytes\": 10, \"name\": \"a_function_with_a_very_long_name\", "
		"\"path\": \"/some/very/long/path/to/file.c\", \"hidden\": \"0xff\"}\n"
		"  ],\n"
		"  \"empty\": []\n"
		"}\n");
}

static void colours_only_when_asked(void **state)
{
	_cleanup_free_ char *plain = emitted(EMIT_TEXT, 100, false),
			    *color = emitted(EMIT_TEXT, 100, true);

	assert_null(strchr(plain, '\033'));
	assert_non_null(strstr(color, "\033[1;33m"));
}

static void long_lines_wrap_at_words(void **state)
{
	struct buf out = { 0 };
	struct emit *e = emit_new(&(struct emit_options){ EMIT_TEXT, 40, false }, &out);

	emit_text(e, EMIT_PLAIN, 2, "• %s",
	          "one two three four five six seven eight nine ten eleven");
	emit_line(e, EMIT_PLAIN, "a first part of some length, the second %",
	          (struct emit_part[]){ { NULL, emit_string("of it"), false } }, 1);
	emit_text(e, EMIT_PLAIN, 0, "an_unbreakable_word_that_is_longer_than_the_line_is end");
	emit_free(e);
	assert_string_equal(out.data, "  • one two three four five six seven\n"
	                              "    eight nine ten eleven\n"
	                              "a first part of some length,\n"
	                              "    the second of it\n"
	                              "an_unbreakable_word_that_is_longer_than_the_line_is\n"
	                              "end\n");
	buf_release(&out);
}

/* ---- reports ------------------------------------------------------------------------ */

struct scene {
	const char *name;
	struct report_options o;
	struct view_options view;
	enum emit_format format;
	unsigned int width;
	void (*change)(struct profile *);
};

static void make_sampled(struct profile *p)
{
	p->sampled = true;
	p->period = 524288;
	for (size_t i = 0; i < p->nsites; i++) {
		struct prof_site *s = &p->sites[i];
		uint64_t size = s->alloc.bytes / s->alloc.blocks;
		double w = prof_weight(size, p->period), var = prof_weight_variance(size, p->period);

		s->samples = (uint64_t)((double)s->alloc.blocks / w + 0.5);
		s->inuse_samples = (uint64_t)((double)s->inuse.blocks / w + 0.5);
		s->alloc.var_blocks = (double)s->samples * var;
		s->alloc.var_bytes = s->alloc.var_blocks * (double)size * (double)size;
		s->inuse.var_blocks = (double)s->inuse_samples * var;
		s->inuse.var_bytes = s->inuse.var_blocks * (double)size * (double)size;
	}
}

static void make_bypassed(struct profile *p)
{
	p->bypassed = p->killed = p->forked = p->attached = true;
	for (size_t i = 0; i < PROF_NLOSSES; i++)
		p->losses.count[i] = i + 1;
	p->losses.torn = 2;
	p->sites[0].cut_depth = p->sites[1].cut_no_cfi = true;
}

/* Three thread stacks more than threads run: their threads were never joined. */
static void make_stacks(struct profile *p)
{
	synth_site(p, p->sites[1].stack, PROF_STACK, 8 << 20, 12, 8);
}

static void make_empty(struct profile *p)
{
	p->nsites = p->ncells = p->npoints = 0;
	memset(p->classes, 0, sizeof(p->classes));
	memset(&p->losses, 0, sizeof(p->losses));
	p->live = true;
}

static const char *const focus_cache[] = { "cache_put" };

static const struct scene scenes[] = {
	{ "sites-100", { .top = 10, .depth = 12 }, { 0 }, EMIT_TEXT, 100, NULL },
	{ "sites-80", { .top = 2, .depth = 12 }, { 0 }, EMIT_TEXT, 80, NULL },
	{ "sites-sampled", { .top = 10, .depth = 12 }, { 0 }, EMIT_TEXT, 100, make_sampled },
	{ "sites-losses",
	  { .top = 1, .depth = 1, .full_paths = true },
	  { 0 },
	  EMIT_TEXT,
	  100,
	  make_bypassed },
	{ "sites-empty", { .top = 1 }, { 0 }, EMIT_TEXT, 100, make_empty },
	{ "sites-focus",
	  { .top = 10, .cwd = "/srv/src" },
	  { .focus = focus_cache, .nfocus = 1 },
	  EMIT_TEXT,
	  100,
	  NULL },
	{ "functions", { .by = GROUP_FUNCTION, .min_ratio = 0.01 }, { 0 }, EMIT_TEXT, 100, NULL },
	{ "modules", { .by = GROUP_MODULE }, { 0 }, EMIT_TEXT, 100, NULL },
	{ "threads", { .by = GROUP_THREAD }, { 0 }, EMIT_TEXT, 100, NULL },
	{ "kinds",
	  { .by = GROUP_KIND, .measure = { MEASURE_ALLOC, true } },
	  { 0 },
	  EMIT_TEXT,
	  100,
	  NULL },
	{ "kinds-stacks",
	  { .by = GROUP_KIND },
	  { .kinds = PROF_ALL_KINDS },
	  EMIT_TEXT,
	  100,
	  make_stacks },
	{ "sites-stacks",
	  { .top = 1 },
	  { .kinds = PROF_KIND_BIT(PROF_STACK) },
	  EMIT_TEXT,
	  100,
	  make_stacks },
	{ "sites-stacks-too", { .top = 2 }, { .kinds = PROF_ALL_KINDS }, EMIT_TEXT, 80, make_stacks },
	{ "tree-root",
	  { .tree = true, .direction = TREE_ROOT_FIRST, .min_ratio = 0.01 },
	  { 0 },
	  EMIT_TEXT,
	  100,
	  NULL },
	{ "tree-leaf",
	  { .tree = true, .direction = TREE_LEAF_FIRST },
	  { .no_fold = true },
	  EMIT_TEXT,
	  80,
	  NULL },
	{ "hist", { .by = GROUP_MODULE, .hist = true }, { 0 }, EMIT_TEXT, 100, NULL },
	{ "sites-json", { .top = 2 }, { 0 }, EMIT_JSON, 100, make_sampled },
	{ "tree-json",
	  { .tree = true, .direction = TREE_LEAF_FIRST, .min_ratio = 0.2 },
	  { 0 },
	  EMIT_JSON,
	  100,
	  NULL },
};

static char *render(const struct scene *s)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_view_ struct view *v = NULL;
	struct buf out = { 0 };
	struct emit *e = emit_new(&(struct emit_options){ s->format, s->width, false }, &out);
	struct seep_error *err;

	if (s->change)
		s->change(p);
	err = profile_check(p);
	if (!err)
		err = view_new(p, &s->view, &v);
	if (!err)
		err = report_emit(e, v, &s->o);
	if (err)
		fail_msg("%s: %s", s->name, err->message);
	emit_free(e);
	assert_false(out.failed);
	return buf_steal(&out);
}

static void reports_look_as_they_did(void **state)
{
	size_t wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		_cleanup_free_ char *have = render(&scenes[i]);
		char name[128];

		snprintf(name, sizeof(name), "%s.%s", scenes[i].name,
		         scenes[i].format == EMIT_JSON ? "json" : "txt");
		wrong += !golden_same(name, have);
	}
	assert_int_equal(wrong, 0);
}

static void text_fits_the_width(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		struct scene s = scenes[i];

		for (s.width = 80; s.width <= 200 && s.format == EMIT_TEXT; s.width += 20) {
			_cleanup_free_ char *text = render(&s);
			char *save = NULL;

			for (char *line = strtok_r(text, "\n", &save); line;
			     line = strtok_r(NULL, "\n", &save))
				if (text_columns(line) > s.width)
					fail_msg("%s at %u columns: %s", s.name, s.width, line);
		}
	}
}

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *m = NULL;

	if (!json_object_object_get_ex(o, key, &m))
		fail_msg("no member %s", key);
	return m;
}

static void json_is_valid_and_tells_the_same(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		struct scene s = scenes[i];
		_cleanup_free_ char *text = NULL;
		struct json_object *o;

		s.format = EMIT_JSON;
		text = render(&s);
		o = json_tokener_parse(text);
		if (!o)
			fail_msg("%s: not JSON:\n%s", s.name, text);
		assert_int_equal(json_object_get_int(member(o, "seep_report")), REPORT_JSON_VERSION);
		if (s.change != make_empty)
			assert_int_equal(json_object_get_int64(member(
						 member(member(o, "totals"), "in_use"), "bytes")),
			                 24 * 1048576 + 990 * 4096 + 48000 + 65536);
		assert_true(json_object_is_type(member(o, "notes"), json_type_array));
		assert_true(json_object_is_type(member(o, "timeline"), json_type_array));
		if (s.o.by == GROUP_SITE && !s.o.tree && s.change != make_empty && !s.view.nfocus &&
		    !s.view.kinds) {
			struct json_object *first = json_object_array_get_idx(member(o, "sites"), 0);
			struct json_object *stack = member(first, "stack"), *frame;
			size_t at = (size_t)json_object_get_int(member(first, "look_here"));

			at = (size_t)json_object_get_int(json_object_array_get_idx(stack, at));
			frame = json_object_array_get_idx(member(o, "frames"), at);
			assert_int_equal(json_object_get_int64(member(first, "bytes")),
			                 24 * 1048576);
			assert_string_equal(json_object_get_string(member(frame, "function")),
			                    "handle_leak");
			assert_int_equal(json_object_get_int(member(frame, "line")), 88);
		}
		json_object_put(o);
	}
}

static void paths_are_short(void **state)
{
	static const struct {
		const char *file, *want;
	} cases[] = {
		{ "/home/u/proj/src/a.c", "src/a.c:1" },
		{ "/home/u/proj/build/../src/./a.c", "src/a.c:1" },
		{ "/home/u/project/src/a.c", "project/src/a.c:1" },
		{ "../src/a.c", "src/a.c:1" },
		{ "../../a.c", "a.c:1" },
		{ "a.c", "a.c:1" },
		{ "/a.c", "/a.c:1" },
		{ "/x/../../a.c", "/../a.c:1" },
		{ "/", "/:1" },
		{ "/home/u/proj", "home/u/proj:1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_profile_ struct profile *p = synth_new("x");
		uint32_t m = synth_module(p, "/bin/x", 0, 1);
		struct report_options o = { .cwd = "/home/u/proj" };
		struct view_options vo = { 0 };
		_cleanup_view_ struct view *v = NULL;
		struct buf out = { 0 };
		struct emit *e = emit_new(&(struct emit_options){ EMIT_TEXT, 100, false }, &out);
		char want[64];

		synth_site(p, synth_frame(p, 0, m, 1, "f", cases[i].file, 1), PROF_HEAP, 8, 1, 0);
		assert_null(view_new(p, &vo, &v));
		assert_null(report_emit(e, v, &o));
		snprintf(want, sizeof(want), "▶  f  %s\n", cases[i].want);
		if (!strstr(out.data, want))
			fail_msg("%s should show as %s:\n%s", cases[i].file, cases[i].want,
			         out.data);
		emit_free(e);
		buf_release(&out);
	}
}

/* Names from a hostile file must neither break JSON nor reach the terminal as commands. */
static void hostile_names_do_no_harm(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("cmd\033]0;x\007\xff\"\n");
	uint32_t m = synth_module(p, "/bin/\033[2J\xc3\x28\"", 0, 1);
	_cleanup_view_ struct view *v = NULL;
	struct view_options vo = { 0 };

	synth_site(p, synth_frame(p, 0, m, 1, "f\033[31m\r\n<%s%n>", "a\tb\x9b.c", 4294967295u),
	           PROF_HEAP, 8, 2, 1);
	p->threads[0].name = strdup("t\033");
	assert_null(view_new(p, &vo, &v));
	for (int format = EMIT_TEXT; format <= EMIT_JSON; format++) {
		struct buf out = { 0 };
		struct emit *e =
			emit_new(&(struct emit_options){ (enum emit_format)format, 80, false },
		                 &out);
		const char *warnings[] = { "%s%n\033", NULL };

		assert_null(report_emit(e, v, &(struct report_options){ .warnings = warnings }));
		emit_free(e);
		for (size_t i = 0; i < out.len; i += utf8_length(out.data + i)) {
			assert_true(utf8_length(out.data + i) > 0);
			assert_true((unsigned char)out.data[i] >= 0x20 || out.data[i] == '\n');
		}
		if (format == EMIT_JSON) {
			struct json_object *o = json_tokener_parse(out.data);

			assert_non_null(o);
			json_object_put(o);
		}
		buf_release(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(units),
		cmocka_unit_test(text_is_cleaned_and_cut),
		cmocka_unit_test(emits_text),
		cmocka_unit_test(emits_json),
		cmocka_unit_test(colours_only_when_asked),
		cmocka_unit_test(long_lines_wrap_at_words),
		cmocka_unit_test(reports_look_as_they_did),
		cmocka_unit_test(text_fits_the_width),
		cmocka_unit_test(json_is_valid_and_tells_the_same),
		cmocka_unit_test(paths_are_short),
		cmocka_unit_test(hostile_names_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
