/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model of `seep top` with readings made by hand: three sites under main(), one of them a leak that grows by a
 * known amount from reading to reading.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/top.h"
#include "analysis/view.h"
#include "base/error.h"
#include "profile/profile.h"
#include "synth.h"

#define SECOND 1000000000ull

/*
 *   main ─┬─ leak ── (64 bytes each)       thread 1
 *         ├─ cache ── leak ── (100)        thread 2; leak is on two stacks
 *         └─ pool (1000, mmap)             thread 1
 */
struct counts {
	uint64_t leaked, cached, pooled, pool_freed;
	bool late; /* a fourth site, of code that was not there before */
};

static struct profile *reading(uint64_t seconds, const struct counts *n)
{
	struct profile *p = synth_new("./program");
	uint32_t exe = synth_module(p, "/opt/program", 0x1000, 1),
		 lib = synth_module(p, "/usr/lib/libextra.so", 0x100000, 2);
	uint32_t main = synth_frame(p, 0, exe, 0x10, "main", "main.c", 10),
		 leak = synth_frame(p, main, exe, 0x20, "leak", "leak.c", 20),
		 cache = synth_frame(p, main, exe, 0x30, "cache", "cache.c", 30),
		 inner = synth_frame(p, cache, exe, 0x21, "leak", "leak.c", 21),
		 pool = synth_frame(p, main, lib, 0x40, "pool", "pool.c", 40);
	uint32_t first = synth_thread(p, 11, "first"), second = synth_thread(p, 12, "second");
	uint32_t a = synth_site(p, leak, PROF_HEAP, 64, n->leaked, 0),
		 b = synth_site(p, inner, PROF_HEAP, 100, n->cached, 0),
		 c = synth_site(p, pool, PROF_MMAP, 1000, n->pooled, n->pool_freed);

	synth_cell(p, a, first, n->leaked, n->leaked * 64);
	synth_cell(p, b, second, n->cached, n->cached * 100);
	synth_cell(p, c, first, n->pooled - n->pool_freed, (n->pooled - n->pool_freed) * 1000);
	if (n->late) {
		uint32_t late = synth_frame(p, main, exe, 0x50, "late", "late.c", 50);

		synth_site(p, late, PROF_HEAP, 8, 1, 0);
	}
	p->pid = 77;
	p->start_real_ns = 5;
	p->duration_ns = seconds * SECOND;
	p->live = true;
	return p;
}

static struct top *started(const struct top_options *options, struct counts *n)
{
	static const struct top_options none;
	struct view_options view = { 0 };
	struct top *t;

	assert_null(top_new(options ? options : &none, &view, &t));
	assert_null(top_take(t, reading(10, n)));
	return t;
}

static const struct top_row *row(const struct top *t, const struct top_rows *rows, const char *name)
{
	for (size_t i = 0; i < rows->n; i++) {
		const char *have = top_row_name(t, rows->by, &rows->items[i]);

		if (have && !strcmp(have, name))
			return &rows->items[i];
	}
	return NULL;
}

/* The site whose leaf frame's line is that. */
static const struct top_row *site(const struct top *t, const struct top_rows *rows, uint32_t line)
{
	for (size_t i = 0; i < rows->n; i++) {
		uint32_t l = top_row_location(t, GROUP_SITE, &rows->items[i]);

		if (l != UINT32_MAX && t->view->locations[l].line == line)
			return &rows->items[i];
	}
	fail_msg("no site at line %u", line);
	return NULL;
}

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-6 * (1 + fabs(b)))

static void first_reading_is_an_average(void **state)
{
	struct counts n = { .leaked = 100, .cached = 10, .pooled = 5, .pool_freed = 3 };
	struct top *t = started(NULL, &n);
	struct top_rows rows;

	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	assert_true(t->average);
	assert_int_equal(rows.n, 3);
	assert_int_equal(rows.sum.inuse.bytes, 6400 + 1000 + 2000);
	assert_int_equal(site(t, &rows, 20)->inuse.blocks, 100);
	NEAR(site(t, &rows, 20)->growth, 640.0); /* 6400 bytes in 10 s */
	NEAR(site(t, &rows, 40)->rate, 500.0);   /* 5000 allocated in 10 s */
	assert_int_equal(site(t, &rows, 20)->delta, 0);
	top_rows_release(&rows);
	top_free(t);
}

static void growth_is_of_the_interval_then_smoothed(void **state)
{
	struct counts n = { .leaked = 100, .cached = 10, .pooled = 5, .pool_freed = 3 };
	struct top *t = started(NULL, &n);
	struct top_rows rows;
	double keep = exp(-5.0 / 10.0);

	n.leaked += 1000; /* 64,000 bytes in 20 s */
	n.pool_freed = 5;
	assert_null(top_take(t, reading(30, &n)));
	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	assert_false(t->average);
	NEAR(site(t, &rows, 20)->growth, 3200.0);
	NEAR(site(t, &rows, 20)->rate, 3200.0);
	NEAR(site(t, &rows, 21)->growth, 0.0);
	NEAR(site(t, &rows, 40)->growth, -100.0);
	NEAR(site(t, &rows, 40)->rate, 0.0);
	assert_int_equal(site(t, &rows, 20)->delta, 64000);
	assert_int_equal(site(t, &rows, 40)->delta, -2000);
	assert_int_equal(rows.sum.delta, 62000);
	NEAR(rows.sum.growth, 3100.0);
	top_rows_release(&rows);

	/* Nothing for 5 s: what was counts e^(-5/10) of its weight, and now has the rest. */
	assert_null(top_take(t, reading(35, &n)));
	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	{
		double w = 1 - exp(-2.0), sum = 3200.0 * w * keep, weight = w * keep + 1 - keep;

		NEAR(site(t, &rows, 20)->growth, sum / weight);
	}
	assert_int_equal(site(t, &rows, 20)->delta, 0);
	top_rows_release(&rows);
	top_free(t);
}

static void sums_by_code_thread_and_kind(void **state)
{
	struct counts n = { .leaked = 100, .cached = 10, .pooled = 5 };
	struct top *t = started(NULL, &n);
	struct top_rows rows;

	n.leaked = 200, n.cached = 30, n.pooled = 6;
	assert_null(top_take(t, reading(20, &n)));
	assert_null(top_rows_make(t, GROUP_FUNCTION, &rows));
	NEAR(row(t, &rows, "leak")->growth, 640.0 + 200.0); /* on both stacks */
	NEAR(row(t, &rows, "cache")->growth, 200.0);
	NEAR(row(t, &rows, "main")->growth, 640.0 + 200.0 + 100.0);
	assert_int_equal(row(t, &rows, "cache")->self.bytes, 0);
	assert_int_equal(row(t, &rows, "cache")->inuse.bytes, 3000);
	NEAR(rows.sum.growth, 940.0);
	top_rows_release(&rows);

	assert_null(top_rows_make(t, GROUP_MODULE, &rows));
	NEAR(row(t, &rows, "/opt/program")->growth, 940.0);
	NEAR(row(t, &rows, "/usr/lib/libextra.so")->growth, 100.0);
	top_rows_release(&rows);

	assert_null(top_rows_make(t, GROUP_THREAD, &rows));
	NEAR(row(t, &rows, "first")->growth, 740.0);
	NEAR(row(t, &rows, "second")->growth, 200.0);
	assert_int_equal(row(t, &rows, "second")->delta, 2000);
	assert_int_equal(row(t, &rows, "second")->inuse.bytes, 3000);
	top_rows_release(&rows);

	assert_null(top_rows_make(t, GROUP_KIND, &rows));
	NEAR(row(t, &rows, "heap")->growth, 840.0);
	NEAR(row(t, &rows, "mmap")->growth, 100.0);
	top_rows_release(&rows);
	top_free(t);
}

static void base_is_told_until_it_is_cleared(void **state)
{
	struct counts n = { .leaked = 100, .cached = 10, .pooled = 5 };
	struct top *t = started(NULL, &n);
	struct top_rows rows;

	n.leaked = 150;
	assert_null(top_take(t, reading(11, &n)));
	top_base_set(t);
	n.leaked = 170, n.cached = 5;
	assert_null(top_take(t, reading(12, &n)));
	n.leaked = 180, n.late = true;
	assert_null(top_take(t, reading(13, &n)));
	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	assert_int_equal(site(t, &rows, 20)->base, 30 * 64);
	assert_int_equal(site(t, &rows, 20)->base_blocks, 30);
	assert_int_equal(site(t, &rows, 20)->delta, 10 * 64);
	assert_int_equal(site(t, &rows, 21)->base, -500);
	assert_int_equal(rows.sum.base, 30 * 64 - 500 + 8);
	assert_int_equal(t->base_time, 11 * SECOND);
	top_rows_release(&rows);
	assert_null(top_rows_make(t, GROUP_THREAD, &rows));
	assert_int_equal(row(t, &rows, "second")->base, -500);
	top_rows_release(&rows);
	top_base_clear(t);
	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	assert_int_equal(rows.sum.base, 0);
	top_rows_release(&rows);
	top_free(t);
}

static void view_is_made_again_only_for_new_code(void **state)
{
	struct counts n = { .leaked = 100, .cached = 10, .pooled = 5 };
	struct top *t = started(NULL, &n);
	struct top_rows rows;
	uint64_t key;

	assert_int_equal(t->views, 1);
	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	key = site(t, &rows, 21)->key;
	top_rows_release(&rows);
	for (uint64_t s = 11; s < 20; s++) {
		n.leaked++;
		assert_null(top_take(t, reading(s, &n)));
	}
	assert_int_equal(t->views, 1);
	n.late = true;
	assert_null(top_take(t, reading(20, &n)));
	assert_int_equal(t->views, 2);
	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	assert_int_equal(rows.n, 4);
	assert_int_equal(site(t, &rows, 21)->key, key);
	assert_int_equal(rows.sum.inuse.bytes, 109 * 64 + 1000 + 5000 + 8);
	top_rows_release(&rows);
	top_free(t);
}

static void another_program_starts_anew(void **state)
{
	struct counts n = { .leaked = 100, .cached = 10, .pooled = 5 };
	struct top *t = started(NULL, &n);
	struct profile *p;
	struct top_rows rows;

	assert_null(top_take(t, reading(20, &n)));
	n.leaked = 1;
	p = reading(1, &n);
	p->exec_seq = 1;
	assert_null(top_take(t, p));
	assert_int_equal(t->readings, 1);
	assert_true(t->average);
	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	NEAR(site(t, &rows, 20)->growth, 64.0);
	top_rows_release(&rows);
	top_free(t);
}

static void a_filter_keeps_what_matches(void **state)
{
	const char *focus[] = { "cache" }, *bad[] = { "(" };
	struct counts n = { .leaked = 100, .cached = 10, .pooled = 5 };
	struct top *t = started(NULL, &n);
	struct view_options view = { .focus = focus, .nfocus = 1 };
	struct seep_error *err;
	struct top_rows rows;

	assert_null(top_filter(t, &view));
	n.leaked = 200, n.cached = 20;
	assert_null(top_take(t, reading(20, &n)));
	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	assert_int_equal(rows.n, 1);
	NEAR(rows.sum.growth, 100.0);
	top_rows_release(&rows);

	view.focus = bad;
	err = top_filter(t, &view);
	assert_non_null(err);
	seep_error_free(err);
	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	assert_int_equal(rows.n, 1);
	top_rows_release(&rows);

	view.nfocus = 0;
	assert_null(top_filter(t, &view));
	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	assert_int_equal(rows.n, 3);
	NEAR(rows.sum.growth, 740.0); /* what happened while it was filtered out counts too */
	top_rows_release(&rows);
	top_free(t);
}

static void orders(void **state)
{
	struct counts n = { .leaked = 100, .cached = 10, .pooled = 50 };
	struct top *t = started(NULL, &n);
	struct top_rows rows;

	n.leaked = 150, n.cached = 60, n.pooled = 200, n.pool_freed = 190;
	assert_null(top_take(t, reading(20, &n)));
	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	/* in use 9600, 6000, 10000; growth +3200, +5000, -40000; allocated 3200, 5000, 150000 */
	top_rows_sort(t, &rows, TOP_INUSE, false);
	assert_ptr_equal(&rows.items[0], site(t, &rows, 40));
	top_rows_sort(t, &rows, TOP_GROWTH, false);
	assert_ptr_equal(&rows.items[0], site(t, &rows, 21));
	assert_ptr_equal(&rows.items[2], site(t, &rows, 40));
	top_rows_sort(t, &rows, TOP_GROWTH, true);
	assert_ptr_equal(&rows.items[0], site(t, &rows, 40));
	top_rows_sort(t, &rows, TOP_RATE, false);
	assert_ptr_equal(&rows.items[0], site(t, &rows, 40));
	top_rows_sort(t, &rows, TOP_BLOCKS, false);
	assert_ptr_equal(&rows.items[0], site(t, &rows, 20));
	top_rows_release(&rows);
	top_free(t);
}

static void sites_within_a_row(void **state)
{
	struct counts n = { .leaked = 100, .cached = 10, .pooled = 5 };
	struct top *t = started(NULL, &n);
	struct top_rows rows, in;

	assert_null(top_rows_make(t, GROUP_FUNCTION, &rows));
	assert_null(top_rows_within(t, GROUP_FUNCTION, row(t, &rows, "leak"), &in));
	assert_int_equal(in.n, 2);
	top_rows_release(&in);
	assert_null(top_rows_within(t, GROUP_FUNCTION, row(t, &rows, "pool"), &in));
	assert_int_equal(in.n, 1);
	assert_int_equal(in.items[0].inuse.bytes, 5000);
	top_rows_release(&in);
	top_rows_release(&rows);

	assert_null(top_rows_make(t, GROUP_THREAD, &rows));
	assert_null(top_rows_within(t, GROUP_THREAD, row(t, &rows, "second"), &in));
	assert_int_equal(in.n, 1);
	assert_int_equal(in.items[0].inuse.bytes, 1000);
	top_rows_release(&in);
	top_rows_release(&rows);
	top_free(t);
}

/*
 * A ledger may be anybody's file, and say something else at every reading: fewer sites, other stacks, other threads.
 * Nothing of that may matter but for the numbers.
 */
static void readings_that_contradict_each_other(void **state)
{
	struct counts n = { .leaked = 100, .cached = 10, .pooled = 5 };
	struct top *t = started(NULL, &n);

	srand(7);
	for (unsigned int i = 0; i < 3000; i++) {
		struct profile *p;
		struct top_rows rows, in;

		n.leaked = (uint64_t)rand() % 200;
		n.late = rand() % 2;
		p = reading(10 + i % 7, &n);
		for (size_t k = 1; k < p->nframes; k++)
			if (rand() % 8 == 0)
				p->frames[k].parent = (uint32_t)((size_t)rand() % k);
		if (rand() % 4 == 0)
			p->frames[1 + (size_t)rand() % (p->nframes - 1)].pc ^= 4;
		for (size_t k = 0; k < p->nsites; k++)
			if (rand() % 8 == 0)
				p->sites[k].stack = (uint32_t)((size_t)rand() % p->nframes);
		if (rand() % 4 == 0)
			p->nsites = (size_t)rand() % (p->nsites + 1);
		if (rand() % 4 == 0) {
			p->nthreads--;
			free(p->threads[p->nthreads].name);
		}
		for (size_t k = 0; k < p->ncells;) {
			if (p->cells[k].site < p->nsites && p->cells[k].thread < p->nthreads)
				k++;
			else
				p->cells[k] = p->cells[--p->ncells];
		}
		assert_null(profile_check(p));
		assert_null(top_take(t, p));
		assert_null(profile_check(t->profile));
		if (rand() % 5 == 0)
			top_base_set(t);
		for (unsigned int by = GROUP_SITE; by <= GROUP_KIND; by++) {
			assert_null(top_rows_make(t, (enum group_by)by, &rows));
			top_rows_sort(t, &rows, (enum top_order)(i % TOP_NORDERS), i % 2);
			if (rows.n) {
				assert_null(
					top_rows_within(t, (enum group_by)by, &rows.items[0], &in));
				top_rows_release(&in);
			}
			top_rows_release(&rows);
		}
	}
	top_free(t);
}

/* ---- blocks -------------------------------------------------------------------------- */

static void add_block(struct profile *p, uint32_t site, uint64_t address, uint64_t size,
                      uint64_t born, double weight)
{
	p->blocks = reallocarray(p->blocks, p->nblocks + 1, sizeof(*p->blocks));
	assert_non_null(p->blocks);
	p->blocks[p->nblocks++] = (struct prof_block){ .address = address,
		                                       .size = size,
		                                       .born = born,
		                                       .weight = weight,
		                                       .site = site,
		                                       .thread = 1 };
}

static void chosen_blocks_make_the_sums(void **state)
{
	struct counts n = { .leaked = 3, .cached = 2 };
	const struct top_options options = { .min_age = 5 * SECOND, .min_size = 60, .max_size = 100 };
	struct view_options view = { 0 };
	struct profile *p = reading(10, &n);
	uint32_t a = UINT32_MAX, b = UINT32_MAX, *blocks;
	struct top_rows rows;
	struct top *t;
	size_t count;

	for (uint32_t i = 0; i < p->nsites; i++) {
		if (p->sites[i].inuse.blocks == 3)
			a = i;
		if (p->sites[i].inuse.blocks == 2)
			b = i;
	}
	add_block(p, a, 0x1000, 64, 6 * SECOND, 1);  /* too young */
	add_block(p, a, 0x2000, 64, 5 * SECOND, 1);  /* just old enough */
	add_block(p, a, 0x3000, 64, 1 * SECOND, 10); /* a sample of ten */
	add_block(p, b, 0x4000, 101, 0, 1);          /* too large */
	add_block(p, b, 0x5000, 59, 0, 1);           /* too small */
	assert_null(top_new(&options, &view, &t));
	assert_null(top_take(t, p));
	assert_null(top_rows_make(t, GROUP_SITE, &rows));
	assert_int_equal(rows.n, 1);
	assert_int_equal(rows.items[0].inuse.blocks, 11);
	assert_int_equal(rows.items[0].inuse.bytes, 11 * 64);
	assert_int_equal(rows.items[0].samples, 2);
	assert_int_equal(rows.items[0].oldest, SECOND);
	assert_true(rows.items[0].inuse.var_blocks == 90);
	assert_int_equal(top_row_age(t, &rows.items[0]), 9 * SECOND);
	assert_null(top_row_blocks(t, &rows.items[0], &blocks, &count));
	assert_int_equal(count, 2);
	assert_int_equal(t->profile->blocks[blocks[0]].address, 0x3000); /* oldest first */
	assert_int_equal(t->profile->blocks[blocks[1]].address, 0x2000);
	free(blocks);
	top_rows_release(&rows);
	assert_null(top_rows_make(t, GROUP_THREAD, &rows));
	assert_int_equal(rows.n, 1);
	assert_int_equal(rows.items[0].inuse.blocks, 11);
	top_rows_release(&rows);
	top_free(t);
}

/* ---- over time --------------------------------------------------------------------------- */

static void columns_of_history(void **state)
{
	struct top_history h = { 0 };
	uint64_t in[4], rss[4];

	assert_int_equal(top_history_add(&h, 100, 5, TOP_UNKNOWN), 0);
	assert_int_equal(top_history_add(&h, 120, 9, 50), 0);
	assert_int_equal(top_history_add(&h, 130, 7, 60), 0);
	assert_int_equal(top_history_add(&h, 200, 8, 70), 0);
	top_history_columns(&h, false, 100, 200, in, 4);
	top_history_columns(&h, true, 100, 200, rss, 4);
	assert_int_equal(in[0], 9); /* the largest of 100..125 */
	assert_int_equal(in[1], 7); /* 125..150 */
	assert_int_equal(in[2], 7); /* nothing was noted: it holds */
	assert_int_equal(in[3], 8); /* the end belongs to it */
	assert_int_equal(rss[0], 50);
	assert_int_equal(rss[2], 60);
	top_history_columns(&h, false, 0, 50, in, 4);
	assert_true(in[0] == TOP_UNKNOWN && in[3] == TOP_UNKNOWN);
	top_history_columns(&h, false, 150, 190, in, 4);
	assert_int_equal(in[0], 7); /* from before */
	top_history_release(&h);
}

static void history_thins_out(void **state)
{
	struct top_history h = { 0 };
	uint64_t column;

	for (uint64_t i = 0; i < 100000; i++)
		assert_int_equal(top_history_add(&h, i, i, i), 0);
	assert_true(h.n <= 8192);
	assert_int_equal(h.points[0].time, 0);
	assert_int_equal(h.points[h.n - 1].time, 99999);
	assert_int_equal(h.points[h.n - 2].time, 99998); /* the last ones are all there */
	for (size_t i = 1; i < h.n; i++)
		assert_true(h.points[i].time > h.points[i - 1].time);
	top_history_columns(&h, false, 0, 99999, &column, 1);
	assert_int_equal(column, 99999);
	top_history_release(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_reading_is_an_average),
		cmocka_unit_test(growth_is_of_the_interval_then_smoothed),
		cmocka_unit_test(sums_by_code_thread_and_kind),
		cmocka_unit_test(base_is_told_until_it_is_cleared),
		cmocka_unit_test(view_is_made_again_only_for_new_code),
		cmocka_unit_test(another_program_starts_anew),
		cmocka_unit_test(a_filter_keeps_what_matches),
		cmocka_unit_test(orders),
		cmocka_unit_test(sites_within_a_row),
		cmocka_unit_test(readings_that_contradict_each_other),
		cmocka_unit_test(chosen_blocks_make_the_sums),
		cmocka_unit_test(columns_of_history),
		cmocka_unit_test(history_thins_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
