/* SPDX-License-Identifier: Apache-2.0 */
/* Differences: matching, numbers, noise, reports against golden files. */
#include <math.h>
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
#include "output/diff_report.h"
#include "output/emit.h"
#include "output/units.h"
#include "profile/estimate.h"
#include "synth.h"

static const struct measure inuse = { MEASURE_INUSE, false };

static void ok(struct seep_error *err)
{
	if (err)
		fail_msg("%s", err->message);
}

static struct diff *make(struct profile *const *sides, size_t n)
{
	struct diff *d = NULL;

	for (size_t i = 0; i < n; i++)
		ok(profile_check(sides[i]));
	ok(diff_make((const struct profile *const *)sides, n, &d));
	ok(profile_check(d->joint));
	return d;
}

static struct view *look(const struct diff *d)
{
	struct view *v = NULL;

	ok(view_new(d->joint, &(struct view_options){ 0 }, &v));
	return v;
}

static void set_inuse(struct prof_site *s, uint64_t size, uint64_t allocated, uint64_t freed)
{
	s->alloc = (struct prof_value){ .blocks = allocated, .bytes = allocated * size };
	s->freed = (struct prof_value){ .blocks = freed, .bytes = freed * size };
	s->inuse = (struct prof_value){ .blocks = allocated - freed,
		                        .bytes = (allocated - freed) * size };
	s->samples = allocated;
	s->inuse_samples = allocated - freed;
}

/* The service ten seconds later: the leak grew, the cache shrank, the mapping went, something is new. */
static struct profile *later(void)
{
	struct profile *p = synth_service();
	uint32_t fresh;

	p->duration_ns += 10000000000;
	set_inuse(&p->sites[0], 1048576, 44, 0);
	set_inuse(&p->sites[2], 48, 60000, 59500);
	set_inuse(&p->sites[3], 65536, 2, 2);
	fresh = synth_frame(p, p->sites[0].stack - 1, 0, 0xa00, "handle_new",
	                    "/srv/src/app/server.c", 99);
	synth_site(p, fresh, PROF_HEAP, 1000, 7, 0);
	free(p->source);
	p->source = strdup("later");
	return p;
}

static struct diff_item *find(struct diff_groups *g, const struct view *v, enum group_by by,
                              const char *name)
{
	for (size_t i = 0; i < g->n; i++) {
		struct group as_group = { .id = g->items[i].id, .kind = g->items[i].kind };
		const char *have = group_name(v, by, &as_group);

		if (have && !strcmp(have, name))
			return &g->items[i];
	}
	fail_msg("no %s", name);
	return NULL;
}

/* ---- matching --------------------------------------------------------------- */

static void changes_are_exact(void **state)
{
	_cleanup_profile_ struct profile *a = synth_service(), *b = later();
	_cleanup_diff_ struct diff *d = make((struct profile *[]){ a, b }, 2);
	_cleanup_view_ struct view *v = look(d);
	_cleanup_diff_groups_ struct diff_groups g = { 0 };

	assert_true(d->same_run);
	assert_int_equal(d->elapsed_ns, 10000000000);
	assert_int_equal(d->rebuilt, 0);
	ok(diff_groups_make(d, v, GROUP_SITE, inuse, false, &g));
	assert_int_equal(g.n, 6); /* five of the service and a new one: all matched */
	assert_int_equal(find(&g, v, GROUP_SITE, "handle_leak")->change.value, 20 * 1048576);
	assert_int_equal(find(&g, v, GROUP_SITE, "Session::keep(int)")->change.value, 0);
	assert_int_equal(find(&g, v, GROUP_SITE, "cache_put")->change.value, -500 * 48);
	assert_int_equal(find(&g, v, GROUP_SITE, "handle_new")->change.value, 7000);
	assert_int_equal(g.grown, 20 * 1048576 + 7000);
	assert_int_equal(g.shrunk, 500 * 48 + 65536);
	assert_int_equal(g.change.value, 20 * 1048576 + 7000 - 500 * 48 - 65536);
	assert_int_equal(g.items[0].change.value, 20 * 1048576); /* largest first */
	assert_int_equal(g.items[5].change.value, -65536);
	assert_false(g.items[0].change.noise);
}

static void functions_sum_up_their_callees(void **state)
{
	_cleanup_profile_ struct profile *a = synth_service(), *b = later();
	_cleanup_diff_ struct diff *d = make((struct profile *[]){ a, b }, 2);
	_cleanup_view_ struct view *v = look(d);
	_cleanup_diff_groups_ struct diff_groups g = { 0 };
	struct diff_item *serve;

	ok(diff_groups_make(d, v, GROUP_FUNCTION, inuse, false, &g));
	serve = find(&g, v, GROUP_FUNCTION, "serve");
	assert_int_equal(serve->change.value, 20 * 1048576 + 7000 - 500 * 48);
	assert_int_equal(serve->self_change.value, 0);
	assert_int_equal(find(&g, v, GROUP_FUNCTION, "main")->change.value,
	                 20 * 1048576 + 7000 - 500 * 48 - 65536);
	assert_int_equal(find(&g, v, GROUP_FUNCTION, "handle_leak")->self_change.value,
	                 20 * 1048576);
}

/* Every address is elsewhere after a restart of the same build. */
static void another_run_matches_by_file_address(void **state)
{
	_cleanup_profile_ struct profile *a = synth_service(), *b = synth_service();
	_cleanup_view_ struct view *v = NULL;
	_cleanup_diff_groups_ struct diff_groups g = { 0 };
	struct diff *d;

	for (size_t i = 0; i < b->nmodules; i++)
		b->modules[i].bias += 0x1000000;
	for (size_t i = 1; i < b->nframes; i++)
		b->frames[i].pc += b->frames[i].module == PROF_NO_MODULE ? 0x5000 : 0x1000000;
	/* the names are known on one side only */
	for (size_t i = 1; i < b->nframes; i++)
		b->frames[i].symbol = 0;
	b->pid++;
	b->start_real_ns += 1000000000;
	d = make((struct profile *[]){ a, b }, 2);
	v = look(d);
	assert_false(d->same_run);
	assert_int_equal(d->elapsed_ns, 0);
	ok(diff_groups_make(d, v, GROUP_SITE, inuse, false, &g));
	assert_int_equal(g.n, 5);
	for (size_t i = 0; i < g.n; i++)
		assert_int_equal(g.items[i].change.value, 0);
	diff_free(d);
}

/* A new build: other build-id, addresses, lines, directory; the names stay. */
static void another_build_matches_by_names(void **state)
{
	_cleanup_profile_ struct profile *a = synth_service(), *b = later();
	_cleanup_view_ struct view *v = NULL;
	_cleanup_diff_groups_ struct diff_groups g = { 0 };
	struct diff *d;

	memset(b->modules[0].build_id, 77, 20);
	free(b->modules[0].path);
	b->modules[0].path = strdup("/srv/v2/service");
	for (size_t i = 1; i < b->nframes; i++)
		if (b->frames[i].module == 0)
			b->frames[i].pc += 0x40 + i;
	for (size_t i = 1; i < b->nsymbols; i++) {
		struct prof_line *l = &b->symbols[i].lines[b->symbols[i].nlines - 1];

		if (l->file && strstr(l->file, "/srv/src/")) {
			char moved[256];

			snprintf(moved, sizeof(moved), "/build/2%s", l->file);
			free(l->file);
			l->file = strdup(moved);
			l->line += 100;
		}
	}
	b->pid++;
	b->start_real_ns += 5000000000;
	d = make((struct profile *[]){ a, b }, 2);
	v = look(d);
	assert_int_equal(d->rebuilt, 1);
	ok(diff_groups_make(d, v, GROUP_SITE, inuse, false, &g));
	/* the mapping's frame is code of no module, at an address that means nothing in another run */
	assert_int_equal(g.n, 6);
	assert_int_equal(find(&g, v, GROUP_SITE, "handle_leak")->change.value, 20 * 1048576);
	assert_int_equal(find(&g, v, GROUP_SITE, "Session::keep(int)")->change.value, 0);
	assert_int_equal(find(&g, v, GROUP_SITE, "cache_put")->change.value, -500 * 48);
	diff_free(d);
}

/* Two libraries of one name in two directories, in one process, are two. */
static void same_names_stay_apart(void **state)
{
	struct profile *p[2];
	_cleanup_diff_ struct diff *d = NULL;
	_cleanup_view_ struct view *v = NULL;
	_cleanup_diff_groups_ struct diff_groups g = { 0 };

	for (int i = 0; i < 2; i++) {
		p[i] = synth_new("x");
		for (int k = 0; k < 2; k++) {
			uint32_t m = synth_module(p[i], k ? "/b/plugin.so" : "/a/plugin.so",
			                          0x1000000u * (unsigned int)(k + 1),
			                          (uint8_t)(1 + k));
			uint32_t f = synth_frame(p[i], 0, m, 0x10, "make", "plugin.c", 3);

			synth_site(p[i], f, PROF_HEAP, 100, (uint64_t)(1 + i * (k + 1)), 0);
		}
	}
	d = make(p, 2);
	v = look(d);
	assert_int_equal(d->rebuilt, 0);
	ok(diff_groups_make(d, v, GROUP_SITE, inuse, false, &g));
	assert_int_equal(g.n, 2);
	assert_int_equal(g.items[0].change.value, 200);
	assert_int_equal(g.items[1].change.value, 100);
	profile_free(p[0]);
	profile_free(p[1]);
}

static void normalized_compares_shares(void **state)
{
	_cleanup_profile_ struct profile *a = synth_service(), *b = synth_service();
	_cleanup_diff_ struct diff *d = NULL;
	_cleanup_view_ struct view *v = NULL;
	_cleanup_diff_groups_ struct diff_groups g = { 0 };

	/* all is twice as much: nothing takes a larger share */
	for (size_t i = 0; i < b->nsites; i++) {
		b->sites[i].inuse.bytes *= 2;
		b->sites[i].inuse.blocks *= 2;
	}
	d = make((struct profile *[]){ a, b }, 2);
	v = look(d);
	ok(diff_groups_make(d, v, GROUP_SITE, inuse, true, &g));
	assert_true(fabs(g.scale - 2) < 1e-12);
	for (size_t i = 0; i < g.n; i++)
		assert_int_equal(g.items[i].change.value, 0);
}

static void a_series_counts_its_steps(void **state)
{
	struct profile *p[5];
	_cleanup_diff_ struct diff *d = NULL;
	_cleanup_view_ struct view *v = NULL;
	_cleanup_diff_groups_ struct diff_groups g = { 0 };
	const uint64_t wave[5] = { 50, 60, 40, 80, 70 };
	struct diff_item *item;

	for (uint64_t i = 0; i < 5; i++) {
		p[i] = synth_service();
		p[i]->duration_ns += i * 60000000000;
		set_inuse(&p[i]->sites[0], 1000, 10 + i, 0);
		set_inuse(&p[i]->sites[2], 10, wave[i] + 100, 100);
	}
	d = make(p, 5);
	v = look(d);
	assert_int_equal(d->elapsed_ns, 240000000000);
	ok(diff_groups_make(d, v, GROUP_SITE, inuse, false, &g));
	item = find(&g, v, GROUP_SITE, "handle_leak");
	assert_int_equal(item->grown, 4);
	assert_int_equal(item->change.value, 4000);
	item = find(&g, v, GROUP_SITE, "cache_put");
	assert_int_equal(item->grown, 2);
	assert_int_equal(item->change.value, 200);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(diff_course(&g, item)[i], wave[i] * 10);
	for (size_t i = 0; i < 5; i++)
		profile_free(p[i]);
}

static void values_saturate(void **state)
{
	_cleanup_profile_ struct profile *a = synth_service(), *b = synth_service();
	_cleanup_diff_ struct diff *d = NULL;
	_cleanup_view_ struct view *v = NULL;
	_cleanup_diff_groups_ struct diff_groups g = { 0 };

	b->sites[0].inuse = (struct prof_value){ .blocks = UINT64_MAX, .bytes = UINT64_MAX };
	b->sites[1].inuse = b->sites[0].inuse;
	a->sites[2].inuse = b->sites[0].inuse;
	d = make((struct profile *[]){ a, b }, 2);
	v = look(d);
	ok(diff_groups_make(d, v, GROUP_FUNCTION, inuse, true, &g));
	ok(diff_groups_make(d, v, GROUP_SITE, inuse, false, (diff_groups_release(&g), &g)));
	assert_int_equal(g.items[0].change.value, INT64_MAX);
	assert_int_equal(g.items[g.n - 1].change.value, -INT64_MAX);
}

/* ---- noise -------------------------------------------------------------------- */

static uint64_t random_state;

static double uniform(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (double)(random_state >> 11) / 9007199254740992.0;
}

#define PERIOD 524288

/* n blocks of a size pass the sampler, into a value. */
static void sample(struct prof_value *v, uint64_t *samples, uint64_t size, uint64_t n)
{
	double p = 1 / prof_weight(size, PERIOD), var = prof_weight_variance(size, PERIOD), left = 0;
	uint64_t k = 0;

	/* geometric steps from one recorded block to the next */
	for (;;) {
		left += 1 + floor(log(1 - uniform()) / log1p(-p));
		if (left > (double)n)
			break;
		k++;
	}
	*samples += k;
	v->var_blocks += (double)k * var;
	v->var_bytes += (double)k * var * (double)size * (double)size;
	v->blocks += (uint64_t)((double)k / p + 0.5);
	v->bytes += (uint64_t)((double)k * (double)size / p + 0.5);
	v->max_weight = 1 / p;
}

static struct group_sum sampled_sum(uint64_t stay, uint64_t gone, uint64_t size)
{
	struct group_sum s = { .sites = 1 };
	uint64_t freed = 0;

	sample(&s.value[MEASURE_INUSE], &s.inuse_samples, size, stay);
	sample(&s.value[MEASURE_FREED], &freed, size, gone);
	s.value[MEASURE_ALLOC] = s.value[MEASURE_INUSE];
	prof_value_add(&s.value[MEASURE_ALLOC], &s.value[MEASURE_FREED]);
	s.samples = s.inuse_samples + freed;
	return s;
}

static struct profile *sampled_profile(void)
{
	struct profile *p = synth_service();

	p->sampled = true;
	p->period = PERIOD;
	return p;
}

static void add_sum(struct group_sum *to, const struct group_sum *s)
{
	group_sum_add(to, s);
	to->sites = 1;
}

struct coverage {
	unsigned int covered, noise, runs;
	double width;
};

/* One site on two sides: `stay` blocks live on both, `come` on the second only, `go` on the first only. */
static struct coverage cover(bool same_run, uint64_t stay, uint64_t come, uint64_t go, uint64_t size)
{
	_cleanup_profile_ struct profile *a = sampled_profile(), *b = sampled_profile();
	_cleanup_diff_ struct diff *d = NULL;
	double truth = ((double)come - (double)go) * (double)size;
	struct coverage c = { .runs = 4000 };

	b->pid += !same_run;
	d = make((struct profile *[]){ a, b }, 2);
	random_state = 88172645463325252ull + stay * 31 + come * 7 + go + size;
	for (unsigned int i = 0; i < c.runs; i++) {
		struct group_sum kept = sampled_sum(stay, 0, size), first, last;
		struct group_sum lost = sampled_sum(go, 0, size), fresh = sampled_sum(come, 0, size);
		struct diff_change change;

		first = kept;
		add_sum(&first, &lost);
		last = same_run ? kept : sampled_sum(stay, 0, size);
		add_sum(&last, &fresh);
		if (same_run) { /* what went is freed now, and still counts as allocated */
			prof_value_add(&last.value[MEASURE_ALLOC], &lost.value[MEASURE_ALLOC]);
			prof_value_add(&last.value[MEASURE_FREED], &lost.value[MEASURE_ALLOC]);
			last.samples += lost.samples;
		}
		change = diff_change(d, &first, &last, inuse, 1);
		c.covered += (double)change.low <= truth && truth <= (double)change.high;
		c.noise += change.noise || !change.value;
		c.width += (double)(change.high - change.low) / c.runs;
	}
	return c;
}

/* 95 % or more; more where memory stays and only few records moved. */
static void intervals_cover_the_truth(void **state)
{
	static const struct {
		uint64_t stay, come, go, size;
	} cases[] = {
		{ 0, 100000, 0, 64 },         { 0, 400000, 0, 64 },
		{ 0, 400000, 200000, 64 },    { 200000, 100000, 0, 64 },
		{ 200000, 300000, 0, 64 },    { 800000, 200000, 200000, 64 },
		{ 4000, 1000, 500, 4096 },    { 200, 60, 0, 262144 },
		{ 30, 20, 10, 1048576 },      { 400000, 50000, 50000, 64 },
		{ 0, 40000, 0, 64 },          { 100000, 40000, 0, 64 },
		{ 100000, 30000, 30000, 64 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int same_run = 0; same_run < 2; same_run++) {
			struct coverage c = cover(same_run, cases[i].stay, cases[i].come,
			                          cases[i].go, cases[i].size);

			if (getenv("SEEP_SHOW"))
				print_message(
					"%d stay %6lu come %6lu go %6lu of %7lu: %5.1f %% covered, width %.2f R, "
					"noise %5.1f %%\n",
					same_run, cases[i].stay, cases[i].come, cases[i].go,
					cases[i].size, 100.0 * c.covered / c.runs, c.width / PERIOD,
					100.0 * c.noise / c.runs);
			if (c.covered < 0.93 * c.runs)
				fail_msg("case %zu, same run %d: %u of %u", i, same_run, c.covered,
				         c.runs);
		}
	}
}

/* Nothing happened between two runs of the same load: in 95 % that is what is said. */
static void chance_is_called_noise(void **state)
{
	struct coverage same = cover(false, 200000, 0, 0, 64);

	assert_true(same.noise >= 0.93 * same.runs);
}

/* In one run a small leak shows beside a large cache that stays as it is. */
static void what_stays_does_not_hide_a_leak(void **state)
{
	struct coverage one = cover(true, 16000000, 200000, 0, 64);
	struct coverage two = cover(false, 16000000, 200000, 0, 64);

	assert_true(one.noise <= 0.02 * one.runs); /* 24 R more, beside 1950 R that stay */
	assert_true(two.noise >= 0.8 * two.runs);
	assert_true(one.width < two.width / 4);
}

/* What grew from A to B shrank by as much, and as surely, from B to A. */
static void backwards_is_the_opposite(void **state)
{
	_cleanup_profile_ struct profile *a = sampled_profile(), *b = sampled_profile();
	_cleanup_diff_ struct diff *d = make((struct profile *[]){ a, b }, 2);
	struct group_sum first, last, fresh;

	random_state = 4711;
	first = last = sampled_sum(1000000, 0, 64);
	fresh = sampled_sum(400000, 0, 64);
	add_sum(&last, &fresh);
	for (int blocks = 0; blocks < 2; blocks++) {
		struct measure m = { MEASURE_INUSE, blocks };
		struct diff_change up = diff_change(d, &first, &last, m, 1);
		struct diff_change down = diff_change(d, &last, &first, m, 1);

		assert_true(up.value > 0 && up.low < up.value && up.high > up.value);
		assert_int_equal(down.value, -up.value);
		assert_int_equal(down.low, -up.high);
		assert_int_equal(down.high, -up.low);
	}
}

/* ---- threads ----------------------------------------------------------------------- */

static void threads_are_matched(void **state)
{
	_cleanup_profile_ struct profile *a = synth_service(), *b = later();
	_cleanup_diff_groups_ struct diff_groups g = { 0 };
	struct diff_item *worker;
	uint64_t before = 0;
	struct diff *d;
	struct view *v;
	uint32_t fresh;

	for (size_t i = 0; i < a->ncells; i++)
		before += a->cells[i].thread == 1 ? a->cells[i].inuse.bytes : 0;
	/* thread 1 grew and has another name; its number was given again to a thread that is another one */
	synth_cell(b, 1, 1, 1, 1000);
	free(b->threads[1].name);
	b->threads[1].name = strdup("renamed");
	fresh = synth_thread(b, b->threads[1].tid, "fresh");
	b->threads[fresh].born = 77;
	synth_cell(b, 0, fresh, 3, 300);
	d = make((struct profile *[]){ a, b }, 2);
	v = look(d);
	ok(diff_groups_make(d, v, GROUP_THREAD, inuse, false, &g));
	worker = find(&g, v, GROUP_THREAD, "renamed");
	assert_int_equal(worker->total[0].value[MEASURE_INUSE].bytes, before);
	assert_int_equal(worker->change.value, 1000);
	assert_int_equal(find(&g, v, GROUP_THREAD, "fresh")->change.value, 300);
	assert_int_equal(g.grown, 1300);
	/* the sum is of all sites, also of those whose threads nobody knows */
	assert_int_equal(g.change.value, 20 * 1048576 + 7000 - 500 * 48 - 65536);
	view_free(v);
	diff_free(d);
}

/* Numbers mean nothing in another run; of one name all threads are one. */
static void threads_of_another_run_match_by_name(void **state)
{
	_cleanup_profile_ struct profile *a = synth_new("x"), *b = synth_new("x");
	_cleanup_diff_groups_ struct diff_groups g = { 0 };
	struct profile *sides[] = { a, b };
	struct diff *d;
	struct view *v;

	for (int i = 0; i < 2; i++) {
		uint32_t m = synth_module(sides[i], "/bin/x", 0x1000, 1);
		uint32_t s = synth_site(sides[i], synth_frame(sides[i], 0, m, 1, "f", "f.c", 1),
		                        PROF_HEAP, 100, 10, 0);

		synth_thread(sides[i], 0, "");
		for (int k = 0; k < 2; k++)
			synth_cell(sides[i], s, synth_thread(sides[i], 100 * (i + 1) + k, "worker"),
			           (uint64_t)(i + 1), (uint64_t)(i + 1) * 100);
		synth_cell(sides[i], s, 0, 6, 600);
	}
	b->start_real_ns += 1000000000;
	d = make(sides, 2);
	assert_false(d->same_run);
	v = look(d);
	ok(diff_groups_make(d, v, GROUP_THREAD, inuse, false, &g));
	assert_int_equal(g.n, 2);
	assert_int_equal(find(&g, v, GROUP_THREAD, "worker")->change.value, 200);
	assert_int_equal(find(&g, v, GROUP_THREAD, "")->change.value, 0);
	view_free(v);
	diff_free(d);
}

/* ---- reports --------------------------------------------------------------------- */

struct scene {
	const char *name;
	struct diff_report_options o;
	enum emit_format format;
	unsigned int width;
	size_t nsides; /* 0: two */
	void (*change)(struct profile *a, struct profile *b);
};

static void make_other_run(struct profile *a, struct profile *b)
{
	b->pid = 5001;
	b->start_real_ns += 86400000000000;
	memset(b->modules[0].build_id, 9, 20);
}

static void make_sampled(struct profile *a, struct profile *b)
{
	struct profile *both[] = { a, b };

	for (size_t k = 0; k < 2; k++) {
		both[k]->sampled = true;
		both[k]->period = PERIOD;
		for (size_t i = 0; i < both[k]->nsites; i++) {
			struct prof_site *s = &both[k]->sites[i];
			uint64_t size = s->alloc.blocks ? s->alloc.bytes / s->alloc.blocks : 1;
			double w = prof_weight(size, PERIOD),
			       var = prof_weight_variance(size, PERIOD);

			s->samples = (uint64_t)((double)s->alloc.blocks / w + 0.5);
			s->inuse_samples = (uint64_t)((double)s->inuse.blocks / w + 0.5);
			s->alloc.var_blocks = (double)s->samples * var;
			s->alloc.var_bytes = s->alloc.var_blocks * (double)size * (double)size;
			s->inuse.var_blocks = (double)s->inuse_samples * var;
			s->inuse.var_bytes = s->inuse.var_blocks * (double)size * (double)size;
			s->freed.var_blocks = s->alloc.var_blocks - s->inuse.var_blocks;
			s->freed.var_bytes = s->alloc.var_bytes - s->inuse.var_bytes;
		}
	}
}

static void make_hostile(struct profile *a, struct profile *b)
{
	free(b->command);
	b->command = strdup("\x1b[2Jx\n</script>\xff");
	free(b->symbols[5].lines[0].function);
	b->symbols[5].lines[0].function = strdup("evil\x1b]0;\x07\"\\\n<b>\xe2\x80\xa8");
	free(a->symbols[5].lines[0].function);
	a->symbols[5].lines[0].function = strdup("evil\x1b]0;\x07\"\\\n<b>\xe2\x80\xa8");
}

static void make_same(struct profile *a, struct profile *b)
{
	for (size_t i = 0; i < a->nsites; i++)
		b->sites[i] = a->sites[i];
	b->nsites = a->nsites;
}

/* One thread allocated all that is new; another has ended. */
static void make_threads(struct profile *a, struct profile *b)
{
	for (size_t i = 0; i < b->ncells; i++)
		if (b->cells[i].site == 0)
			b->cells[i].inuse = b->sites[0].inuse;
	for (size_t i = 0; i < b->ncells; i++)
		if (b->cells[i].site == 2)
			b->cells[i].inuse.bytes -= 500 * 48;
	b->threads[b->nthreads - 1].died = b->duration_ns - 1;
}

static void make_threads_of_another_run(struct profile *a, struct profile *b)
{
	make_threads(a, b);
	make_other_run(a, b);
}

static void make_no_threads(struct profile *a, struct profile *b)
{
	a->ncells = b->ncells = 0;
}

static const struct scene scenes[] = {
	{ "sites", { .depth = 12 }, EMIT_TEXT, 100, 0, NULL },
	{ "sites-80", { .depth = 12, .top = 2, .order = DIFF_CHANGE }, EMIT_TEXT, 80, 0, NULL },
	{ "sites-other-run",
	  { .depth = 12, .top = 1, .full_paths = true },
	  EMIT_TEXT,
	  100,
	  0,
	  make_other_run },
	{ "sites-sampled", { .depth = 4 }, EMIT_TEXT, 100, 0, make_sampled },
	{ "sites-noise", { .depth = 1, .noise = true }, EMIT_TEXT, 100, 0, make_sampled },
	{ "sites-normalized", { .depth = 1, .normalize = true }, EMIT_TEXT, 100, 0, NULL },
	{ "sites-same", { .depth = 1 }, EMIT_TEXT, 100, 0, make_same },
	{ "sites-hostile", { .depth = 12 }, EMIT_TEXT, 100, 0, make_hostile },
	{ "sites-series", { .depth = 2 }, EMIT_TEXT, 100, 6, NULL },
	{ "functions", { .by = GROUP_FUNCTION, .min_ratio = 0.001 }, EMIT_TEXT, 100, 0, NULL },
	{ "functions-series", { .by = GROUP_FUNCTION }, EMIT_TEXT, 120, 6, NULL },
	{ "modules-blocks",
	  { .by = GROUP_MODULE, .measure = { MEASURE_ALLOC, true } },
	  EMIT_TEXT,
	  100,
	  0,
	  NULL },
	{ "kinds", { .by = GROUP_KIND }, EMIT_TEXT, 100, 0, NULL },
	{ "threads", { .by = GROUP_THREAD }, EMIT_TEXT, 100, 0, make_threads },
	{ "threads-other-run",
	  { .by = GROUP_THREAD, .measure = { MEASURE_INUSE, true } },
	  EMIT_TEXT,
	  100,
	  0,
	  make_threads_of_another_run },
	{ "threads-unknown", { .by = GROUP_THREAD }, EMIT_TEXT, 100, 0, make_no_threads },
	{ "threads-json", { .by = GROUP_THREAD }, EMIT_JSON, 100, 0, make_threads },
	{ "sites-json", { .top = 2 }, EMIT_JSON, 100, 0, make_sampled },
	{ "functions-json", { .by = GROUP_FUNCTION, .top = 3 }, EMIT_JSON, 100, 6, NULL },
	{ "hostile-json", { .top = 0 }, EMIT_JSON, 100, 0, make_hostile },
};

static char *render(const struct scene *s)
{
	struct profile *p[8] = { NULL };
	size_t n = s->nsides ? s->nsides : 2;
	_cleanup_view_ struct view *v = NULL;
	struct buf out = { 0 };
	struct diff *d;
	struct emit *e = emit_new(&(struct emit_options){ s->format, s->width, false }, &out);

	p[0] = synth_service();
	for (size_t i = 1; i < n; i++) {
		p[i] = later();
		if (n == 2)
			continue;
		p[i]->duration_ns += i * 60000000000;
		set_inuse(&p[i]->sites[0], 1048576, 24 + i * i, 0);
		set_inuse(&p[i]->sites[2], 48, 50000 + i % 2 * 300, 49000);
	}
	if (s->change)
		s->change(p[0], p[1]);
	d = make(p, n);
	v = look(d);
	ok(diff_report_emit(e, d, v, &s->o));
	emit_free(e);
	assert_false(out.failed);
	diff_free(d);
	for (size_t i = 0; i < n; i++)
		profile_free(p[i]);
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

static void text_fits_and_is_clean(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		struct scene s = scenes[i];

		for (s.width = 80; s.width <= 180 && s.format == EMIT_TEXT; s.width += 50) {
			_cleanup_free_ char *text = render(&s);
			char *save = NULL;

			for (char *line = strtok_r(text, "\n", &save); line;
			     line = strtok_r(NULL, "\n", &save)) {
				if (text_columns(line) > s.width)
					fail_msg("%s at %u columns: %s", s.name, s.width, line);
				assert_null(strchr(line, '\033'));
			}
		}
	}
}

static void json_is_valid(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		struct scene s = scenes[i];
		_cleanup_free_ char *text = NULL;
		struct json_object *o, *m;

		s.format = EMIT_JSON;
		text = render(&s);
		o = json_tokener_parse(text);
		if (!o)
			fail_msg("%s is no JSON", s.name);
		assert_true(json_object_object_get_ex(o, "sides", &m));
		assert_int_equal(json_object_array_length(m), s.nsides ? s.nsides : 2);
		json_object_put(o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_are_exact),
		cmocka_unit_test(functions_sum_up_their_callees),
		cmocka_unit_test(another_run_matches_by_file_address),
		cmocka_unit_test(another_build_matches_by_names),
		cmocka_unit_test(same_names_stay_apart),
		cmocka_unit_test(normalized_compares_shares),
		cmocka_unit_test(a_series_counts_its_steps),
		cmocka_unit_test(values_saturate),
		cmocka_unit_test(intervals_cover_the_truth),
		cmocka_unit_test(chance_is_called_noise),
		cmocka_unit_test(what_stays_does_not_hide_a_leak),
		cmocka_unit_test(backwards_is_the_opposite),
		cmocka_unit_test(threads_are_matched),
		cmocka_unit_test(threads_of_another_run_match_by_name),
		cmocka_unit_test(reports_look_as_they_did),
		cmocka_unit_test(text_fits_and_is_clean),
		cmocka_unit_test(json_is_valid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
