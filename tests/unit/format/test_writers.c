/* SPDX-License-Identifier: Apache-2.0 */
/* The formats that are only written: valid JSON with the right numbers, whatever names hold. */
#include "helpers.h"
#include "synth.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

static struct json_object *written(const struct profile *p, const char *format, unsigned int value)
{
	struct format_output o = { .value = value };
	struct json_tokener *tok = json_tokener_new();
	struct json_object *json;
	struct buf out = { 0 };

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	assert_null(format_write(format_by_name(format), p, &o, &out));
	json = json_tokener_parse_ex(tok, out.data, (int)out.len + 1);
	if (!json)
		fail_msg("%s: %s", format, json_tokener_error_desc(json_tokener_get_error(tok)));
	json_tokener_free(tok);
	buf_release(&out);
	return json;
}

static struct json_object *at(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (!json_object_object_get_ex(o, key, &v))
		fail_msg("no %s", key);
	return v;
}

static int64_t number(struct json_object *o, const char *key)
{
	return json_object_get_int64(at(o, key));
}

static void speedscope(void **state)
{
	struct profile *p = synth_service();
	struct json_object *json = written(p, "speedscope", 0);
	struct json_object *profile = json_object_array_get_idx(at(json, "profiles"), 0);
	struct json_object *frames = at(at(json, "shared"), "frames");
	struct json_object *samples = at(profile, "samples"), *weights = at(profile, "weights");
	int64_t total = 0;

	assert_string_equal(json_object_get_string(at(json, "$schema")),
	                    "https://www.speedscope.app/file-format-schema.json");
	assert_string_equal(json_object_get_string(at(profile, "type")), "sampled");
	assert_string_equal(json_object_get_string(at(profile, "unit")), "bytes");
	assert_int_equal(json_object_array_length(samples), json_object_array_length(weights));
	for (size_t i = 0; i < json_object_array_length(samples); i++) {
		struct json_object *stack = json_object_array_get_idx(samples, i);

		total += json_object_get_int64(json_object_array_get_idx(weights, i));
		for (size_t k = 0; k < json_object_array_length(stack); k++)
			assert_in_range(json_object_get_int(json_object_array_get_idx(stack, k)), 0,
			                json_object_array_length(frames) - 1);
	}
	/* 24 MiB, 990 x 4096, 48000, 65536: synth.c */
	assert_int_equal(total, 24 * 1048576 + 990 * 4096 + 48000 + 65536);
	assert_int_equal(number(profile, "endValue"), total);
	/* root first: the leak's stack begins at _start and ends at handle_leak */
	frames = json_object_array_get_idx(frames,
	                                   (size_t)json_object_get_int(json_object_array_get_idx(
						   json_object_array_get_idx(samples, 0), 4)));
	assert_string_equal(json_object_get_string(at(frames, "name")), "handle_leak");
	assert_int_equal(number(frames, "line"), 88);
	json_object_put(json);
	json = written(p, "speedscope", FORMAT_ALLOC_BLOCKS);
	profile = json_object_array_get_idx(at(json, "profiles"), 0);
	assert_string_equal(json_object_get_string(at(profile, "unit")), "none");
	assert_int_equal(number(profile, "endValue"), 24 + 1000 + 50000 + 2 + 100);
	json_object_put(json);
	profile_free(p);
}

static void dhat(void **state)
{
	static const char *const fields[] = { "tb", "tbk", "tl", "mb", "mbk",
		                              "gb", "gbk", "eb", "ebk" };
	struct profile *p = synth_service();
	struct json_object *json, *points, *table;
	int64_t sum[9] = { 0 };

	/* the same stack twice, as two kinds: one point */
	synth_site(p, p->sites[0].stack, PROF_MMAP, 4096, 2, 1);
	json = written(p, "dhat", 0);
	points = at(json, "pps");
	table = at(json, "ftbl");
	assert_int_equal(number(json, "dhatFileVersion"), 2);
	assert_string_equal(json_object_get_string(json_object_array_get_idx(table, 0)), "[root]");
	assert_int_equal(number(json, "te"), 100000000);
	assert_int_equal(number(json, "tg"), 98000000);
	assert_int_equal(json_object_array_length(points), 5);
	for (size_t i = 0; i < json_object_array_length(points); i++) {
		struct json_object *pp = json_object_array_get_idx(points, i), *fs = at(pp, "fs");

		for (size_t k = 0; k < 9; k++)
			sum[k] += number(pp, fields[k]);
		assert_in_range(json_object_array_length(fs), 1, 100);
		for (size_t k = 0; k < json_object_array_length(fs); k++)
			assert_in_range(json_object_get_int(json_object_array_get_idx(fs, k)), 0,
			                json_object_array_length(table) - 1);
	}
	assert_int_equal(sum[0],
	                 24 * 1048576 + 1000 * 4096 + 50000 * 48 + 2 * 65536 + 100 * 16 + 8192);
	assert_int_equal(sum[1], 24 + 1000 + 50000 + 2 + 100 + 2);
	assert_int_equal(sum[7], 24 * 1048576 + 990 * 4096 + 48000 + 65536 + 4096);
	assert_int_equal(sum[8], 24 + 990 + 1000 + 1 + 1);
	json_object_put(json);
	profile_free(p);
}

/* Names with everything that JSON, lines and UTF-8 could stumble over. */
static void odd_names(void **state)
{
	static const char name[] =
		"a\"b\\c\n\t\x01;#%\xff\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xed\xa0\x80";
	struct profile *p = synth_new(name);
	uint32_t f = synth_frame(p, 0, synth_module(p, name, 0x500000, 0), 1, name, name, 3);

	synth_site(p, f, PROF_HEAP, 10, 2, 0);
	for (size_t i = 0; formats[i]; i++) {
		struct buf out = { 0 };

		if (!formats[i]->write)
			continue;
		assert_null(format_write(formats[i], p, &(struct format_output){ 0 }, &out));
		buf_release(&out);
	}
	json_object_put(written(p, "speedscope", 0));
	json_object_put(written(p, "dhat", 0));
	profile_free(p);
}

/* Nothing in it: still a file that its readers take. */
static void empty(void **state)
{
	struct profile *p = synth_new("empty");

	json_object_put(written(p, "speedscope", 0));
	json_object_put(written(p, "dhat", 0));
	for (size_t i = 0; formats[i]; i++) {
		struct buf out = { 0 };
		struct profile *q = NULL;

		if (!formats[i]->write || !formats[i]->read || !strcmp(formats[i]->name, "folded"))
			continue;
		assert_null(format_write(formats[i], p, &(struct format_output){ 0 }, &out));
		q = read_bytes(out.data, out.len, formats[i]->name, NULL);
		assert_int_equal(profile_totals(q, -1).inuse.bytes, 0);
		profile_free(q);
		buf_release(&out);
	}
	profile_free(p);
}

static void read_only(void **state)
{
	struct profile *p = synth_new("x");
	struct buf out = { 0 };
	struct seep_error *err =
		format_write(format_by_name("lsan"), p, &(struct format_output){ 0 }, &out);

	assert_non_null(err);
	assert_string_equal(err->message, "seep reads LeakSanitizer report but does not write it");
	seep_error_free(err);
	profile_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(speedscope), cmocka_unit_test(dhat),
		cmocka_unit_test(odd_names),  cmocka_unit_test(empty),
		cmocka_unit_test(read_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
