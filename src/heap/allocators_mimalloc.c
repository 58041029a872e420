/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mimalloc: mi_process_info() for what the system gives it, mi_stats_print_out() for what it counts.
 *
 * Release builds count little (MI_STAT=0): committed and reserved, not what is live, and blocks in use can be visited
 * only by the thread whose heap they are in.  So what is live is read from its segments (mimalloc.h), where
 * their layout is known; elsewhere it stays unknown.
 *
 * Options are numbered.  The delay before pages are given back has kept its number since version 1.7, though not
 * its name: reset_delay, decommit_delay (2.0), purge_delay (from 2.1).
 */
#include "heap/allocators_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "heap/heap.h"
#include "heap/mimalloc.h"
#include "proc/procfs.h"

#define OPTION_DELAY 15u

/* From version 2.0 on; the names where they were the same are given once. */
static const struct {
	const char *name;
	uint32_t number, from, to; /* versions, as mi_version() counts */
} settings[] = {
	{ "eager_commit", 3, 0, 209 },
	{ "arena_eager_commit", 4, 210, 400 },
	{ "purge_decommits", 5, 210, 400 },
	{ "page_reset", 11, 0, 209 },
	{ "abandoned_page_decommit", 12, 0, 209 },
	{ "abandoned_page_purge", 12, 210, 299 },
	{ "eager_commit_delay", 14, 0, 400 },
	{ "decommit_delay", 15, 0, 209 },
	{ "purge_delay", 15, 210, 400 },
	{ "allow_decommit", 22, 200, 209 },
	{ "segment_decommit_delay", 23, 200, 209 },
};

struct info {
	size_t call;
	struct remote_arg out[8];
};

static struct info question(struct remote *r, const struct allocator *a)
{
	struct info i = { 0 };

	for (size_t k = 0; k < ARRAY_SIZE(i.out); k++)
		i.out[k] = remote_word(r, 0);
	/* elapsed, user, system, current and peak RSS, current and peak commit, faults */
	i.call = remote_call(r, a->functions[MI_PROCESS_INFO], i.out, ARRAY_SIZE(i.out));
	return i;
}

static uint64_t number(struct remote *r, const struct info *i, size_t k)
{
	return remote_op(r, i->call)->called ? remote_get(r, i->out[k]) : ALLOCATOR_UNKNOWN;
}

static void take(struct remote *r, const struct info *i, struct allocator_stats *s)
{
	/* What it calls current RSS is, on Linux, what is committed. */
	s->peak_resident = number(r, i, 4);
	s->committed = number(r, i, 5);
}

static void take_segments(struct allocators *as, struct allocator_stats *s,
                          struct allocator_details *d)
{
	struct mimalloc_sums m;

	if (mimalloc_sum(as->pid, &m))
		return;
	s->live = s->allocated = m.live;
	s->active = m.active;
	s->resident = m.resident;
	s->dirty = m.free_resident;
	s->mapped = m.segments * MIMALLOC_SEGMENT;
	if (d)
		d->bins = calloc(m.nclasses + 1, sizeof(*d->bins));
	for (size_t i = 0; d && d->bins && i < m.nclasses; i++)
		d->bins[d->nbins++] = (struct allocator_bin){
			.size = m.classes[i].block_size,
			.blocks = m.classes[i].blocks,
			.slabs = m.classes[i].pages,
			.slab_bytes = m.classes[i].slab_bytes,
			.allocations = ALLOCATOR_UNKNOWN,
			.frees = ALLOCATOR_UNKNOWN,
		};
	mimalloc_sums_release(&m);
}

static struct seep_error *ask(struct allocators *as, struct allocator *a, struct allocator_stats *s,
                              struct allocator_details *d, struct allocator_visit *visit)
{
	size_t version, calls[ARRAY_SIZE(settings)];
	_cleanup_remote_ struct remote r;
	struct seep_error *err;
	uint32_t v = 0;
	struct info i;

	remote_init(&r, as);
	version = remote_call(&r, a->functions[MI_VERSION], NULL, 0);
	i = question(&r, a);
	for (size_t k = 0; k < ARRAY_SIZE(settings); k++)
		calls[k] = remote_call(&r, a->functions[MI_OPTION_GET],
		                       REMOTE_LIST(remote_value(settings[k].number)));
	err = remote_run(&r, visit);
	if (err)
		return err;
	take(&r, &i, s);
	take_segments(as, s, d);
	if (remote_op(&r, version)->called) {
		/* 209: 2.0.9; from 2.1 on 2107 may be, too: 2.1.7. */
		v = (uint32_t)remote_op(&r, version)->result;
		if (v >= 1000)
			v = v / 1000 * 100 + v % 1000 / 100 * 10 + v % 10;
		snprintf(s->version, sizeof(s->version), "%u.%u.%u", v / 100 % 100, v / 10 % 10,
		         v % 10);
	}
	for (size_t k = 0; k < ARRAY_SIZE(settings) && d && v; k++)
		if (remote_op(&r, calls[k])->called && v >= settings[k].from && v <= settings[k].to)
			allocator_fact(d, settings[k].name, "%lld",
			               (long long)remote_op(&r, calls[k])->result);
	return NULL;
}

static struct seep_error *text(struct allocators *as, struct allocator *a, const char *opts,
                               size_t room, struct remote *r, struct remote_arg *ret)
{
	(void)as;
	(void)opts;
	if (!a->functions[MI_STATS_PRINT_OUT])
		return allocator_lacks(a, "mi_stats_print_out");
	*ret = remote_tail(r, room);
	if (!r->failed)
		memcpy(r->memory.data + ret->value, &(uint64_t){ room }, 8);
	remote_call(r, a->functions[MI_STATS_PRINT_OUT],
	            REMOTE_LIST(remote_writer(REMOTE_TEXT_FIRST), *ret));
	return NULL;
}

/*
 * What mi_collect() leaves: version 2.0 keeps free spans of segments that are in use.  An error is no failure of the release.
 * Linked into the program, the allocator's code cannot be told from the program's, and nobody is ever outside of it.
 */
static void drop_spans(const struct allocators *as, const struct allocator *a, uint64_t limit,
                       uint64_t *bytes, struct allocator_visit *visit)
{
	const struct heap_range code = { a->start, a->end };
	uint64_t dropped = 0, stopped = 0;

	if (a->in_program)
		return;
	seep_error_free(mimalloc_drop(as->pid, &code, limit, &dropped, &stopped));
	*bytes += dropped;
	visit->stopped_ns += stopped;
}

static uint64_t resident(pid_t pid)
{
	struct procfs_status st;

	return procfs_status(pid, &st) ? 0 : st.rss;
}

/*
 * The first mi_collect() frees pages and gives segments to the cache, the second one empties that.  Other threads' heaps
 * are theirs to collect.
 */
static struct seep_error *release(struct allocators *as, struct allocator *a, uint64_t bytes,
                                  uint64_t *ret_bytes, struct allocator_visit *visit)
{
	_cleanup_remote_ struct remote r;
	uint64_t before, after;
	struct seep_error *err;

	if (!a->functions[MI_COLLECT])
		return allocator_lacks(a, "mi_collect");
	*ret_bytes = 0;
	/* It knows no limit. */
	if (bytes == UINT64_MAX || a->in_program) {
		before = resident(as->pid);
		remote_init(&r, as);
		for (int i = 0; i < 2; i++)
			remote_call(&r, a->functions[MI_COLLECT], REMOTE_LIST(remote_value(1)));
		err = remote_run(&r, visit);
		if (err)
			return err;
		after = resident(as->pid);
		*ret_bytes = before > after ? before - after : 0;
	}
	drop_spans(as, a, bytes, ret_bytes, visit);
	return NULL;
}

static struct allocator_value take_delay(struct remote *r, size_t call)
{
	double v = (double)(int64_t)remote_op(r, call)->result;

	return (struct allocator_value){ remote_op(r, call)->called, v, v, v };
}

static size_t ask_delay(struct remote *r, const struct allocator *a)
{
	return remote_call(r, a->functions[MI_OPTION_GET], REMOTE_LIST(remote_value(OPTION_DELAY)));
}

static struct seep_error *get(struct allocators *as, struct allocator *a,
                              struct allocator_value *ret, struct allocator_visit *visit)
{
	_cleanup_remote_ struct remote r;
	struct seep_error *err;
	size_t call;

	remote_init(&r, as);
	call = ask_delay(&r, a);
	err = remote_run(&r, visit);
	if (!err)
		ret[ALLOCATOR_PURGE_DELAY] = take_delay(&r, call);
	return err;
}

static struct seep_error *set(struct allocators *as, struct allocator *a, enum allocator_option o,
                              double value, struct allocator_value *ret_old,
                              struct allocator_value *ret_new, struct allocator_visit *visit)
{
	_cleanup_remote_ struct remote r;
	size_t before, after;
	struct seep_error *err;

	if (!a->functions[MI_OPTION_GET] || !a->functions[MI_OPTION_SET])
		return allocator_no_option(a, o);
	remote_init(&r, as);
	before = ask_delay(&r, a);
	remote_call(&r, a->functions[MI_OPTION_SET],
	            REMOTE_LIST(remote_value(OPTION_DELAY), remote_value((uint64_t)(int64_t)value)));
	after = ask_delay(&r, a);
	err = remote_run(&r, visit);
	if (err)
		return err;
	*ret_old = take_delay(&r, before);
	*ret_new = take_delay(&r, after);
	return NULL;
}

const struct allocator_way allocator_mimalloc = { ask, text, release, get, set };
