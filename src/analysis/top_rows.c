/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows: values and movements by site, function, module, thread or kind.
 *
 * Values come from groups_collect(), as in a report.  Movements are added here, to the same groups: first for
 * every shown stack, then for the functions or modules on it, once each, like the values.
 */
#include "analysis/top.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/view.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "profile/estimate.h"
#include "profile/profile.h"

#define NO_ROW UINT32_MAX

struct movement {
	int64_t delta, base, base_blocks;
	double growth, rate;
};

static void add(struct top_row *row, const struct movement *m)
{
	row->delta += m->delta;
	row->base += m->base;
	row->base_blocks += m->base_blocks;
	row->growth += m->growth;
	row->rate += m->rate;
}

static int64_t less(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b);
}

static double average(const struct top *t, uint64_t bytes)
{
	return t->profile->duration_ns ? (double)bytes * 1e9 / (double)t->profile->duration_ns : 0;
}

static struct movement site_movement(const struct top *t, size_t i)
{
	const struct top_site *s = &t->sites[i];
	struct movement m = {
		.delta = t->readings > 1 ? s->delta : 0,
		.growth = t->average ? average(t, s->bytes) : s->growth / t->weight,
		.rate = t->average ? average(t, s->alloc) : s->rate / t->weight,
	};

	if (t->based) {
		m.base = less(s->bytes, s->base_bytes);
		m.base_blocks = less(s->blocks, s->base_blocks);
	}
	return m;
}

static struct movement cell_movement(const struct top *t, const struct top_cell *c)
{
	struct movement m = {
		.delta = t->readings > 1 ? c->delta : 0,
		.growth = t->average ? average(t, c->bytes) : c->growth / t->weight,
	};

	if (t->based) {
		m.base = less(c->bytes, c->base_bytes);
		m.base_blocks = less(c->blocks, c->base_blocks);
	}
	return m;
}

/* ---- keys ------------------------------------------------------------------------- */

static const char *module_path(const struct top *t, uint32_t module)
{
	return module < t->profile->nmodules ? t->profile->modules[module].path : NULL;
}

/* Functions have other numbers when the view is made again, but not other names. */
static uint64_t code_key(const struct top *t, enum group_by by, uint32_t id)
{
	const struct view_function *f;

	if (by == GROUP_MODULE)
		return hash_str(module_path(t, id));
	if (id >= t->view->nfunctions)
		return UINT64_MAX;
	f = &t->view->functions[id];
	return hash_mix(hash_str(f->name), hash_str(module_path(t, f->module)));
}

/* ---- rows from groups ------------------------------------------------------------- */

static struct top_row row_of(const struct group *g)
{
	return (struct top_row){
		.id = g->id,
		.kind = g->kind,
		.cut = g->cut,
		.inuse = g->total.value[MEASURE_INUSE],
		.alloc = g->total.value[MEASURE_ALLOC],
		.self = g->self.value[MEASURE_INUSE],
		.samples = g->total.inuse_samples,
		.oldest = g->total.oldest,
	};
}

static struct seep_error *rows_of(const struct top *t, enum group_by by, struct top_rows *ret_rows)
{
	_cleanup_groups_ struct groups g = { 0 };
	struct seep_error *err = groups_collect(t->view, by, &g);
	struct top_rows rows = { .by = by };

	if (err)
		return err;
	rows.items = calloc(g.n + 1, sizeof(*rows.items));
	if (!rows.items)
		return &seep_error_nomem;
	rows.n = g.n;
	for (size_t i = 0; i < g.n; i++)
		rows.items[i] = row_of(&g.items[i]);
	rows.sum = row_of(&(struct group){ .self = g.sum, .total = g.sum });
	*ret_rows = rows;
	return NULL;
}

/* Movements of sites into rows by site, and keys: of each the first of its sites. */
static int move_sites(const struct top *t, struct top_rows *rows)
{
	size_t slots = t->view->nnodes * PROF_NKINDS;
	_cleanup_free_ uint32_t *row_at = malloc(slots * sizeof(*row_at));

	if (!row_at)
		return -1;
	memset(row_at, 0xff, slots * sizeof(*row_at));
	for (size_t i = 0; i < rows->n; i++) {
		row_at[rows->items[i].id * (size_t)PROF_NKINDS + rows->items[i].kind] = (uint32_t)i;
		rows->items[i].key = UINT64_MAX;
	}
	for (size_t i = 0; i < t->profile->nsites; i++) {
		uint32_t node = t->view->site_node[i], at;
		struct movement m;

		if (node == VIEW_DROPPED)
			continue;
		at = row_at[node * (size_t)PROF_NKINDS + t->profile->sites[i].kind];
		if (at == NO_ROW)
			continue;
		m = site_movement(t, i);
		add(&rows->items[at], &m);
		add(&rows->sum, &m);
		if (rows->items[at].key > i)
			rows->items[at].key = i;
	}
	return 0;
}

static struct movement movement_of(const struct top_row *row)
{
	return (struct movement){ row->delta, row->base, row->base_blocks, row->growth, row->rate };
}

static size_t code_slot(const struct top *t, enum group_by by, uint32_t id)
{
	size_t n = by == GROUP_FUNCTION ? t->view->nfunctions : t->profile->nmodules;

	return id < n ? id : n; /* the last: unknown */
}

/* The function or module of a node, as code_slot() has it; node 0: unknown. */
static size_t node_slot(const struct top *t, enum group_by by, uint32_t node)
{
	const struct view_location *l = &t->view->locations[t->view->nodes[node].location];

	return code_slot(t, by, !node ? UINT32_MAX : by == GROUP_FUNCTION ? l->func : l->module);
}

static int move_code(const struct top *t, const struct top_rows *sites, struct top_rows *rows)
{
	size_t n = code_slot(t, rows->by, UINT32_MAX) + 1;
	_cleanup_free_ uint32_t *row_at = malloc(n * sizeof(*row_at));
	_cleanup_free_ uint32_t *stamp = calloc(n, sizeof(*stamp));

	if (!row_at || !stamp)
		return -1;
	memset(row_at, 0xff, n * sizeof(*row_at));
	for (size_t i = 0; i < rows->n; i++) {
		row_at[code_slot(t, rows->by, rows->items[i].id)] = (uint32_t)i;
		rows->items[i].key = code_key(t, rows->by, rows->items[i].id);
	}
	for (size_t i = 0; i < sites->n; i++) {
		struct movement m = movement_of(&sites->items[i]);
		uint32_t node = sites->items[i].id;

		do {
			size_t slot = node_slot(t, rows->by, node);

			if (stamp[slot] != i + 1 && row_at[slot] != NO_ROW)
				add(&rows->items[row_at[slot]], &m);
			stamp[slot] = (uint32_t)i + 1;
			node = node ? t->view->nodes[node].parent : 0;
		} while (node);
	}
	rows->sum = sites->sum;
	return 0;
}

static void move_kinds(const struct top_rows *sites, struct top_rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		rows->items[i].key = rows->items[i].kind;
		for (size_t j = 0; j < sites->n; j++) {
			struct movement m = movement_of(&sites->items[j]);

			if (sites->items[j].kind == rows->items[i].kind)
				add(&rows->items[i], &m);
		}
	}
	rows->sum = sites->sum;
}

static bool cell_shown(const struct top *t, const struct top_cell *c)
{
	return c->site < t->profile->nsites && t->view->site_node[c->site] != VIEW_DROPPED;
}

static int move_threads(const struct top *t, struct top_rows *rows)
{
	_cleanup_free_ uint32_t *row_at = malloc((t->profile->nthreads + 1) * sizeof(*row_at));

	if (!row_at)
		return -1;
	memset(row_at, 0xff, (t->profile->nthreads + 1) * sizeof(*row_at));
	for (size_t i = 0; i < rows->n; i++) {
		row_at[rows->items[i].id] = (uint32_t)i;
		rows->items[i].key = rows->items[i].id;
	}
	for (size_t i = 0; i < t->ncells; i++) {
		const struct top_cell *c = &t->cells[i];
		struct movement m;

		if (!cell_shown(t, c))
			continue;
		m = cell_movement(t, c);
		add(&rows->sum, &m);
		if (c->thread < t->profile->nthreads && row_at[c->thread] != NO_ROW)
			add(&rows->items[row_at[c->thread]], &m);
	}
	return 0;
}

static bool at_rest(const struct top *t, const struct top_row *r)
{
	const struct top_options *o = &t->options;

	if (r->inuse.bytes || r->inuse.blocks)
		return false;
	if (o->min_age || o->min_size || o->max_size)
		return true; /* asked for are blocks of some kind, and it has none */
	return !r->delta && !r->base && !r->base_blocks && fabs(r->growth) < 1 && r->rate < 1;
}

static void drop_resting(const struct top *t, struct top_rows *rows)
{
	size_t n = 0;

	for (size_t i = 0; i < rows->n; i++)
		if (!at_rest(t, &rows->items[i]))
			rows->items[n++] = rows->items[i];
	rows->n = n;
}

static struct seep_error *site_rows(const struct top *t, struct top_rows *ret_rows)
{
	struct seep_error *err = rows_of(t, GROUP_SITE, ret_rows);

	if (!err && move_sites(t, ret_rows) < 0)
		err = &seep_error_nomem;
	return err;
}

struct seep_error *top_rows_make(const struct top *t, enum group_by by, struct top_rows *ret_rows)
{
	_cleanup_top_rows_ struct top_rows rows = { 0 }, sites = { 0 };
	struct seep_error *err = by == GROUP_THREAD ? NULL : site_rows(t, &sites);

	if (err)
		return err;
	if (by == GROUP_SITE) {
		rows = sites;
		memset(&sites, 0, sizeof(sites));
	} else {
		err = rows_of(t, by, &rows);
	}
	if (err)
		return err;
	if (by == GROUP_KIND)
		move_kinds(&sites, &rows);
	if ((by == GROUP_THREAD && move_threads(t, &rows) < 0) ||
	    ((by == GROUP_FUNCTION || by == GROUP_MODULE) && move_code(t, &sites, &rows) < 0))
		return &seep_error_nomem;
	drop_resting(t, &rows);
	*ret_rows = rows;
	memset(&rows, 0, sizeof(rows));
	return NULL;
}

void top_rows_release(struct top_rows *rows)
{
	free(rows->items);
	memset(rows, 0, sizeof(*rows));
}

/* ---- the sites of a row ------------------------------------------------------------- */

static bool passes(const struct top *t, enum group_by by, uint32_t node, size_t slot)
{
	do {
		if (node_slot(t, by, node) == slot)
			return true;
		node = node ? t->view->nodes[node].parent : 0;
	} while (node);
	return false;
}

/* What one thread has of each site: rows->items come with all the site has. */
static int only_thread(const struct top *t, uint32_t thread, struct top_rows *rows)
{
	size_t slots = t->view->nnodes * PROF_NKINDS;
	_cleanup_free_ uint32_t *row_at = malloc(slots * sizeof(*row_at));
	const struct profile *p = t->profile;

	if (!row_at)
		return -1;
	memset(row_at, 0xff, slots * sizeof(*row_at));
	memset(&rows->sum, 0, sizeof(rows->sum));
	for (size_t i = 0; i < rows->n; i++) {
		struct top_row *r = &rows->items[i];

		row_at[r->id * (size_t)PROF_NKINDS + r->kind] = (uint32_t)i;
		*r = (struct top_row){ .key = r->key,
			               .id = r->id,
			               .kind = r->kind,
			               .cut = r->cut,
			               .oldest = UINT64_MAX };
	}
	for (size_t i = 0; i < t->ncells; i++) {
		const struct top_cell *c = &t->cells[i];
		struct movement m;
		uint32_t at;

		if (c->thread != thread || !cell_shown(t, c))
			continue;
		at = row_at[t->view->site_node[c->site] * (size_t)PROF_NKINDS + p->sites[c->site].kind];
		if (at == NO_ROW)
			continue;
		m = cell_movement(t, c);
		add(&rows->items[at], &m);
	}
	for (size_t i = 0; i < p->ncells; i++) {
		const struct prof_cell *c = &p->cells[i];
		uint32_t at;

		if (c->thread != thread || t->view->site_node[c->site] == VIEW_DROPPED)
			continue;
		at = row_at[t->view->site_node[c->site] * (size_t)PROF_NKINDS + p->sites[c->site].kind];
		if (at == NO_ROW)
			continue;
		prof_value_add(&rows->items[at].inuse, &c->inuse);
		rows->items[at].samples += prof_effective_samples(&c->inuse);
	}
	drop_resting(t, rows);
	return 0;
}

struct seep_error *top_rows_within(const struct top *t, enum group_by by, const struct top_row *row,
                                   struct top_rows *ret_rows)
{
	_cleanup_top_rows_ struct top_rows rows = { 0 };
	struct seep_error *err = site_rows(t, &rows);
	size_t n = 0;

	if (err)
		return err;
	if (by == GROUP_THREAD) {
		if (only_thread(t, row->id, &rows) < 0)
			return &seep_error_nomem;
		n = rows.n;
	}
	for (size_t i = 0; by != GROUP_THREAD && i < rows.n; i++) {
		const struct top_row *r = &rows.items[i];
		bool in = by == GROUP_SITE   ? r->id == row->id && r->kind == row->kind
		          : by == GROUP_KIND ? r->kind == row->kind
		                             : passes(t, by, r->id, code_slot(t, by, row->id));

		if (in && !at_rest(t, r))
			rows.items[n++] = *r;
	}
	rows.n = n;
	*ret_rows = rows;
	memset(&rows, 0, sizeof(rows));
	return NULL;
}

/* ---- order ----------------------------------------------------------------------------- */

struct sort_key {
	double value; /* descending */
	const char *name;
	uint64_t inuse, key;
	uint32_t index;
	bool runtime; /* of the language's or the system's: after those of the program */
};

static int compare(const void *a, const void *b)
{
	const struct sort_key *x = a, *y = b;

	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	if (x->name != y->name) {
		int r = !x->name ? 1 : !y->name ? -1 : strcmp(x->name, y->name);

		if (r)
			return r;
	}
	if (x->inuse != y->inuse)
		return x->inuse > y->inuse ? -1 : 1;
	if (x->runtime != y->runtime)
		return x->runtime ? 1 : -1;
	return x->key < y->key ? -1 : x->key > y->key;
}

static struct sort_key sort_key(const struct top *t, enum group_by by, enum top_order order,
                                const struct top_row *r)
{
	struct sort_key k = { .inuse = r->inuse.bytes, .key = r->key };

	if (by == GROUP_FUNCTION && r->id < t->view->nfunctions)
		k.runtime = t->view->functions[r->id].runtime;

	switch (order) {
	case TOP_INUSE:
	case TOP_NORDERS:
		k.value = (double)r->inuse.bytes;
		break;
	case TOP_BLOCKS:
		k.value = (double)r->inuse.blocks;
		break;
	case TOP_GROWTH:
		k.value = r->growth;
		break;
	case TOP_BASE:
		k.value = (double)(t->based ? r->base : r->delta);
		break;
	case TOP_RATE:
		k.value = r->rate;
		break;
	case TOP_AGE:
		k.value = r->oldest == UINT64_MAX ? -INFINITY : -(double)r->oldest;
		break;
	case TOP_NAME:
		k.name = top_row_name(t, by, r);
		break;
	}
	return k;
}

void top_rows_sort(const struct top *t, struct top_rows *rows, enum top_order order, bool reverse)
{
	_cleanup_free_ struct sort_key *keys = calloc(rows->n + 1, sizeof(*keys));
	_cleanup_free_ struct top_row *sorted = calloc(rows->n + 1, sizeof(*sorted));

	/* Without the memory the order stays as it is: the numbers are right all the same. */
	if (!keys || !sorted)
		return;
	for (size_t i = 0; i < rows->n; i++) {
		keys[i] = sort_key(t, rows->by, order, &rows->items[i]);
		keys[i].index = (uint32_t)i;
	}
	qsort(keys, rows->n, sizeof(*keys), compare);
	for (size_t i = 0; i < rows->n; i++)
		sorted[reverse ? rows->n - 1 - i : i] = rows->items[keys[i].index];
	memcpy(rows->items, sorted, rows->n * sizeof(*sorted));
}

/* ---- what a row is -------------------------------------------------------------------------- */

uint32_t top_row_location(const struct top *t, enum group_by by, const struct top_row *row)
{
	uint32_t node;

	if (by != GROUP_SITE || !row->id)
		return UINT32_MAX;
	node = view_culprit(t->view, row->id);
	return t->view->nodes[node ? node : row->id].location;
}

const char *top_row_name(const struct top *t, enum group_by by, const struct top_row *row)
{
	return group_name(t->view, by, &(struct group){ .id = row->id, .kind = row->kind });
}

uint64_t top_row_age(const struct top *t, const struct top_row *row)
{
	if (row->oldest == UINT64_MAX)
		return UINT64_MAX;
	return t->profile->duration_ns > row->oldest ? t->profile->duration_ns - row->oldest : 0;
}

uint64_t top_row_margin(const struct top *t, const struct top_row *row)
{
	struct prof_interval i;

	if (!t->profile->sampled)
		return 0;
	i = prof_interval_bytes(&row->inuse, row->samples, t->profile->period);
	return prof_interval_margin(&i, row->inuse.bytes);
}

/* ---- blocks of a row -------------------------------------------------------------------------- */

static int oldest_first(const void *a, const void *b, void *arg)
{
	const struct prof_block *blocks = arg, *x = &blocks[*(const uint32_t *)a],
				*y = &blocks[*(const uint32_t *)b];

	if (x->born != y->born)
		return x->born < y->born ? -1 : 1;
	return x->address < y->address ? -1 : x->address > y->address;
}

struct seep_error *top_row_blocks(const struct top *t, const struct top_row *row,
                                  uint32_t **ret_blocks, size_t *ret_n)
{
	const struct profile *p = t->profile;
	uint32_t *blocks = calloc(p->nblocks + 1, sizeof(*blocks));
	size_t n = 0;

	if (!blocks)
		return &seep_error_nomem;
	for (size_t i = 0; i < p->nblocks; i++)
		if (t->view->site_node[p->blocks[i].site] == row->id &&
		    p->sites[p->blocks[i].site].kind == row->kind)
			blocks[n++] = (uint32_t)i;
	qsort_r(blocks, n, sizeof(*blocks), oldest_first, p->blocks);
	*ret_blocks = blocks;
	*ret_n = n;
	return NULL;
}
