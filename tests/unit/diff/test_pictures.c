/* SPDX-License-Identifier: Apache-2.0 */
/* The call graph and the flame graphs: numbers, structure, hostile names; looks against golden files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "analysis/diff.h"
#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "golden.h"
#include "output/dot.h"
#include "output/flame.h"
#include "output/units.h"
#include "synth.h"

#define HOSTILE "evil\x1b\"\\\n</script><!--<b>&lt;\xe2\x80\xa8\xff]]>"

static void ok(struct seep_error *err)
{
	if (err)
		fail_msg("%s", err->message);
}

static struct view *look(const struct profile *p)
{
	struct view *v = NULL;

	ok(profile_check(p));
	ok(view_new(p, &(struct view_options){ 0 }, &v));
	return v;
}

static void rename_frame(struct profile *p, uint32_t frame, const char *name)
{
	struct prof_line *l = p->symbols[p->frames[frame].symbol].lines;

	free(l->function);
	l->function = strdup(name);
}

static const struct dot_options dot_default = { .nodecount = DOT_NODECOUNT,
	                                        .nodefraction = DOT_NODEFRACTION,
	                                        .edgefraction = DOT_EDGEFRACTION };

static char *dot_of(struct profile *p, const struct dot_options *o)
{
	_cleanup_view_ struct view *v = look(p);
	struct buf out = { 0 };

	ok(dot_write(v, o, &out));
	return buf_steal(&out);
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *p = strstr(text, what); p; p = strstr(p + 1, what))
		n++;
	return n;
}

static void has(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("no '%s' in:\n%s", what, text);
}

static void has_not(const char *text, const char *what)
{
	if (strstr(text, what))
		fail_msg("'%s' in:\n%s", what, text);
}

/* ---- the call graph ------------------------------------------------------------ */

static void boxes_say_self_of_cumulative(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_free_ char *dot = dot_of(p, &dot_default);

	/* 24 MiB + 990 * 4 KiB + 48,000 B + 64 KiB = 29,334,144... of which the leak has 24 MiB */
	has(dot, "[label=\"handle_leak\\n24.0 MiB (85.8 %)\" ");
	has(dot, "[label=\"main\\n0\\nof 28.0 MiB (100.0 %)\" ");
	has(dot, "[label=\" 24.0 MiB\" weight=86 penwidth=5 ");
	has(dot, "\\n (inline)\" ");
	has(dot,
	    "Dropped 3 nodes (cum < 143 KiB)"); /* cache_put, strdup's fold, the nameless mapping */
}

static void few_boxes_leave_dotted_arrows(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	struct dot_options o = dot_default;
	_cleanup_free_ char *dot = NULL;

	/* main and serve call everything; with two boxes the leak hangs from the top by a dotted line */
	rename_frame(p, 4, "serve");
	o.nodecount = 0;
	o.nodefraction = 0.5;
	dot = dot_of(p, &o);
	assert_int_equal(count(dot, "shape=box tooltip"),
	                 5); /* _start, libc, main, serve, the leak */
	assert_int_equal(count(dot, "style=dotted"), 0);
	free(TAKE(dot));
	o.nodecount = 3;
	dot = dot_of(p, &o);
	assert_int_equal(count(dot, "shape=box tooltip"), 3);
	has(dot, "Showing top 3 nodes out of 5");
}

/* f calls itself and g, which calls f: each stack counts once for every box and every arrow. */
static void recursion_counts_once(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("recursion");
	uint32_t m = synth_module(p, "/bin/r", 0x1000, 1), frame = 0;
	_cleanup_free_ char *dot = NULL;

	for (uint64_t i = 0; i < 12; i++)
		frame = synth_frame(p, frame, m, 16 * i, i % 3 == 2 ? "g" : "f", "r.c", 1 + i % 3);
	synth_site(p, frame, PROF_HEAP, 1024, 5, 0);
	dot = dot_of(p, &dot_default);
	assert_int_equal(count(dot, "shape=box tooltip"), 2);
	assert_int_equal(count(dot, " -> N"), 3); /* f→f, f→g, g→f */
	assert_int_equal(count(dot, "label=\" 5.00 KiB\""), 3);
	has(dot, "label=\"f\\n0\\nof 5.00 KiB (100.0 %)\"");
	has(dot, "label=\"g\\n5.00 KiB (100.0 %)\"");
}

static void skipped_functions_leave_dotted_arrows(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("dotted");
	uint32_t m = synth_module(p, "/bin/d", 0x1000, 1);
	uint32_t top = synth_frame(p, 0, m, 0x10, "top", "d.c", 1), leaf = 0;
	struct dot_options o = dot_default;
	_cleanup_free_ char *dot = NULL;

	/* a hundred ways to the same leaf, each of them small */
	for (uint64_t i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "way%u", (unsigned int)i);
		leaf = synth_frame(p, synth_frame(p, top, m, 0x100 + 16 * i, name, "d.c", 2), m,
		                   0x50, "leaf", "d.c", 3);
		synth_site(p, leaf, PROF_HEAP, 100, 1, 0);
	}
	o.nodefraction = 0.1;
	dot = dot_of(p, &o);
	assert_int_equal(count(dot, "shape=box tooltip"), 2);
	assert_int_equal(count(dot, " -> N"), 1);
	has(dot, "label=\" 9.77 KiB\"");
	has(dot, "style=dotted");
	has(dot, "Dropped 100 nodes (cum < 1000 B)");
}

static void hostile_names_stay_inside_their_strings(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_free_ char *dot = NULL;

	rename_frame(p, 5, HOSTILE);
	free(p->command);
	p->command = strdup("a\"]; N9 [label=\"x\\");
	dot = dot_of(p, &dot_default);
	for (const char *c = dot; *c; c++)
		assert_true((unsigned char)*c >= 0x20 || *c == '\n');
	has(dot, "a\\\"]; N9 [label=\\\"x\\\\");
	has_not(dot, "&lt;"); /* it would be shown as < */
	/* every line has its quotes in pairs: nothing opened, nothing closed a string */
	for (const char *line = dot; *line;) {
		size_t quotes = 0, n = strcspn(line, "\n");

		for (size_t i = 0; i < n; i++) {
			if (line[i] == '\\')
				i++;
			else
				quotes += line[i] == '"';
		}
		assert_int_equal(quotes % 2, 0);
		line += n + (line[n] == '\n');
	}
}

/* ---- differences ------------------------------------------------------------------ */

struct pair {
	struct profile *p[2];
	struct diff *d;
	struct view *v;
};

static void pair_make(struct pair *t, bool hostile)
{
	for (int i = 0; i < 2; i++) {
		t->p[i] = synth_service();
		if (hostile)
			rename_frame(t->p[i], 5, HOSTILE);
	}
	t->p[1]->duration_ns += 60000000000;
	t->p[1]->sites[0].inuse = (struct prof_value){ .blocks = 44, .bytes = 44 << 20 };
	t->p[1]->sites[1].inuse = (struct prof_value){ .blocks = 0, .bytes = 0 };
	ok(diff_make((const struct profile *const *)t->p, 2, &t->d));
	t->v = look(t->d->joint);
}

static void pair_release(struct pair *t)
{
	view_free(t->v);
	diff_free(t->d);
	profile_free(t->p[0]);
	profile_free(t->p[1]);
}

static void graphs_of_differences_have_signs(void **state)
{
	_cleanup_buf_ struct buf out = { 0 }, blind = { 0 };
	struct dot_options o = dot_default;
	struct pair t;

	pair_make(&t, false);
	o.diff = t.d;
	ok(dot_write(t.v, &o, &out));
	o.colorblind = true;
	ok(dot_write(t.v, &o, &blind));
	has(out.data, "label=\"handle_leak\\n+20.0 MiB (83.8 %)\"");
	has(out.data, "-3.87 MiB (16.2 %)\"");
	has(out.data, "of +16.1 MiB (67.6 %)\"");
	has_not(out.data, "cache_put"); /* it did not change */
	has(out.data, "Type: in use, change in bytes\\l");
	assert_int_not_equal(strcmp(out.data, blind.data), 0);
	pair_release(&t);
}

static void nothing_gives_an_empty_graph(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("empty");
	_cleanup_free_ char *dot = dot_of(p, &dot_default);
	_cleanup_view_ struct view *v = look(p);
	_cleanup_buf_ struct buf html = { 0 }, svg = { 0 };

	assert_int_equal(count(dot, "shape=box tooltip"), 0);
	has(dot, "digraph \"empty\" {");
	ok(flame_html(v, &(struct flame_options){ 0 }, &html));
	ok(flame_svg(v, &(struct flame_options){ 0 }, &svg));
	has(html.data, "\"parent\":[0]");
}

/* ---- flame graphs ------------------------------------------------------------------ */

/* The page's data, as a browser would get it: the text of the element up to its end. */
static struct json_object *page_data(const char *html)
{
	static const char open[] = "<script type=\"application/json\" id=\"data\">";
	const char *from = strstr(html, open), *to;
	_cleanup_free_ char *text = NULL;
	struct json_object *o;

	assert_non_null(from);
	from += sizeof(open) - 1;
	to = strstr(from, "</script");
	assert_non_null(to);
	text = strndup(from, (size_t)(to - from));
	o = json_tokener_parse(text);
	if (!o)
		fail_msg("no JSON: %s", text);
	return o;
}

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *m = NULL;

	if (!json_object_object_get_ex(o, key, &m))
		fail_msg("no member %s", key);
	return m;
}

static int64_t at(struct json_object *o, const char *key, size_t i)
{
	return json_object_get_int64(json_object_array_get_idx(member(o, key), i));
}

static int64_t sum(struct json_object *o, const char *key)
{
	int64_t total = 0;

	for (size_t i = 0; i < json_object_array_length(member(o, key)); i++)
		total += at(o, key, i);
	return total;
}

static void pages_hold_every_byte(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_view_ struct view *v = look(p);
	_cleanup_buf_ struct buf html = { 0 };
	struct json_object *o;
	size_t n;

	ok(flame_html(v, &(struct flame_options){ 0 }, &html));
	o = page_data(html.data);
	assert_int_equal(sum(o, "bytes"), 24 * 1048576 + 990 * 4096 + 1000 * 48 + 65536);
	assert_int_equal(sum(o, "blocks"), 24 + 990 + 1000 + 1);
	n = json_object_array_length(member(o, "parent"));
	assert_int_equal(json_object_array_length(member(o, "location")), n);
	for (size_t i = 1; i < n; i++)
		assert_true(at(o, "parent", i) < (int64_t)i);
	assert_int_equal(json_object_array_length(member(o, "locations")) % 5, 0);
	json_object_put(o);
	/* nothing from outside */
	has_not(html.data, "http:");
	has_not(html.data, "https:");
	has_not(html.data, " src=");
	has(html.data, "default-src 'none'");
	has_not(html.data, "@DATA@");
}

static void pages_survive_hostile_names(void **state)
{
	_cleanup_buf_ struct buf html = { 0 }, svg = { 0 };
	const char *from;
	struct json_object *o;
	struct pair t;
	bool found = false;

	pair_make(&t, true);
	ok(flame_html(t.v, &(struct flame_options){ .diff = t.d }, &html));
	ok(flame_svg(t.v, &(struct flame_options){ .diff = t.d }, &svg));
	from = strstr(html.data, "id=\"data\">");
	/* one element of data and one of code: the name opened and closed none */
	assert_int_equal(count(html.data, "<script"), 2);
	assert_int_equal(count(html.data, "</script"), 2);
	assert_int_equal(count(from, "<!--"), 0);
	has_not(html.data, "\xe2\x80\xa8");
	o = page_data(html.data);
	for (size_t i = 0; i < json_object_array_length(member(o, "strings")); i++)
		found |= !strcmp(json_object_get_string(
					 json_object_array_get_idx(member(o, "strings"), i)),
		                 "evil\x1b\"\\\n</script><!--<b>&lt;\xe2\x80\xa8\xef\xbf\xbd]]>");
	assert_true(found);
	assert_int_equal(sum(o, "bytes") - sum(o, "bytesBefore"), (20 << 20) - 990 * 4096);
	json_object_put(o);
	has_not(svg.data, "<b>");
	has_not(svg.data, "</script>");
	has_not(svg.data, "\x1b");
	has(svg.data, "&lt;/script&gt;");
	pair_release(&t);
}

/* Lines of one function below one caller are one box, named by the heaviest. */
static void lines_of_a_function_are_one_box(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("lines");
	uint32_t m = synth_module(p, "/bin/l", 0x1000, 1);
	uint32_t top = synth_frame(p, 0, m, 0x10, "top", "l.c", 1);
	_cleanup_buf_ struct buf html = { 0 };
	_cleanup_view_ struct view *v = NULL;
	struct json_object *o;

	synth_site(p, synth_frame(p, top, m, 0x20, "leaf", "l.c", 7), PROF_HEAP, 10, 1, 0);
	synth_site(p, synth_frame(p, top, m, 0x30, "leaf", "l.c", 9), PROF_HEAP, 10, 5, 0);
	v = look(p);
	ok(flame_html(v, &(struct flame_options){ 0 }, &html));
	o = page_data(html.data);
	assert_int_equal(json_object_array_length(member(o, "parent")), 3);
	assert_int_equal(at(o, "bytes", 2), 60);
	assert_int_equal(at(o, "locations", (size_t)at(o, "location", 2) * 5 + 2), 9);
	json_object_put(o);
}

/* ---- looks ------------------------------------------------------------------------- */

static void pictures_look_as_they_did(void **state)
{
	_cleanup_buf_ struct buf dot = { 0 }, svg = { 0 }, plain = { 0 }, html = { 0 };
	struct dot_options o = dot_default;
	struct json_object *data;
	struct pair t;
	_cleanup_view_ struct view *v = NULL;

	pair_make(&t, false);
	o.diff = t.d;
	ok(dot_write(t.v, &o, &dot));
	assert_true(golden_same("diff.dot", dot.data));
	ok(flame_svg(t.v, &(struct flame_options){ .diff = t.d, .colorblind = true }, &svg));
	assert_true(golden_same("diff.svg", svg.data));
	v = look(t.p[0]);
	ok(flame_svg(v, &(struct flame_options){ 0 }, &plain));
	assert_true(golden_same("plain.svg", plain.data));
	ok(flame_html(t.v, &(struct flame_options){ .diff = t.d }, &html));
	data = page_data(html.data);
	assert_true(golden_same("flame-data.json",
	                        json_object_to_json_string_ext(data, JSON_C_TO_STRING_PRETTY)));
	json_object_put(data);
	pair_release(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(boxes_say_self_of_cumulative),
		cmocka_unit_test(few_boxes_leave_dotted_arrows),
		cmocka_unit_test(recursion_counts_once),
		cmocka_unit_test(skipped_functions_leave_dotted_arrows),
		cmocka_unit_test(hostile_names_stay_inside_their_strings),
		cmocka_unit_test(graphs_of_differences_have_signs),
		cmocka_unit_test(nothing_gives_an_empty_graph),
		cmocka_unit_test(pages_hold_every_byte),
		cmocka_unit_test(pages_survive_hostile_names),
		cmocka_unit_test(lines_of_a_function_are_one_box),
		cmocka_unit_test(pictures_look_as_they_did),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
