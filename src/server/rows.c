/* SPDX-License-Identifier: Apache-2.0 */
#include "server/rows.h"

#include "server/jsonw.h"
#include "server/look.h"
#include "server/stacks.h"

#include "analysis/diff.h"
#include "analysis/view.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/large.h"
#include "profile/estimate.h"
#include "profile/profile.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

const char *rows_kind(uint8_t kind)
{
	static const char *const names[PROF_NKINDS] = {
		[PROF_HEAP] = "heap", [PROF_MMAP] = "mmap", [PROF_STACK] = "stack"
	};

	return kind < PROF_NKINDS ? names[kind] : "heap";
}

void rows_release(struct rows *r)
{
	free(r->items);
	memset(r, 0, sizeof(*r));
}

static bool holds_nothing(const struct row *row)
{
	return !row->self && !row->total && !row->self_base && !row->total_base;
}

static struct seep_error *of_diff(const struct look *l, enum group_by by, struct rows *r)
{
	_cleanup_diff_groups_ struct diff_groups g = { 0 };
	struct seep_error *err = diff_groups_make(l->diff, l->v, by, l->measure, l->normalize, &g);
	bool sampled = l->diff->joint->sampled;

	if (err)
		return err;
	r->items = large_zero((g.n + 1) * sizeof(*r->items));
	if (!r->items)
		return &seep_error_nomem;
	r->sum = group_measure(&g.sum[1], l->measure);
	for (size_t i = 0; i < g.n; i++) {
		const struct diff_item *item = &g.items[i];
		struct row row = {
			.group = { .id = item->id,
			           .kind = item->kind,
			           .cut = item->cut,
			           .self = item->self[1],
			           .total = item->total[1] },
			.self = group_measure(&item->self[1], l->measure),
			.total = group_measure(&item->total[1], l->measure),
			.self_base = (uint64_t)((double)group_measure(&item->self[0], l->measure) *
			                                g.scale +
			                        0.5),
			.total_base = (uint64_t)((double)group_measure(&item->total[0], l->measure) *
			                                 g.scale +
			                         0.5),
			.blocks = item->self[1].value[l->measure.value].blocks,
			.blocks_base = item->self[0].value[l->measure.value].blocks,
			.low = sampled ? item->self_change.low : STORE_NONE,
			.high = sampled ? item->self_change.high : STORE_NONE,
			.noise = item->change.noise,
		};

		if (!holds_nothing(&row) && (l->noise || !row.noise))
			r->items[r->n++] = row;
	}
	return NULL;
}

static void interval(const struct look *l, const struct group_sum *s, struct row *row)
{
	const struct profile *p = look_profile(l);
	const struct prof_value *v = &s->value[l->measure.value];
	uint64_t samples = group_samples(s, l->measure.value);
	struct prof_interval i = l->measure.blocks ? prof_interval_blocks(v, samples, p->period)
	                                           : prof_interval_bytes(v, samples, p->period);

	row->low = p->sampled ? (int64_t)i.low : STORE_NONE;
	row->high = p->sampled ? (int64_t)i.high : STORE_NONE;
}

static struct seep_error *of_profile(const struct look *l, enum group_by by, struct rows *r)
{
	_cleanup_groups_ struct groups g = { 0 };
	struct seep_error *err = groups_make(l->v, by, l->measure, &g);

	if (err)
		return err;
	r->items = large_zero((g.n + 1) * sizeof(*r->items));
	if (!r->items)
		return &seep_error_nomem;
	r->sum = group_measure(&g.sum, l->measure);
	for (size_t i = 0; i < g.n; i++) {
		struct row row = { .group = g.items[i],
			           .self = group_measure(&g.items[i].self, l->measure),
			           .total = group_measure(&g.items[i].total, l->measure),
			           .blocks = g.items[i].self.value[l->measure.value].blocks };

		interval(l, &g.items[i].self, &row);
		if (!holds_nothing(&row))
			r->items[r->n++] = row;
	}
	return NULL;
}

struct seep_error *rows_make(const struct look *l, enum group_by by, struct rows *ret)
{
	struct rows r = { .by = by };
	struct seep_error *err = l->shows_diff ? of_diff(l, by, &r) : of_profile(l, by, &r);

	if (err)
		rows_release(&r);
	else
		*ret = r;
	return err;
}

/* ---- order ----------------------------------------------------------------------------------------------- */

struct order {
	const struct look *look;
	enum group_by by;
	enum rows_order order;
};

static int compare(uint64_t a, uint64_t b)
{
	return a > b ? -1 : a < b;
}

static int64_t change_of(const struct row *r)
{
	return (int64_t)(r->total - r->total_base);
}

static int by_order(const void *a, const void *b, void *arg)
{
	const struct row *x = a, *y = b;
	const struct order *o = arg;
	int c = 0;

	switch (o->order) {
	case ROWS_SELF:
		c = compare(x->self, y->self);
		break;
	case ROWS_GROWTH:
		c = change_of(x) > change_of(y) ? -1 : change_of(x) < change_of(y);
		break;
	case ROWS_BLOCKS:
		c = compare(x->blocks, y->blocks);
		break;
	case ROWS_ALLOC:
		c = compare(x->group.self.value[MEASURE_ALLOC].bytes,
		            y->group.self.value[MEASURE_ALLOC].bytes);
		break;
	case ROWS_AGE:
		c = x->group.self.oldest < y->group.self.oldest
		            ? -1
		            : x->group.self.oldest > y->group.self.oldest;
		break;
	case ROWS_NAME: {
		const char *p = group_name(o->look->v, o->by, &x->group);
		const char *q = group_name(o->look->v, o->by, &y->group);

		c = strcmp(p ? p : "\xff", q ? q : "\xff");
		break;
	}
	case ROWS_VALUE:
	case ROWS_TOTAL:
		c = compare(x->total > x->total_base ? x->total : x->total_base,
		            y->total > y->total_base ? y->total : y->total_base);
		break;
	}
	return c ? c : x->group.id < y->group.id ? -1 : x->group.id > y->group.id;
}

void rows_sort(const struct look *l, struct rows *r, enum rows_order order)
{
	struct order o = { .look = l, .by = r->by, .order = order };

	qsort_r(r->items, r->n, sizeof(*r->items), by_order, &o);
}

static bool has_text(const struct look *l, const struct rows *r, const struct row *row,
                     const char *text)
{
	const char *name = group_name(l->v, r->by, &row->group);

	if (name && strcasestr(name, text))
		return true;
	for (uint32_t n = r->by == GROUP_SITE ? row->group.id : 0; n; n = l->v->nodes[n].parent) {
		const struct view_location *at = &l->v->locations[l->v->nodes[n].location];

		if ((at->function && strcasestr(at->function, text)) ||
		    (at->file && strcasestr(at->file, text)))
			return true;
	}
	return false;
}

void rows_filter(const struct look *l, struct rows *r, const char *text)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		if (has_text(l, r, &r->items[i], text))
			r->items[n++] = r->items[i];
	r->n = n;
}

/* ---- stacks --------------------------------------------------------------------------------------------------- */

void rows_put_stack(const struct look *l, struct frames *f, uint32_t node, struct jsonw *j)
{
	uint32_t culprit = view_culprit(l->v, node);
	int64_t here = STORE_NONE, depth = 0;

	jw_array(j, "stack");
	for (uint32_t n = node; n; n = l->v->nodes[n].parent, depth++) {
		jw_u64(j, NULL, stacks_frame(f, l->v->nodes[n].location));
		if (n == culprit)
			here = depth;
	}
	jw_array_end(j);
	jw_int(j, "look_here", here);
}

int64_t rows_age(const struct look *l, const struct row *row)
{
	const struct profile *p = look_profile(l);

	if (row->group.self.oldest == UINT64_MAX || row->group.self.oldest > p->duration_ns)
		return STORE_NONE;
	return (int64_t)(p->duration_ns - row->group.self.oldest);
}
