/* SPDX-License-Identifier: Apache-2.0 */
/* Results of leak checks as text, JSON, JUnit XML and SARIF: golden files, and what the formats demand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "analysis/check.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/check_report.h"
#include "output/emit.h"
#include "output/units.h"
#include "profile/profile.h"
#include "synth.h"

#define ALL ((1u << REACH_NCLASSES) - 1)
#define LOST (1u << REACH_DEFINITE | 1u << REACH_POSSIBLE)

static const char *const notes[] = { "2 mappings were not dumped in the core.", NULL };
static char hostile[] = "ev\033[1mil\"<&]]>\x01\xff\n'name'";

struct made {
	struct check c;
	struct leak_record records[5];
	struct suppressions *rules;
	struct profile *profile;
};

static void make(struct made *m, bool ledger)
{
	static const char rules[] = "leak:cache_put\nleak:never_there\nrace:other\n";
	struct leak_record *r = m->records;
	struct suppress_rule *rule;
	size_t n;

	*m = (struct made){ .rules = suppressions_new(),
		            .profile = ledger ? synth_service() : NULL };
	assert_null(suppressions_add_text(m->rules, rules, sizeof(rules) - 1, "app.supp"));
	rule = (struct suppress_rule *)suppressions_rules(m->rules, &n)[0];
	rule->matches = 1;
	rule->blocks = 3;
	rule->bytes = 192;
	r[0] = (struct leak_record){ .class = REACH_DEFINITE,
		                     .blocks = 1,
		                     .bytes = 1 << 20,
		                     .indirect_blocks = 400,
		                     .indirect_bytes = 3355443,
		                     .cycles = 1,
		                     .min_size = 1 << 20,
		                     .max_size = 1 << 20,
		                     .addresses = { 0x7f0000001000 },
		                     .naddresses = 1,
		                     .fingerprint = "00000000000000a1",
		                     .persisted = 3 };
	r[1] = (struct leak_record){ .class = REACH_DEFINITE,
		                     .blocks = 12,
		                     .bytes = 4800,
		                     .cycles = 2,
		                     .min_size = 16,
		                     .max_size = 1024,
		                     .content = CONTENT_TEXT,
		                     .what = hostile,
		                     .before = ledger,
		                     .addresses = { 0x1000, 0x2000 },
		                     .naddresses = 2,
		                     .fingerprint = "00000000000000a2" };
	r[2] = (struct leak_record){ .class = REACH_POSSIBLE,
		                     .blocks = 2,
		                     .bytes = 640,
		                     .min_size = 320,
		                     .max_size = 320,
		                     .content = CONTENT_VTABLE,
		                     .what = (char *)"app::Item",
		                     .known = true,
		                     .addresses = { 0x3000 },
		                     .naddresses = 1,
		                     .fingerprint = "00000000000000a3" };
	r[3] = (struct leak_record){ .class = REACH_SUPPRESSED,
		                     .blocks = 3,
		                     .bytes = 192,
		                     .min_size = 64,
		                     .max_size = 64,
		                     .rule = "cache_put",
		                     .addresses = { 0x4000 },
		                     .naddresses = 1,
		                     .fingerprint = "00000000000000a4" };
	r[4] = (struct leak_record){ .class = REACH_REACHABLE,
		                     .blocks = 1,
		                     .bytes = 64,
		                     .min_size = 64,
		                     .max_size = 64,
		                     .content = CONTENT_ZERO,
		                     .addresses = { 0x5000 },
		                     .naddresses = 1,
		                     .fingerprint = "00000000000000a5" };
	if (ledger) {
		r[0].site = 1;
		r[2].site = 2;
		r[3].site = 3;
	}
	m->c = (struct check){
		.moment = ledger ? CHECK_END : CHECK_CORE,
		.pid = 4242,
		.exe = (char *)"/srv/bin/service",
		.command = (char *)"./service --port 8080",
		.allocator = (char *)"glibc",
		.layout = (char *)"glibc 2.36",
		.total = { [REACH_REACHABLE] = { 1, 64 },
		           [REACH_POSSIBLE] = { 2, 640 },
		           [REACH_INDIRECT] = { 400, 3355443 },
		           [REACH_DEFINITE] = { 13, (1 << 20) + 4800 },
		           [REACH_SUPPRESSED] = { 3, 192 } },
		.by_heuristic = { { 1, 64 } },
		.known = { 2, 640 },
		.inuse = { 419, 4409715 },
		.leaks = { m->records, 5 },
		.coverage = { .blocks = 421,
		              .bytes = 4410000,
		              .recorded_blocks = ledger ? 400 : 0,
		              .internal_blocks = 2,
		              .internal_bytes = 285,
		              .threads = 3,
		              .root_bytes = 123456,
		              .scanned_bytes = 4409715,
		              .stopped_ns = 12000000,
		              .resident_bytes = 8 << 20,
		              .checker_bytes = 3 << 20,
		              .ledger = ledger,
		              .notes = ledger ? NULL : notes },
		.profile = m->profile,
		.suppressions = m->rules,
	};
	if (ledger) {
		m->c.alloc_blocks = 51126;
		m->c.free_blocks = 50707;
		m->c.alloc_bytes = 31794496;
	} else {
		m->c.coverage.missed_threads = 1;
		m->c.coverage.unreadable_bytes = 4096;
	}
}

static void unmake(struct made *m)
{
	suppressions_free(m->rules);
	profile_free(m->profile);
}

static void make_clean(struct made *m)
{
	make(m, true);
	m->c.leaks.n = 0;
	memset(m->c.total, 0, sizeof(m->c.total));
	memset(&m->c.known, 0, sizeof(m->c.known));
	memset(m->c.by_heuristic, 0, sizeof(m->c.by_heuristic));
}

static char *render(const struct check *c, const struct check_report_options *o,
                    enum emit_format format, unsigned int width)
{
	struct buf b = { 0 };
	struct emit *e = emit_new(&(struct emit_options){ format, width, false }, &b);

	assert_null(check_report_emit(e, c, o));
	emit_free(e);
	assert_false(b.failed);
	return buf_steal(&b);
}

static char *junit(const struct check *const *checks, size_t n, const struct check_report_options *o)
{
	struct buf b = { 0 };

	assert_null(check_junit(&b, checks, n, o));
	return buf_steal(&b);
}

static char *sarif(const struct check *const *checks, size_t n, const struct check_report_options *o)
{
	struct buf b = { 0 };

	assert_null(check_sarif(&b, checks, n, o));
	return buf_steal(&b);
}

/* With SEEP_GOLDEN_WRITE=1 in the environment the files are written anew: look at the difference before committing. */
static void assert_golden(const char *name, const char *have)
{
	_cleanup_buf_ struct buf want = { 0 };
	char path[1024], chunk[4096];
	size_t n;
	FILE *f;

	assert_non_null(getenv("SEEP_CHECK_GOLDEN_DIR"));
	snprintf(path, sizeof(path), "%s/%s", getenv("SEEP_CHECK_GOLDEN_DIR"), name);
	if (getenv("SEEP_GOLDEN_WRITE")) {
		f = fopen(path, "we");
		assert_non_null(f);
		fputs(have, f);
		fclose(f);
	}
	f = fopen(path, "re");
	assert_non_null(f);
	while ((n = fread(chunk, 1, sizeof(chunk), f)))
		buf_add(&want, chunk, n);
	fclose(f);
	if (strcmp(want.data, have)) {
		print_error("%s differs; it is now:\n%s", path, have);
		fail();
	}
}

static const struct check_report_options full = {
	.show_kinds = ALL, .fail_on = LOST, .depth = 12, .rules = true, .cwd = "/srv/src"
};
static const struct check_report_options summary = { .show_kinds = LOST, .summary_only = true };

static void results_look_as_they_did(void **state)
{
	struct made with, without, clean;
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL, *d = NULL, *e = NULL, *f = NULL,
			    *g = NULL;

	make(&with, true);
	make(&without, false);
	make_clean(&clean);
	{
		const struct check *const all[] = { &with.c, &without.c, &clean.c };

		a = render(&with.c, &full, EMIT_TEXT, 80);
		b = render(&without.c, &full, EMIT_TEXT, 100);
		c = render(&with.c, &summary, EMIT_TEXT, 80);
		d = render(&clean.c, &full, EMIT_TEXT, 80);
		e = render(&with.c, &full, EMIT_JSON, 80);
		f = junit(all, 3, &full);
		g = sarif(all, 3, &full);
	}
	assert_golden("check-80.txt", a);
	assert_golden("check-no-ledger.txt", b);
	assert_golden("check-summary.txt", c);
	assert_golden("check-clean.txt", d);
	assert_golden("check.json", e);
	assert_golden("check-junit.xml", f);
	assert_golden("check.sarif", g);
	unmake(&with);
	unmake(&without);
	unmake(&clean);
}

/* Lines keep to the terminal, and nothing is cut to make them. */
static void text_fits_and_is_not_cut(void **state)
{
	struct made m;

	make(&m, true);
	for (unsigned int width = 80; width <= 160; width += 40) {
		_cleanup_free_ char *text = render(&m.c, &full, EMIT_TEXT, width);
		char *save = NULL;

		assert_non_null(
			strstr(text, "std::vector<int, std::allocator<int> >::push_back(int&&)"));
		for (char *p = text; *p; p++)
			assert_true((unsigned char)*p >= 0x20 || *p == '\n');
		for (char *line = strtok_r(text, "\n", &save); line;
		     line = strtok_r(NULL, "\n", &save))
			if (text_columns(line) > width)
				fail_msg("%u columns: %s", width, line);
	}
	unmake(&m);
}

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (!json_object_object_get_ex(o, key, &v))
		fail_msg("no member %s", key);
	return v;
}

static void json_has_the_numbers(void **state)
{
	struct made m;
	_cleanup_free_ char *text = NULL;
	struct json_object *top, *record;

	make(&m, true);
	text = render(&m.c, &full, EMIT_JSON, 80);
	top = json_tokener_parse(text);
	assert_non_null(top);
	assert_int_equal(json_object_get_int64(
				 member(member(member(top, "classes"), "definite"), "bytes")),
	                 (1 << 20) + 4800);
	assert_int_equal(json_object_array_length(member(top, "records")), 5);
	record = json_object_array_get_idx(member(top, "records"), 0);
	assert_int_equal(json_object_get_int64(member(member(record, "indirect"), "bytes")),
	                 3355443);
	assert_true(json_object_array_length(member(record, "stack")) > 0);
	record = json_object_array_get_idx(member(top, "records"), 1);
	assert_int_equal(json_object_array_length(member(record, "stack")), 0);
	assert_true(json_object_get_boolean(member(record, "before_tracking")));
	json_object_put(top);
	unmake(&m);
}

/* What SARIF 2.1.0 requires of each object that is written. */
static void sarif_has_what_it_must(void **state)
{
	struct made m;
	struct json_object *top, *run, *results, *rules;
	_cleanup_free_ char *text = NULL;

	make(&m, true);
	text = sarif((const struct check *const[]){ &m.c }, 1, &full);
	top = json_tokener_parse(text);
	assert_non_null(top);
	assert_string_equal(json_object_get_string(member(top, "version")), "2.1.0");
	run = json_object_array_get_idx(member(top, "runs"), 0);
	assert_string_equal(json_object_get_string(
				    member(member(member(run, "tool"), "driver"), "name")),
	                    "seep");
	rules = member(member(member(run, "tool"), "driver"), "rules");
	results = member(run, "results");
	assert_int_equal(json_object_array_length(results), 5);
	for (size_t i = 0; i < 5; i++) {
		struct json_object *r = json_object_array_get_idx(results, i);
		struct json_object *rule = json_object_array_get_idx(
			rules, (size_t)json_object_get_int(member(r, "ruleIndex")));

		member(member(r, "message"), "text");
		assert_string_equal(json_object_get_string(member(rule, "id")),
		                    json_object_get_string(member(r, "ruleId")));
		member(member(r, "partialFingerprints"), "seep/v1");
		member(r, "locations");
	}
	assert_string_equal(json_object_get_string(
				    member(json_object_array_get_idx(results, 0), "level")),
	                    "error");
	assert_string_equal(json_object_get_string(
				    member(json_object_array_get_idx(results, 2), "baselineState")),
	                    "unchanged");
	member(json_object_array_get_idx(
		       member(json_object_array_get_idx(results, 3), "suppressions"), 0),
	       "kind");
	json_object_put(top);
	unmake(&m);
}

static void failures_leave_out_the_baseline(void **state)
{
	struct made m;
	struct check_failures f;

	make(&m, false);
	f = check_failures(&m.c, LOST);
	assert_int_equal(f.records, 2);
	assert_int_equal(f.blocks, 13);
	assert_int_equal(f.bytes, (1 << 20) + 4800);
	f = check_failures(&m.c, 0);
	assert_int_equal(f.records, 0);
	unmake(&m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_look_as_they_did),
		cmocka_unit_test(text_fits_and_is_not_cut),
		cmocka_unit_test(json_has_the_numbers),
		cmocka_unit_test(sarif_has_what_it_must),
		cmocka_unit_test(failures_leave_out_the_baseline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
