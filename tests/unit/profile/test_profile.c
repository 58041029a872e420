/* SPDX-License-Identifier: Apache-2.0 */
/* The model: totals, the integrity check on damaged profiles, merging. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "synth.h"

static void assert_sound(const struct profile *p)
{
	struct seep_error *err = profile_check(p);

	if (err)
		fail_msg("%s", err->message);
}

static void new_profile_is_sound(void **state)
{
	_cleanup_profile_ struct profile *p = profile_new();

	assert_non_null(p);
	assert_sound(p);
	assert_int_equal(p->nframes, 1);
	assert_int_equal(p->nsymbols, 1);
	assert_null(p->symbols[0].lines[0].function);
	profile_free(NULL);
}

static void totals_add_up(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	struct prof_totals all = profile_totals(p, -1), heap = profile_totals(p, PROF_HEAP);
	struct prof_totals map = profile_totals(p, PROF_MMAP), stack = profile_totals(p, PROF_STACK);

	assert_sound(p);
	assert_int_equal(all.inuse.bytes, 24 * 1048576 + 990 * 4096 + 1000 * 48 + 65536);
	assert_int_equal(all.alloc.blocks, 24 + 1000 + 50000 + 2 + 100);
	assert_int_equal(map.inuse.bytes, 65536);
	assert_int_equal(heap.inuse.bytes + map.inuse.bytes, all.inuse.bytes);
	assert_int_equal(stack.alloc.blocks, 0);
	synth_site(p, 1, PROF_STACK, 8 << 20, 3, 1);
	assert_int_equal(profile_totals_of(p, PROF_MEMORY).inuse.bytes, all.inuse.bytes);
	assert_int_equal(profile_totals_of(p, PROF_ALL_KINDS).inuse.bytes,
	                 all.inuse.bytes + (16 << 20));
	assert_int_equal(profile_totals(p, -1).inuse.bytes, all.inuse.bytes + (16 << 20));
}

static void stacks_of_ended_threads_are_told_apart(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("x");
	struct prof_stacks s = profile_stacks(p);
	uint32_t first, a, b;

	assert_int_equal(s.created + s.live + s.reserved + s.unjoined, 0);
	first = synth_thread(p, 1, "first");
	a = synth_thread(p, 2, "a");
	b = synth_thread(p, 3, "b");
	synth_site(p, 0, PROF_STACK, 8 << 20, 5, 3);
	s = profile_stacks(p);
	assert_int_equal(s.created, 5);
	assert_int_equal(s.live, 2);
	assert_int_equal(s.reserved, 16 << 20);
	assert_int_equal(s.unjoined, 0);
	p->threads[a].died = 5;
	assert_int_equal(profile_stacks(p).unjoined, 1);
	p->threads[b].died = 5;
	assert_int_equal(profile_stacks(p).unjoined, 2);
	p->forked = true; /* then nobody knows whose the stacks are */
	assert_int_equal(profile_stacks(p).unjoined, 0);
	assert_int_equal(first, 1);
}

static void sums_saturate(void **state)
{
	struct prof_value a = { UINT64_MAX - 1, 5, 1, 2, 8 }, b = { 7, 6, 3, 4, 9 };

	prof_value_add(&a, &b);
	assert_true(a.blocks == UINT64_MAX);
	assert_int_equal(a.bytes, 11);
	assert_true(a.var_blocks == 4 && a.var_bytes == 6);
	assert_true(a.max_weight == 9); /* the largest of a sum is the larger of both */
}

/* ---- check -------------------------------------------------------------------- */

static void break_parent(struct profile *p)
{
	p->frames[3].parent = 3;
}
static void break_parent_late(struct profile *p)
{
	p->frames[2].parent = 9;
}
static void break_root(struct profile *p)
{
	p->frames[0].parent = 1;
}
static void break_frame_module(struct profile *p)
{
	p->frames[2].module = 3;
}
static void break_frame_symbol(struct profile *p)
{
	p->frames[2].symbol = (uint32_t)p->nsymbols;
}
static void break_site_stack(struct profile *p)
{
	p->sites[1].stack = (uint32_t)p->nframes;
}
static void break_site_kind(struct profile *p)
{
	p->sites[1].kind = PROF_NKINDS;
}
static void break_variance(struct profile *p)
{
	p->sites[1].inuse.var_bytes = NAN;
}
static void break_weight(struct profile *p)
{
	p->sites[1].freed.max_weight = (double)NAN;
}
static void break_weight_sign(struct profile *p)
{
	p->cells[1].inuse.max_weight = -1;
}
static void break_variance_sign(struct profile *p)
{
	p->sites[1].alloc.var_blocks = -1;
}
static void break_variance_size(struct profile *p)
{
	p->sites[1].peak.var_blocks = INFINITY;
}
static void break_cell_site(struct profile *p)
{
	p->cells[0].site = (uint32_t)p->nsites;
}
static void break_cell_thread(struct profile *p)
{
	p->cells[0].thread = (uint32_t)p->nthreads;
}
static void break_point_order(struct profile *p)
{
	p->points[3].time = 0;
}
static void break_rss_order(struct profile *p)
{
	assert_true(profile_add_rss(p, 5, 1));
	assert_true(profile_add_rss(p, 6, 1));
	p->rss[0].time = 7;
}
static void break_event_order(struct profile *p)
{
	assert_true(profile_add_event(p, 5, PROF_EVENT_FORK, "x"));
	assert_true(profile_add_event(p, 6, PROF_EVENT_FORK, NULL));
	p->events[0].time = 7;
}
static void break_event_kind(struct profile *p)
{
	assert_true(profile_add_event(p, 5, PROF_EVENT_NKINDS, NULL));
}
static void break_build_id(struct profile *p)
{
	p->modules[0].build_id_len = 21;
}
static void break_count(struct profile *p)
{
	p->nblocks = 3;
}
static void break_frames(struct profile *p)
{
	p->nframes = 0;
}

static void break_block_thread(struct profile *p)
{
	p->blocks = calloc(1, sizeof(*p->blocks));
	p->nblocks = 1;
	p->blocks[0].thread = 77;
}

static void break_block_weight(struct profile *p)
{
	p->blocks = calloc(1, sizeof(*p->blocks));
	p->nblocks = 1;
	p->blocks[0].weight = -1;
}

static void break_symbol(struct profile *p)
{
	free(p->symbols[0].lines);
	p->symbols[0].lines = NULL;
}

static void break_path(struct profile *p)
{
	free(p->modules[0].path);
	p->modules[0].path = NULL;
}

static void damage_is_found(void **state)
{
	static void (*const damages[])(struct profile *) = {
		break_parent,       break_parent_late,  break_root,          break_frame_module,
		break_frame_symbol, break_site_stack,   break_site_kind,     break_variance,
		break_weight,       break_weight_sign,  break_variance_sign, break_variance_size,
		break_cell_site,    break_cell_thread,  break_point_order,   break_build_id,
		break_count,        break_block_thread, break_block_weight,  break_symbol,
		break_path,         break_frames,       break_rss_order,     break_event_order,
		break_event_kind,
	};

	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		struct profile *p = synth_service();
		size_t nframes = p->nframes;
		struct seep_error *err;

		damages[i](p);
		err = profile_check(p);
		if (!err)
			fail_msg("damage %zu went unnoticed", i);
		assert_non_null(err->message);
		seep_error_free(err);
		p->nframes = nframes;
		profile_free(p);
	}
}

/* ---- merge ------------------------------------------------------------------------ */

static struct profile *merge2(struct profile *a, struct profile *b)
{
	struct profile *in[] = { a, b }, *out = NULL;
	struct seep_error *err = profile_merge(in, 2, &out);

	if (err)
		fail_msg("%s", err->message);
	assert_sound(out);
	return out;
}

static void merging_one_changes_nothing(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_profile_ struct profile *out = NULL;

	assert_null(profile_merge(&p, 1, &out));
	assert_sound(out);
	assert_int_equal(out->nframes, p->nframes);
	assert_int_equal(out->nsites, p->nsites);
	assert_int_equal(out->nsymbols, p->nsymbols);
	assert_int_equal(out->nthreads, p->nthreads);
	assert_int_equal(out->ncells, p->ncells);
	assert_int_equal(out->npoints, p->npoints);
	assert_memory_equal(out->sites, p->sites, p->nsites * sizeof(*p->sites));
	assert_memory_equal(out->points, p->points, p->npoints * sizeof(*p->points));
	assert_memory_equal(out->classes, p->classes, sizeof(p->classes));
	assert_string_equal(out->command, p->command);
	assert_string_equal(out->format, "test");
	assert_int_equal(out->nmerged, 0);
	assert_int_equal(out->losses.count[5], 1234);
}

/* The same program at another address: everything falls together but the threads. */
static void other_addresses_fall_together(void **state)
{
	_cleanup_profile_ struct profile *a = synth_service();
	_cleanup_profile_ struct profile *b = synth_service();
	_cleanup_profile_ struct profile *out = NULL;

	for (size_t i = 0; i < b->nmodules; i++) {
		b->modules[i].bias += 0x10000000;
		b->modules[i].start += 0x10000000;
		b->modules[i].end += 0x10000000;
	}
	for (size_t i = 1; i < b->nframes; i++)
		if (b->frames[i].module != PROF_NO_MODULE)
			b->frames[i].pc += 0x10000000;
	b->start_real_ns += 5000000000;
	out = merge2(a, b);
	assert_int_equal(out->nmodules, a->nmodules);
	assert_int_equal(out->nframes, a->nframes);
	assert_int_equal(out->nsymbols, a->nsymbols);
	assert_int_equal(out->nsites, a->nsites);
	assert_int_equal(out->nthreads, 2 * (a->nthreads - 1) + 1);
	assert_int_equal(out->ncells, 2 * a->ncells);
	for (size_t i = 0; i < a->nsites; i++) {
		assert_int_equal(out->sites[i].alloc.bytes, 2 * a->sites[i].alloc.bytes);
		assert_int_equal(out->sites[i].inuse.blocks, 2 * a->sites[i].inuse.blocks);
		assert_int_equal(profile_lifetime(out, i, 4), 2 * profile_lifetime(a, i, 4));
		assert_int_equal(out->sites[i].born, a->sites[i].born);
		assert_true(out->sites[i].oldest == a->sites[i].oldest);
	}
	assert_int_equal(out->duration_ns, a->duration_ns + 5000000000);
	assert_int_equal(out->start_real_ns, a->start_real_ns);
	assert_int_equal(out->losses.count[5], 2468);
	assert_int_equal(out->peak_bytes, a->peak_bytes + b->peak_bytes);
	assert_int_equal(out->cells[out->ncells - 1].thread, out->nthreads - 2);
	assert_string_equal(out->command, "./service --port 8080");
	assert_string_equal(out->format, "merged");
	assert_int_equal(out->nmerged, 2);
}

/* Some know how long blocks lived, others do not: each site has a place all the same. */
static void lifetimes_add_where_they_are_known(void **state)
{
	_cleanup_profile_ struct profile *a = synth_new("a");
	_cleanup_profile_ struct profile *b = synth_new("a");
	_cleanup_profile_ struct profile *c = synth_new("a");
	_cleanup_profile_ struct profile *ab = NULL, *neither = NULL;
	uint64_t lived = 0;

	for (uint64_t i = 1; i <= 3; i++) {
		synth_site(a, synth_frame(a, 0, PROF_NO_MODULE, i, "f", NULL, 0), PROF_HEAP, 10, 9,
		           i);
		synth_site(b, synth_frame(b, 0, PROF_NO_MODULE, 2 + i, "f", NULL, 0), PROF_HEAP, 10,
		           9, 7);
		synth_site(c, synth_frame(c, 0, PROF_NO_MODULE, i, "f", NULL, 0), PROF_HEAP, 10, 9,
		           i);
	}
	free(b->lifetimes[4]);
	b->lifetimes[4] = NULL;
	ab = merge2(b, a); /* a's third is b's first */
	assert_int_equal(ab->nsites, 5);
	assert_non_null(ab->lifetimes[4]);
	assert_null(ab->lifetimes[3]);
	for (size_t i = 0; i < ab->nsites; i++)
		lived += ab->lifetimes[4][i];
	assert_int_equal(lived, 1 + 2 + 3);
	profile_free(ab);
	ab = merge2(a, b); /* and the last ones have a place that nobody wrote to */
	assert_int_equal(ab->lifetimes[4][4], 0);
	free(c->lifetimes[4]);
	c->lifetimes[4] = NULL;
	neither = merge2(b, c);
	assert_null(neither->lifetimes[4]);
}

static void other_builds_stay_apart(void **state)
{
	_cleanup_profile_ struct profile *a = synth_new("a");
	_cleanup_profile_ struct profile *b = synth_new("b");
	_cleanup_profile_ struct profile *out = NULL;
	uint32_t ma = synth_module(a, "/bin/x", 0x1000, 7),
		 mb = synth_module(b, "/bin/x", 0x1000, 8);

	synth_site(a, synth_frame(a, 0, ma, 0x10, "f", NULL, 0), PROF_HEAP, 10, 1, 0);
	synth_site(b, synth_frame(b, 0, mb, 0x10, "f", NULL, 0), PROF_HEAP, 10, 1, 0);
	out = merge2(a, b);
	assert_int_equal(out->nmodules, 2);
	assert_int_equal(out->nframes, 3);
	assert_int_equal(out->nsites, 2);
	assert_string_equal(out->command, "a (and 1 other)");
}

static void kinds_and_stacks_stay_apart(void **state)
{
	_cleanup_profile_ struct profile *a = synth_new("a");
	_cleanup_profile_ struct profile *b = synth_new("a");
	_cleanup_profile_ struct profile *out = NULL;
	uint32_t ma = synth_module(a, "/bin/x", 0x1000, 7),
		 mb = synth_module(b, "/bin/x", 0x9000, 7);
	uint32_t fa = synth_frame_lines(a, 0, ma, 0x10, NULL, 0),
		 fb = synth_frame(b, 0, mb, 0x10, "late", "x.c", 3);

	synth_site(a, fa, PROF_HEAP, 10, 3, 1);
	synth_site(b, fb, PROF_MMAP, 10, 1, 0);
	synth_site(b, synth_frame(b, fb, mb, 0x20, "g", NULL, 0), PROF_HEAP, 10, 1, 0);
	out = merge2(a, b);
	assert_int_equal(out->nmodules, 1);
	assert_int_equal(out->nframes, 3);
	assert_int_equal(out->nsites, 3);
	assert_int_equal(out->sites[1].kind, PROF_MMAP);
	assert_int_equal(out->sites[1].stack, out->sites[0].stack);
	/* the first input was not symbolized: the second's symbol serves both */
	assert_string_equal(out->symbols[out->frames[1].symbol].lines[0].function, "late");
	assert_int_equal(out->frames[2].pc, 0x1020);
}

static void variances_and_losses_add(void **state)
{
	_cleanup_profile_ struct profile *a = synth_new("a");
	_cleanup_profile_ struct profile *b = synth_new("a");
	_cleanup_profile_ struct profile *out = NULL;

	synth_site(a, 0, PROF_HEAP, 10, 3, 1);
	synth_site(b, 0, PROF_HEAP, 10, 3, 1);
	a->sites[0].inuse.var_bytes = 2.5;
	b->sites[0].inuse.var_bytes = 4;
	b->sampled = true;
	b->period = 4096;
	b->killed = true;
	b->losses.torn = 3;
	out = merge2(a, b);
	assert_true(out->sites[0].inuse.var_bytes == 6.5);
	assert_int_equal(out->sites[0].samples, 6);
	assert_true(out->sampled && out->killed && !out->live);
	assert_int_equal(out->period, 4096);
	assert_int_equal(out->losses.torn, 3);
}

static void timelines_add_as_steps(void **state)
{
	_cleanup_profile_ struct profile *a = synth_new("a");
	_cleanup_profile_ struct profile *b = synth_new("b");
	_cleanup_profile_ struct profile *out = NULL;
	static const struct prof_point want[] = {
		{ 0, 100, 100, 6 },   { 10, 200, 200, 12 }, { 15, 250, 260, 15 },
		{ 20, 350, 360, 21 }, { 25, 320, 380, 23 }, { 41, 300, 380, 23 },
	};

	a->live = true;
	a->duration_ns = 100;
	synth_point(a, 0, 100, 100);
	synth_point(a, 10, 200, 200);
	synth_point(a, 20, 300, 300);
	b->start_real_ns += 15;
	b->duration_ns = 25; /* and then it has ended: nothing in use */
	synth_point(b, 0, 50, 60);
	synth_point(b, 10, 20, 80);
	out = merge2(a, b);
	assert_int_equal(out->npoints, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(out->points[i].time, want[i].time);
		assert_int_equal(out->points[i].inuse, want[i].inuse);
		assert_int_equal(out->points[i].alloc_bytes, want[i].alloc_bytes);
		assert_int_equal(out->points[i].alloc_blocks, want[i].alloc_blocks);
	}
}

/* Ended processes: each counts up to its own end, the one that ends last to the end of all. */
static void timelines_end_with_what_still_lived(void **state)
{
	_cleanup_profile_ struct profile *a = synth_new("a");
	_cleanup_profile_ struct profile *b = synth_new("b");
	_cleanup_profile_ struct profile *out = NULL;
	static const struct prof_point want[] = {
		{ 0, 107, 0, 0 },
		{ 10, 142, 0, 0 },
		{ 11, 102, 0, 0 },
		{ 30, 109, 0, 0 },
	};

	a->duration_ns = 30;
	synth_point(a, 0, 102, 1);
	synth_point(a, 30, 109, 1);
	b->duration_ns = 10;
	synth_point(b, 0, 5, 1);
	synth_point(b, 10, 40, 1); /* its last value is there for its last moment */
	out = merge2(a, b);
	assert_int_equal(out->npoints, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(out->points[i].time, want[i].time);
		assert_int_equal(out->points[i].inuse, want[i].inuse);
	}
}

/* Resident memory is a step function too; a process whose is not known adds nothing. */
static void resident_memory_adds_as_steps(void **state)
{
	_cleanup_profile_ struct profile *a = synth_new("a");
	_cleanup_profile_ struct profile *b = synth_new("b");
	_cleanup_profile_ struct profile *out = NULL;
	static const struct prof_rss want[] = {
		{ 0, 100 }, { 5, 150 }, { 12, 152 }, { 15, 102 }, { 20, 300 }
	};

	a->duration_ns = 20;
	a->start_real_ns = 1000;
	assert_true(profile_add_rss(a, 20, 300));
	assert_true(profile_add_rss(a, 0, 100));
	assert_true(profile_add_rss(a, 12, 102));
	b->duration_ns = 9; /* from 5 to 14 */
	b->start_real_ns = 1005;
	assert_true(profile_add_rss(b, 0, 50));
	out = merge2(a, b);
	assert_sound(out);
	assert_int_equal(out->nrss, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(out->rss[i].time, want[i].time);
		assert_int_equal(out->rss[i].bytes, want[i].bytes);
	}
	profile_free(out);
	b->nrss = 0;
	out = merge2(a, b);
	assert_int_equal(out->nrss, 3);
	assert_int_equal(out->rss[1].bytes, 102);
}

static void events_line_up_on_one_clock(void **state)
{
	_cleanup_profile_ struct profile *a = synth_new("a");
	_cleanup_profile_ struct profile *b = synth_new("b");
	_cleanup_profile_ struct profile *out = NULL;
	static const struct {
		uint64_t time;
		uint8_t kind;
		const char *text;
	} want[] = { { 3, PROF_EVENT_LOAD, "/lib/a.so" },
		     { 5, PROF_EVENT_EXEC, "b" },
		     { 7, PROF_EVENT_SNAPSHOT, "first" },
		     { 7, PROF_EVENT_SNAPSHOT, "second" },
		     { 7, PROF_EVENT_KILLED, NULL } };

	a->start_real_ns = 1000;
	b->start_real_ns = 1005;
	assert_true(profile_add_event(a, 7, PROF_EVENT_SNAPSHOT, "first"));
	assert_true(profile_add_event(a, 7, PROF_EVENT_SNAPSHOT, "second"));
	assert_true(profile_add_event(a, 3, PROF_EVENT_LOAD, "/lib/a.so"));
	assert_true(profile_add_event(b, 2, PROF_EVENT_KILLED, NULL));
	assert_true(profile_add_event(b, 0, PROF_EVENT_EXEC, "b"));
	out = merge2(a, b);
	assert_sound(out);
	assert_int_equal(out->nevents, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(out->events[i].time, want[i].time);
		assert_int_equal(out->events[i].kind, want[i].kind);
		if (want[i].text)
			assert_string_equal(out->events[i].text, want[i].text);
		else
			assert_null(out->events[i].text);
	}
}

static void long_timelines_keep_their_peak(void **state)
{
	_cleanup_profile_ struct profile *a = synth_new("a");
	_cleanup_profile_ struct profile *out = NULL;
	uint64_t peak = 0;

	for (uint64_t i = 0; i < 20000; i++)
		synth_point(a, i, i == 12345 ? 1000000 : 10, i);
	assert_null(profile_merge(&a, 1, &out));
	assert_sound(out);
	assert_true(out->npoints <= 8192 && out->npoints > 4096);
	for (size_t i = 0; i < out->npoints; i++)
		peak = out->points[i].inuse > peak ? out->points[i].inuse : peak;
	assert_int_equal(peak, 1000000);
	assert_int_equal(out->points[out->npoints - 1].time, 19999);
}

static void unsound_input_is_refused(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	struct profile *out = NULL;
	struct seep_error *err;

	p->sites[0].kind = 9;
	err = profile_merge(&p, 1, &out);
	assert_non_null(err);
	assert_non_null(strstr(err->message, "cannot merge synthetic"));
	assert_null(out);
	seep_error_free(err);
	err = profile_merge(&p, 0, &out);
	assert_non_null(err);
	seep_error_free(err);
}

/* Another mapping of the same file, and what is not the same, and what has a name already. */
static void names_are_taken(void **state)
{
	_cleanup_profile_ struct profile *a = synth_new("a"), *b = synth_new("b");
	struct profile *both[] = { a, b };
	uint32_t frames[2][4];
	size_t had;

	for (int i = 0; i < 2; i++) {
		struct profile *p = both[i];
		uint64_t base = i ? 0x7000000 : 0x400000;
		uint32_t app = synth_module(p, "/bin/app", base, 1);
		uint32_t other = synth_module(p, "/lib/other.so", 0x10000000, (uint8_t)(2 + i));

		frames[i][0] = synth_frame(p, 0, app, 0x10, "outer", "o.c", 1);
		frames[i][1] = synth_frame(p, frames[i][0], app, 0x20, "inner", "i.c", 2);
		frames[i][2] = synth_frame(p, 0, other, 0x30, "rebuilt", "r.c", 3);
		frames[i][3] = synth_frame(p, 0, app, 0x40, i ? "mine" : "theirs", "m.c", 4);
		synth_site(p, frames[i][1], PROF_HEAP, 8, 1, 0);
	}
	for (int k = 0; k < 3; k++)
		b->frames[frames[1][k]].symbol = 0;
	had = b->nsymbols;
	assert_null(profile_take_names(b, a));
	assert_null(profile_check(b));
	assert_int_equal(b->nsymbols, had + 2);
	assert_string_equal(b->symbols[b->frames[frames[1][0]].symbol].lines[0].function, "outer");
	assert_string_equal(b->symbols[b->frames[frames[1][1]].symbol].lines[0].file, "i.c");
	assert_int_equal(b->frames[frames[1][2]].symbol, 0); /* another build-id */
	assert_string_equal(b->symbols[b->frames[frames[1][3]].symbol].lines[0].function, "mine");
	/* nothing is left to take */
	assert_null(profile_take_names(b, a));
	assert_int_equal(b->nsymbols, had + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_profile_is_sound),
		cmocka_unit_test(totals_add_up),
		cmocka_unit_test(stacks_of_ended_threads_are_told_apart),
		cmocka_unit_test(sums_saturate),
		cmocka_unit_test(damage_is_found),
		cmocka_unit_test(merging_one_changes_nothing),
		cmocka_unit_test(other_addresses_fall_together),
		cmocka_unit_test(lifetimes_add_where_they_are_known),
		cmocka_unit_test(other_builds_stay_apart),
		cmocka_unit_test(kinds_and_stacks_stay_apart),
		cmocka_unit_test(variances_and_losses_add),
		cmocka_unit_test(timelines_add_as_steps),
		cmocka_unit_test(timelines_end_with_what_still_lived),
		cmocka_unit_test(resident_memory_adds_as_steps),
		cmocka_unit_test(events_line_up_on_one_clock),
		cmocka_unit_test(long_timelines_keep_their_peak),
		cmocka_unit_test(unsound_input_is_refused),
		cmocka_unit_test(names_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
