/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes: the joint profile is loaded with one side after the other, and the usual groups are made of it each time.
 * They hold the same things every time (all sites of all sides), so they are joined by their identity.
 *
 * How sure a change of estimates is: the intervals of both sides (estimate.h) are combined by the square root of the
 * sum of their squares, each end with the end that opposes it.  Within one run that is far too wide for memory
 * that stays: a block that lives on both sides is the same record, its error is the same and cancels out.  There the
 * change is also what was allocated in between less what was freed in between, and only the records of those are
 * uncertain; the narrower of the two intervals holds.  docs/SAMPLING.md, "Differences".
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/diff.h"
#include "analysis/view.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "base/large.h"
#include "profile/estimate.h"
#include "profile/profile.h"

/* ---- one change ------------------------------------------------------------- */

struct range {
	double value, low, high;
};

static int64_t to_i64(double v)
{
	return v >= 9223372036854774784.0    ? INT64_MAX
	       : v <= -9223372036854774784.0 ? -INT64_MAX
	                                     : (int64_t)(v < 0 ? v - 0.5 : v + 0.5);
}

/*
 * One side's value with its interval.  Where nothing was sampled a block count has no bound of its own; `like` is
 * what the other side has, and the unseen blocks are taken to be of its average size.
 */
static struct range range_of(const struct prof_value *v, uint64_t samples, bool blocks,
                             const struct profile *p, const struct prof_value *like)
{
	double value = (double)measure_of(v, blocks);
	struct prof_interval i;
	struct range r = { value, value, value };

	if (!p->sampled || !p->period || (!samples && value > 0))
		return r; /* exact, or the source does not say how sure it is */
	if (!samples && blocks) {
		i = prof_interval_bytes(v, 0, p->period);
		r.high = like->bytes ? (double)i.high * (double)like->blocks / (double)like->bytes
		                     : 0;
		return r;
	}
	i = blocks ? prof_interval_blocks(v, samples, p->period)
	           : prof_interval_bytes(v, samples, p->period);
	r.low = (double)i.low;
	r.high = (double)i.high;
	return r;
}

static struct range difference(struct range from, struct range to)
{
	double value = to.value - from.value;

	return (struct range){
		.value = value,
		.low = value - hypot(to.value - to.low, from.high - from.value),
		.high = value + hypot(to.high - to.value, from.value - from.low),
	};
}

/* What a counter that only grows did in between; false when it did not only grow. */
static bool in_between(const struct group_sum *first, const struct group_sum *last,
                       enum measure_value m, struct prof_value *ret_value, uint64_t *ret_samples)
{
	const struct prof_value *a = &first->value[m], *b = &last->value[m];
	uint64_t before = group_samples(first, m), after = group_samples(last, m);
	double blocks = b->var_blocks - a->var_blocks, bytes = b->var_bytes - a->var_bytes;

	if (b->blocks < a->blocks || b->bytes < a->bytes || after < before)
		return false;
	*ret_value = (struct prof_value){ .blocks = b->blocks - a->blocks,
		                          .bytes = b->bytes - a->bytes,
		                          .var_blocks = blocks > 0 ? blocks : 0,
		                          .var_bytes = bytes > 0 ? bytes : 0,
		                          .max_weight = b->max_weight };
	*ret_samples = after - before;
	return true;
}

/* The change by the records of what was allocated and freed in between; false where that cannot be told. */
static bool forward_by_events(const struct diff *d, const struct group_sum *first,
                              const struct group_sum *last, struct measure m,
                              struct range *ret_range)
{
	const struct profile *p = d->sides[d->nsides - 1];
	uint64_t gained, lost, tolerance = 4 + 2 * (first->sites + last->sites);
	struct prof_value gain, loss;
	struct range came, went;

	/* of threads only what is in use is known */
	if (!d->same_run || m.value == MEASURE_PEAK || !last->value[MEASURE_ALLOC].blocks)
		return false;
	if (m.value != MEASURE_INUSE) {
		if (!in_between(first, last, m.value, &gain, &gained))
			return false;
		*ret_range = range_of(&gain, gained, m.blocks, p, &last->value[m.value]);
		return true;
	}
	if (!in_between(first, last, MEASURE_ALLOC, &gain, &gained) ||
	    !in_between(first, last, MEASURE_FREED, &loss, &lost))
		return false;
	came = range_of(&gain, gained, m.blocks, p, &last->value[MEASURE_ALLOC]);
	went = range_of(&loss, lost, m.blocks, p, &last->value[MEASURE_ALLOC]);
	*ret_range = difference(went, came);
	/* estimates are rounded, and not every format has all four numbers */
	return fabs(ret_range->value - ((double)measure_of(&last->value[m.value], m.blocks) -
	                                (double)measure_of(&first->value[m.value], m.blocks))) <=
	       (double)tolerance;
}

/* A difference may be asked for backwards. */
static bool by_events(const struct diff *d, const struct group_sum *first,
                      const struct group_sum *last, struct measure m, struct range *ret_range)
{
	struct range r;

	if (forward_by_events(d, first, last, m, ret_range))
		return true;
	if (!forward_by_events(d, last, first, m, &r))
		return false;
	*ret_range = (struct range){ -r.value, -r.high, -r.low };
	return true;
}

struct diff_change diff_change(const struct diff *d, const struct group_sum *first,
                               const struct group_sum *last, struct measure m, double scale)
{
	const struct prof_value *a = &first->value[m.value], *b = &last->value[m.value];
	const struct profile *pa = d->sides[0], *pb = d->sides[d->nsides - 1];
	struct range from = range_of(a, group_samples(first, m.value), m.blocks, pa, b);
	struct range to = range_of(b, group_samples(last, m.value), m.blocks, pb, a), r, events;
	struct diff_change c;

	from = (struct range){ from.value * scale, from.low * scale, from.high * scale };
	r = difference(from, to);
	if (scale == 1 && by_events(d, first, last, m, &events) &&
	    events.high - events.low < r.high - r.low) {
		r.low = events.low;
		r.high = events.high;
	}
	c = (struct diff_change){ to_i64(r.value), to_i64(r.low), to_i64(r.high), false };
	if (c.low > c.value)
		c.low = c.value;
	if (c.high < c.value)
		c.high = c.value;
	c.noise = c.low < c.high && c.low <= 0 && c.high >= 0;
	return c;
}

/* ---- groups ------------------------------------------------------------------- */

static int add_items(struct diff_groups *out, const struct groups *g, struct idmap *map)
{
	out->items = large_zero((g->n + 1) * sizeof(*out->items));
	out->course = large_zero((g->n + 1) * out->nsides * sizeof(*out->course));
	if (!out->items || !out->course)
		return -1;
	for (uint32_t i = 0; i < g->n; i++) {
		out->items[i].id = g->items[i].id;
		out->items[i].kind = g->items[i].kind;
		out->items[i].cut = g->items[i].cut;
		out->items[i].course = i;
		if (idmap_add(map, hash_mix(g->items[i].id, g->items[i].kind), i) < 0)
			return -1;
	}
	out->n = g->n;
	return 0;
}

static struct diff_item *find_item(struct diff_groups *out, const struct idmap *map,
                                   const struct group *g)
{
	uint64_t hash = hash_mix(g->id, g->kind);
	size_t pos = idmap_first(map, hash);
	uint32_t i;

	while (idmap_get(map, &pos, hash, &i))
		if (out->items[i].id == g->id && out->items[i].kind == g->kind)
			return &out->items[i];
	return NULL;
}

/* The numbers of one side into the items. */
static void take_side(struct diff_groups *out, const struct groups *g, size_t side,
                      struct measure m, const struct idmap *map)
{
	bool first = side == 0, last = side == out->nsides - 1;

	for (size_t i = 0; i < g->n; i++) {
		struct diff_item *item = find_item(out, map, &g->items[i]);
		uint64_t *course;

		if (!item)
			continue;
		course = &out->course[(size_t)(item - out->items) * out->nsides];
		course[side] = group_measure(&g->items[i].total, m);
		item->grown += !first && course[side] > course[side - 1];
		if (!first && !last)
			continue;
		item->self[last] = g->items[i].self;
		item->total[last] = g->items[i].total;
	}
	out->sum_course[side] = group_measure(&g->sum, m);
	if (first || last)
		out->sum[last] = g->sum;
}

static double ratio_of(const struct diff_groups *g, struct measure m, bool normalize)
{
	double from = (double)group_measure(&g->sum[0], m),
	       to = (double)group_measure(&g->sum[1], m);

	return normalize && from > 0 && to > 0 ? to / from : 1;
}

static void add_change(struct diff_groups *g, const struct group_sum *first,
                       const struct group_sum *last, struct measure m, double scale)
{
	double change = (double)group_measure(last, m) - (double)group_measure(first, m) * scale;

	if (change > 0)
		g->grown += (uint64_t)change;
	else
		g->shrunk += (uint64_t)-change;
}

/* Growth and shrinkage are summed over sites: functions overlap.  Threads do not, but share sites. */
static struct seep_error *sum_sites(struct diff *d, const struct view *v, enum group_by by,
                                    struct diff_groups *g)
{
	_cleanup_node_pairs_ struct node_pairs pairs = { 0 };
	struct seep_error *err;

	if (by == GROUP_SITE || by == GROUP_THREAD) {
		for (size_t i = 0; i < g->n; i++)
			add_change(g, &g->items[i].total[0], &g->items[i].total[1], g->measure,
			           g->scale);
		return NULL;
	}
	err = node_pairs_make(d, v, g->measure, false, &pairs);
	for (size_t i = 0; !err && i < pairs.n; i++)
		add_change(g, &pairs.items[i].first, &pairs.items[i].last, g->measure, g->scale);
	return err;
}

/* The groups of the side that is loaded.  Threads' are made of cells, but the sum is of sites whatever the groups. */
static struct seep_error *make_side(const struct view *v, enum group_by by, struct measure m,
                                    struct groups *ret_groups)
{
	_cleanup_groups_ struct groups sites = { 0 };
	struct seep_error *err = NULL;

	if (by == GROUP_THREAD)
		err = groups_make(v, GROUP_SITE, m, &sites);
	if (!err)
		err = groups_make(v, by, m, ret_groups);
	if (!err && by == GROUP_THREAD)
		ret_groups->sum = sites.sum;
	return err;
}

struct seep_error *diff_groups_make(struct diff *d, const struct view *v, enum group_by by,
                                    struct measure m, bool normalize, struct diff_groups *ret)
{
	_cleanup_diff_groups_ struct diff_groups out = { .nsides = d->nsides };
	_cleanup_idmap_ struct idmap map = { 0 };
	struct seep_error *err = NULL;

	out.sum_course = calloc(d->nsides, sizeof(*out.sum_course));
	if (!out.sum_course)
		return &seep_error_nomem;
	for (size_t side = 0; !err && side < d->nsides; side++) {
		_cleanup_groups_ struct groups g = { 0 };

		diff_load(d, side);
		err = make_side(v, by, m, &g);
		if (!err && side == 0 && add_items(&out, &g, &map) < 0)
			err = &seep_error_nomem;
		if (!err)
			take_side(&out, &g, side, m, &map);
	}
	out.measure = m;
	out.scale = ratio_of(&out, m, normalize);
	if (!err)
		err = sum_sites(d, v, by, &out);
	if (err)
		return err;
	for (size_t i = 0; i < out.n; i++) {
		struct diff_item *item = &out.items[i];

		item->self_change = diff_change(d, &item->self[0], &item->self[1], m, out.scale);
		item->change = diff_change(d, &item->total[0], &item->total[1], m, out.scale);
	}
	out.change = diff_change(d, &out.sum[0], &out.sum[1], m, out.scale);
	diff_groups_sort(v, by, DIFF_GROWTH, &out);
	*ret = out;
	memset(&out, 0, sizeof(out));
	return NULL;
}

void diff_groups_release(struct diff_groups *g)
{
	free(g->items);
	free(g->course);
	free(g->sum_course);
	memset(g, 0, sizeof(*g));
}

const uint64_t *diff_course(const struct diff_groups *g, const struct diff_item *item)
{
	return &g->course[item->course * g->nsides];
}

/* ---- order -------------------------------------------------------------------- */

struct sort_key {
	int64_t value;    /* descending */
	int64_t self;     /* likewise: of functions that call each other the one that did it */
	const char *name; /* ascending, NULL last */
	size_t index;
};

static int by_key(const void *a, const void *b)
{
	const struct sort_key *x = a, *y = b;

	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	if (x->self != y->self)
		return x->self > y->self ? -1 : 1;
	if (x->name != y->name) {
		int r = !x->name ? 1 : !y->name ? -1 : strcmp(x->name, y->name);

		if (r)
			return r;
	}
	return x->index < y->index ? -1 : x->index > y->index;
}

static int64_t magnitude_of(int64_t v)
{
	return v < 0 ? -v : v;
}

static int64_t clip(uint64_t v)
{
	return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

static int64_t blocks_grown(const struct diff_item *i, struct measure m)
{
	return clip(i->total[1].value[m.value].blocks) - clip(i->total[0].value[m.value].blocks);
}

static struct sort_key sort_key(const struct view *v, enum group_by by, enum diff_order order,
                                const struct diff_groups *g, const struct diff_item *i)
{
	struct group as_group = { .id = i->id, .kind = i->kind };

	switch (order) {
	case DIFF_GROWTH:
		return (struct sort_key){ .value = i->change.value };
	case DIFF_SHRINKAGE:
		return (struct sort_key){ .value = -i->change.value };
	case DIFF_CHANGE:
		return (struct sort_key){ .value = magnitude_of(i->change.value) };
	case DIFF_SELF:
		return (struct sort_key){ .value = i->self_change.value };
	case DIFF_BLOCKS:
		return (struct sort_key){ .value = blocks_grown(i, g->measure) };
	case DIFF_AFTER:
		return (struct sort_key){ .value = clip(group_measure(&i->total[1], g->measure)) };
	case DIFF_NAME:
		return (struct sort_key){ .name = group_name(v, by, &as_group) };
	}
	return (struct sort_key){ 0 };
}

void diff_groups_sort(const struct view *v, enum group_by by, enum diff_order order,
                      struct diff_groups *g)
{
	_cleanup_free_ struct sort_key *keys = calloc(g->n + 1, sizeof(*keys));

	/* Without the memory the order stays as it is: the numbers are right all the same. */
	if (!keys)
		return;
	for (size_t i = 0; i < g->n; i++) {
		keys[i] = sort_key(v, by, order, g, &g->items[i]);
		keys[i].index = i;
		if (order != DIFF_NAME)
			keys[i].self = magnitude_of(g->items[i].self_change.value);
	}
	qsort(keys, g->n, sizeof(*keys), by_key);
	/* Moved in place, cycle by cycle, as groups_sort() does it. */
	for (size_t i = 0; i < g->n; i++) {
		struct diff_item held;
		size_t to = i;

		if (keys[i].index == i)
			continue;
		held = g->items[i];
		for (size_t from; (from = keys[to].index) != i; to = from) {
			g->items[to] = g->items[from];
			keys[to].index = to;
		}
		g->items[to] = held;
		keys[to].index = to;
	}
}

/* ---- for the pictures ------------------------------------------------------------ */

static struct seep_error *add_nodes(const struct view *v, bool last, struct node_pairs *out)
{
	_cleanup_groups_ struct groups g = { 0 };
	struct seep_error *err = groups_collect(v, GROUP_SITE, &g);

	if (err)
		return err;
	for (size_t i = 0; i < g.n; i++) {
		struct node_pair *to = &out->items[g.items[i].id];

		group_sum_add(last ? &to->last : &to->first, &g.items[i].self);
	}
	*(last ? &out->sum.last : &out->sum.first) = g.sum;
	return NULL;
}

static double scale_of(const struct diff *d, const struct node_pair *sum, struct measure m,
                       bool normalize)
{
	double from = (double)group_measure(&sum->first, m);
	double to = (double)group_measure(&sum->last, m);

	return d && normalize && from > 0 && to > 0 ? to / from : 1;
}

struct node_pairs node_pairs_total(const struct diff *d, const struct view *v, struct measure m,
                                   bool normalize)
{
	struct node_pairs out = { 0 };

	if (d) {
		size_t last = d->nsides - 1;

		out.sum.first = groups_total(v, d->sides[0], d->site_of[0]);
		out.sum.last = groups_total(v, d->sides[last], d->site_of[last]);
	} else {
		out.sum.last = groups_total(v, v->profile, NULL);
	}
	out.scale = scale_of(d, &out.sum, m, normalize);
	return out;
}

struct seep_error *node_pairs_make(struct diff *d, const struct view *v, struct measure m,
                                   bool normalize, struct node_pairs *ret_pairs)
{
	_cleanup_node_pairs_ struct node_pairs out = { .n = v->nnodes };
	struct seep_error *err = NULL;

	out.items = large_zero(out.n * sizeof(*out.items));
	if (!out.items)
		return &seep_error_nomem;
	if (d) {
		diff_load(d, 0);
		err = add_nodes(v, false, &out);
		diff_load(d, d->nsides - 1);
	}
	if (!err)
		err = add_nodes(v, true, &out);
	if (err)
		return err;
	out.scale = scale_of(d, &out.sum, m, normalize);
	*ret_pairs = out;
	memset(&out, 0, sizeof(out));
	return NULL;
}

void node_pairs_release(struct node_pairs *p)
{
	free(p->items);
	memset(p, 0, sizeof(*p));
}
