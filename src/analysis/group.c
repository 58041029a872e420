/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grouping is hash-based and linear: one pass over the sites fills one group for
 * every (node, kind); functions and modules are then summed over those groups
 * rather than over sites, walking each distinct stack once.  "Once per stack" is
 * kept by stamping a group with the stack it was last counted for.
 */
#include "analysis/group.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/view.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "base/large.h"
#include "profile/estimate.h"
#include "wire/ledger.h"

_Static_assert(PROF_LIFE_BUCKETS == LEDGER_LIFE_BUCKETS, "one histogram");

uint64_t measure_of(const struct prof_value *v, bool blocks)
{
	return blocks ? v->blocks : v->bytes;
}

uint64_t group_measure(const struct group_sum *s, struct measure m)
{
	return measure_of(&s->value[m.value], m.blocks);
}

void group_sum_add(struct group_sum *to, const struct group_sum *s)
{
	for (size_t i = 0; i < MEASURE_NVALUES; i++)
		prof_value_add(&to->value[i], &s->value[i]);
	to->samples += s->samples;
	to->inuse_samples += s->inuse_samples;
	to->sites += s->sites;
	if (s->oldest < to->oldest)
		to->oldest = s->oldest;
}

uint64_t group_samples(const struct group_sum *s, enum measure_value m)
{
	if (m == MEASURE_INUSE)
		return s->inuse_samples;
	if (m == MEASURE_ALLOC)
		return s->samples;
	if (m == MEASURE_FREED && s->samples > s->inuse_samples)
		return s->samples - s->inuse_samples;
	return prof_effective_samples(&s->value[m]);
}

static struct group_sum site_sum(const struct prof_site *s)
{
	return (struct group_sum){
		.value = { s->inuse, s->alloc, s->freed, s->peak },
		.samples = s->samples,
		.inuse_samples = s->inuse_samples,
		.oldest = s->oldest,
		.sites = 1,
	};
}

static const struct group_sum sum_none = { .oldest = UINT64_MAX };

struct group_sum groups_total(const struct view *v, const struct profile *p, const uint32_t *site_of)
{
	struct group_sum total = sum_none;

	for (size_t i = 0; i < p->nsites; i++) {
		struct group_sum sum = site_sum(&p->sites[i]);

		if (v->site_node[site_of ? site_of[i] : i] != VIEW_DROPPED)
			group_sum_add(&total, &sum);
	}
	return total;
}

static int groups_alloc(struct groups *g, size_t n)
{
	g->items = large_alloc(n * sizeof(*g->items));
	if (!g->items)
		return -1;
	for (size_t i = 0; i < n; i++)
		g->items[i] = (struct group){ .self = sum_none, .total = sum_none };
	return 0;
}

static int by_site(const struct view *v, struct groups *g)
{
	_cleanup_idmap_ struct idmap map = { 0 };
	const struct profile *p = v->profile;

	if (groups_alloc(g, p->nsites) < 0)
		return -1;
	for (size_t i = 0; i < p->nsites; i++) {
		const struct prof_site *s = &p->sites[i];
		struct group_sum sum = site_sum(s);
		uint64_t hash = hash_mix(v->site_node[i], s->kind);
		size_t pos = idmap_first(&map, hash);
		struct group *to = NULL;
		uint32_t id;

		if (v->site_node[i] == VIEW_DROPPED)
			continue;
		while (!to && idmap_get(&map, &pos, hash, &id))
			if (g->items[id].id == v->site_node[i] && g->items[id].kind == s->kind)
				to = &g->items[id];
		if (!to) {
			if (idmap_add(&map, hash, (uint32_t)g->n) < 0)
				return -1;
			to = &g->items[g->n++];
			to->id = v->site_node[i];
			to->kind = s->kind;
		}
		to->cut |= s->cut_depth || s->cut_no_cfi;
		group_sum_add(&to->self, &sum);
		group_sum_add(&g->sum, &sum);
	}
	return 0;
}

/* Sums the site groups `sites` by function or by module; both keep an own group for stacks unknown. */
static int by_code(const struct view *v, bool by_function, const struct groups *sites,
                   struct groups *g)
{
	size_t n = by_function ? v->nfunctions : v->profile->nmodules + 1;
	_cleanup_free_ size_t *stamp = calloc(n, sizeof(*stamp));

	if (!stamp || groups_alloc(g, n + 1) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		g->items[i].id = (uint32_t)i;
	g->items[n].id = UINT32_MAX; /* stack unknown */
	if (!by_function)
		g->items[n - 1].id = PROF_NO_MODULE;
	for (size_t i = 0; i < sites->n; i++) {
		const struct group *s = &sites->items[i];

		if (!s->id) {
			size_t k = by_function ? n : n - 1;

			group_sum_add(&g->items[k].self, &s->self);
			group_sum_add(&g->items[k].total, &s->self);
		}
		for (uint32_t node = s->id; node; node = v->nodes[node].parent) {
			const struct view_location *l = &v->locations[v->nodes[node].location];
			size_t k = by_function                   ? l->func
			           : l->module == PROF_NO_MODULE ? n - 1
			                                         : l->module;

			if (node == s->id)
				group_sum_add(&g->items[k].self, &s->self);
			if (stamp[k] == i + 1)
				continue;
			stamp[k] = i + 1;
			group_sum_add(&g->items[k].total, &s->self);
		}
	}
	for (size_t i = 0; i <= n; i++)
		if (g->items[i].total.sites)
			g->items[g->n++] = g->items[i];
	g->sum = sites->sum;
	return 0;
}

static int by_thread(const struct view *v, struct groups *g)
{
	const struct profile *p = v->profile;

	if (groups_alloc(g, p->nthreads) < 0)
		return -1;
	for (size_t i = 0; i < p->nthreads; i++)
		g->items[i].id = (uint32_t)i;
	for (size_t i = 0; i < p->ncells; i++) {
		const struct prof_cell *c = &p->cells[i];
		struct group_sum sum = { .value = { c->inuse }, .oldest = UINT64_MAX, .sites = 1 };

		if (v->site_node[c->site] == VIEW_DROPPED)
			continue;
		sum.inuse_samples = prof_effective_samples(&c->inuse);
		group_sum_add(&g->items[c->thread].self, &sum);
		group_sum_add(&g->sum, &sum);
	}
	for (size_t i = 0; i < p->nthreads; i++)
		if (g->items[i].self.sites)
			g->items[g->n++] = g->items[i];
	return 0;
}

static int by_kind(const struct groups *sites, struct groups *g)
{
	if (groups_alloc(g, PROF_NKINDS) < 0)
		return -1;
	for (uint8_t i = 0; i < PROF_NKINDS; i++)
		g->items[i].id = g->items[i].kind = i;
	for (size_t i = 0; i < sites->n; i++)
		group_sum_add(&g->items[sites->items[i].kind].self, &sites->items[i].self);
	for (uint8_t i = 0; i < PROF_NKINDS; i++) {
		if (!g->items[i].self.sites)
			continue;
		g->items[g->n++] = g->items[i];
		if (PROF_KIND_BIT(i) & PROF_MEMORY)
			group_sum_add(&g->sum, &g->items[i].self);
	}
	if (!g->sum.sites)
		g->sum = sites->sum;
	return 0;
}

static struct groups take_groups(struct groups *g)
{
	struct groups t = *g;

	memset(g, 0, sizeof(*g));
	return t;
}

struct seep_error *groups_collect(const struct view *v, enum group_by by, struct groups *ret_groups)
{
	_cleanup_groups_ struct groups sites = { .sum = sum_none };
	_cleanup_groups_ struct groups g = { .sum = sum_none };
	int r = 0;

	if (by == GROUP_THREAD)
		r = by_thread(v, &g);
	else if (by_site(v, &sites) < 0)
		r = -1;
	else if (by == GROUP_SITE)
		g = take_groups(&sites);
	else if (by == GROUP_KIND)
		r = by_kind(&sites, &g);
	else
		r = by_code(v, by == GROUP_FUNCTION, &sites, &g);
	if (r < 0)
		return &seep_error_nomem;
	if (by != GROUP_FUNCTION && by != GROUP_MODULE)
		for (size_t i = 0; i < g.n; i++)
			g.items[i].total = g.items[i].self;
	*ret_groups = take_groups(&g);
	return NULL;
}

struct seep_error *groups_make(const struct view *v, enum group_by by, struct measure measure,
                               struct groups *ret_groups)
{
	struct seep_error *err = groups_collect(v, by, ret_groups);

	if (!err)
		groups_sort(v, by, measure, ORDER_TOTAL, ret_groups);
	return err;
}

void groups_release(struct groups *g)
{
	free(g->items);
	memset(g, 0, sizeof(*g));
}

/* ---- order --------------------------------------------------------------- */

const char *group_name(const struct view *v, enum group_by by, const struct group *g)
{
	static const char *const kinds[PROF_NKINDS] = { "heap", "mmap", "thread stack" };

	uint32_t node;

	switch (by) {
	case GROUP_SITE:
		node = view_culprit(v, g->id);
		node = node ? node : g->id;
		return node ? v->locations[v->nodes[node].location].function : NULL;
	case GROUP_FUNCTION:
		return g->id < v->nfunctions ? v->functions[g->id].name : NULL;
	case GROUP_MODULE:
		return g->id < v->profile->nmodules ? v->profile->modules[g->id].path : NULL;
	case GROUP_THREAD:
		return v->profile->threads[g->id].name;
	case GROUP_KIND:
		return kinds[g->kind];
	}
	return NULL;
}

struct sort_key {
	uint64_t value;   /* descending */
	const char *name; /* ascending, NULL last */
	size_t index;
};

static int by_key(const void *a, const void *b)
{
	const struct sort_key *x = a, *y = b;

	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	if (x->name != y->name) {
		int r = !x->name ? 1 : !y->name ? -1 : strcmp(x->name, y->name);

		if (r)
			return r;
	}
	return x->index < y->index ? -1 : x->index > y->index;
}

static struct sort_key sort_key(const struct view *v, enum group_by by, struct measure m,
                                enum group_order order, const struct group *g)
{
	const struct prof_value *value = &g->total.value[m.value];

	switch (order) {
	case ORDER_VALUE:
		return (struct sort_key){ .value = group_measure(&g->self, m) };
	case ORDER_TOTAL:
		return (struct sort_key){ .value = group_measure(&g->total, m) };
	case ORDER_BLOCKS:
		return (struct sort_key){ .value = value->blocks };
	case ORDER_AVERAGE:
		return (struct sort_key){ .value = value->blocks ? value->bytes / value->blocks
			                                         : 0 };
	case ORDER_AGE:
		return (struct sort_key){ .value = UINT64_MAX - g->total.oldest };
	case ORDER_NAME:
		return (struct sort_key){ .name = group_name(v, by, g) };
	}
	return (struct sort_key){ 0 };
}

void groups_sort(const struct view *v, enum group_by by, struct measure measure,
                 enum group_order order, struct groups *g)
{
	_cleanup_free_ struct sort_key *keys = calloc(g->n + 1, sizeof(*keys));

	/* Without the memory the order stays as it is: the numbers are right all the same. */
	if (!keys)
		return;
	for (size_t i = 0; i < g->n; i++) {
		keys[i] = sort_key(v, by, measure, order, &g->items[i]);
		keys[i].index = i;
	}
	qsort(keys, g->n, sizeof(*keys), by_key);
	/* Moved in place, cycle by cycle: the items are the larger part of all the memory there is. */
	for (size_t i = 0; i < g->n; i++) {
		struct group held;
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

/* ---- histograms ---------------------------------------------------------- */

struct lifetimes lifetimes_make(const struct view *v)
{
	const struct profile *p = v->profile;
	struct lifetimes l = { 0 };

	for (size_t b = 0; b < PROF_LIFE_BUCKETS; b++) {
		for (size_t i = 0; p->lifetimes[b] && i < p->nsites; i++)
			if (v->site_node[i] != VIEW_DROPPED)
				l.blocks[b] += p->lifetimes[b][i];
		l.total += l.blocks[b];
	}
	return l;
}

uint64_t lifetime_bucket_ns(unsigned int bucket)
{
	return bucket ? 1ull << (bucket + LEDGER_TICK_SHIFT) : 0;
}
