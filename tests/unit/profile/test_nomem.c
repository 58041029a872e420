/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Out of memory: fails the Nth allocation, for every N until the work succeeds.
 * Nothing may crash, nothing may leak, and the answer is an error or the whole
 * result, never half of one.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/group.h"
#include "analysis/tree.h"
#include "analysis/view.h"
#include "base/buf.h"
#include "base/error.h"
#include "output/emit.h"
#include "output/report.h"
#include "synth.h"

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static long countdown = -1; /* allocations until one fails; negative: none does */
static long live;           /* blocks, while counting */
static bool counting;

static bool fails(void)
{
	return countdown >= 0 && countdown-- == 0;
}

void *malloc(size_t n)
{
	void *p = fails() ? NULL : __libc_malloc(n);

	live += counting && p;
	return p;
}

void *calloc(size_t n, size_t size)
{
	void *p = fails() ? NULL : __libc_calloc(n, size);

	live += counting && p;
	return p;
}

void *realloc(void *old, size_t n)
{
	bool failed = fails();
	void *p = failed ? NULL : __libc_realloc(old, n);

	live += counting && p && !old;
	live -= counting && !p && old && !failed; /* realloc(old, 0) frees */
	return p;
}

void *reallocarray(void *old, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(old, total);
}

void free(void *p)
{
	live -= counting && p;
	__libc_free(p);
}

static bool merge(struct profile *p)
{
	struct profile *in[] = { p, p }, *out = NULL;
	struct seep_error *err = profile_merge(in, 2, &out);
	bool done = !err;

	assert_true(!err == !!out);
	seep_error_free(err);
	profile_free(out);
	return done;
}

static bool report(struct profile *p)
{
	struct view_options vo = {
		0
	}; /* no regex: glibc's regcomp() itself leaks when it runs out of memory */
	struct emit_options eo = { EMIT_TEXT, 100, false };
	struct report_options ro = { 0 };
	struct view *v = NULL;
	struct buf out = { 0 };
	struct emit *e = emit_new(&eo, &out);
	struct seep_error *err = e ? view_new(p, &vo, &v) : &seep_error_nomem;
	bool done;

	if (!err)
		err = report_emit(e, v, &ro);
	done = !err && !out.failed;
	seep_error_free(err);
	emit_free(e);
	view_free(v);
	buf_release(&out);
	return done;
}

static bool tree(struct profile *p)
{
	struct view_options vo = { 0 };
	struct tree t = { 0 };
	struct view *v = NULL;
	struct seep_error *err = view_new(p, &vo, &v);
	bool done;

	if (!err)
		err = tree_make(v, TREE_LEAF_FIRST, (struct measure){ 0 }, (struct tree_cut){ 0 },
		                &t);
	done = !err;
	seep_error_free(err);
	tree_release(&t);
	view_free(v);
	return done;
}

static void run(bool (*work)(struct profile *), long least)
{
	struct profile *p = synth_service();
	long n = 0;

	for (;; n++) {
		bool done;
		long left;

		live = 0;
		counting = true;
		countdown = n;
		done = work(p);
		left = countdown; /* still to go: this many allocations were not asked for */
		countdown = -1;
		counting = false;
		if (live)
			fail_msg("%ld blocks leaked after failing allocation %ld", live, n);
		if (left >= 0) {
			assert_true(done);
			break;
		}
		assert_true(n < 100000);
	}
	assert_true(n > least);
	profile_free(p);
}

static void merge_survives(void **state)
{
	run(merge, 40);
}

static void report_survives(void **state)
{
	run(report, 100);
}

static void tree_survives(void **state)
{
	run(tree, 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merge_survives),
		cmocka_unit_test(report_survives),
		cmocka_unit_test(tree_survives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
