/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds whom among the lost.
 *
 * Strongly connected components (Tarjan's algorithm with a stack of its own) turn the graph
 * into one without cycles.  A component that no other points to is a leader: its lowest
 * block is definite, all other lost blocks are indirect.
 *
 * A leader is credited with what it dominates.  No dominator tree is needed for that: a path from
 * outside begins at a leader, and no path leads through another one, as nothing points to it.
 * So a component is dominated by a leader exactly when no other leader gets to it: one pass in topological
 * order hands each component its owner, or SHARED when two meet.
 */
#include "analysis/reach_lost.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/large.h"
#include "proc/image.h"

#define WINDOW ((size_t)1 << 20)
#define GAP 4096
#define NONE UINT32_MAX
#define SHARED (UINT32_MAX - 1)

struct graph {
	const uint32_t *lost;
	uint32_t n;
	size_t *first; /* n + 1: edges of a node */
	uint32_t *edges;
	size_t nedges, cap;
	uint32_t *comp; /* component of a node; successors of a component have lower numbers */
	uint32_t ncomps;
};

static int add_edge(struct graph *g, uint32_t from, uint32_t to)
{
	/* Arrays of equal pointers are common; other repetitions do no harm. */
	if (g->nedges > g->first[from] && g->edges[g->nedges - 1] == to)
		return 0;
	if (g->nedges == g->cap) {
		size_t cap = g->cap ? g->cap + g->cap / 2 : 1024;
		void *p = reallocarray(g->edges, cap, sizeof(*g->edges));

		if (!p)
			return -ENOMEM;
		g->edges = p;
		g->cap = cap;
	}
	g->edges[g->nedges++] = to;
	return 0;
}

static int scan(struct graph *g, uint32_t from, const struct index *ix, const struct reader *r,
                uint64_t start, uint64_t end, const struct reach_options *opts)
{
	uint64_t step = opts->unaligned ? 1 : 8;
	uint64_t mask = opts->pointer_mask ? opts->pointer_mask : UINT64_MAX;

	if (!opts->unaligned)
		start = (start + 7) & ~UINT64_C(7);
	for (; start + 8 <= end; start += step) {
		uint32_t b = index_find(ix, reader_word(r, start) & mask), to;

		if (b == NO_BLOCK)
			continue;
		to = index_lost_number(ix, b);
		if (to != NO_BLOCK && add_edge(g, from, to) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Lost blocks are read in ascending order, close ones together. */
static int read_edges(struct graph *g, const struct image *img, const struct index *ix,
                      const struct reach_options *opts, struct lost_sums *sums)
{
	const struct block *blocks = ix->blocks;
	struct reader r;
	int err = reader_init(&r, img, WINDOW);

	for (uint32_t i = 0; !err && i < g->n; i++) {
		const struct block *b = &blocks[g->lost[i]];
		uint64_t at = b->address, end = block_end(b);

		g->first[i] = g->nedges;
		sums->scanned += end - at;
		while (!err && at < end) {
			uint64_t from = at & ~UINT64_C(7), to = end;

			if (to - from > WINDOW)
				to = from + WINDOW;
			if (!reader_has(&r, from, to)) {
				uint64_t ahead = to;

				for (uint32_t j = i + 1; j < g->n; j++) {
					uint64_t e = block_end(&blocks[g->lost[j]]);

					if (blocks[g->lost[j]].address > ahead + GAP ||
					    e - from > WINDOW)
						break;
					ahead = e;
				}
				reader_fill(&r, from, ahead, NULL);
			}
			err = scan(g, i, ix, &r, at, to, opts);
			sums->unreadable += reader_unreadable(&r, at, to);
			at = to < end && opts->unaligned ? to - 7 : to;
		}
	}
	g->first[g->n] = g->nedges;
	reader_release(&r);
	return err;
}

/* Tarjan's, with low links kept in index[] and the way down on `path`. */
static int components(struct graph *g, struct lost_sums *sums)
{
	size_t n = g->n;
	_cleanup_free_ uint32_t *index = large_zero((n + 1) * sizeof(*index)); /* 0: not seen */
	_cleanup_free_ uint32_t *low = large_alloc((n + 1) * sizeof(*low));
	_cleanup_free_ uint32_t *open = large_alloc((n + 1) * sizeof(*open));
	_cleanup_free_ uint32_t *path = large_alloc((n + 1) * sizeof(*path));
	_cleanup_free_ size_t *next = large_alloc((n + 1) * sizeof(*next));
	uint32_t seen = 0, nopen = 0;

	if (!index || !low || !open || !path || !next)
		return -ENOMEM;
	sums->memory += n * (4 * sizeof(uint32_t) + sizeof(size_t));
	for (uint32_t i = 0; i < g->n; i++)
		g->comp[i] = NONE;
	for (uint32_t root = 0; root < g->n; root++) {
		uint32_t depth = 0;

		if (index[root])
			continue;
		index[root] = low[root] = ++seen;
		next[root] = g->first[root];
		open[nopen++] = root;
		path[depth++] = root;
		while (depth) {
			uint32_t v = path[depth - 1];

			if (next[v] < g->first[v + 1]) {
				uint32_t to = g->edges[next[v]++];

				if (!index[to]) {
					index[to] = low[to] = ++seen;
					next[to] = g->first[to];
					open[nopen++] = to;
					path[depth++] = to;
				} else if (g->comp[to] == NONE && index[to] < low[v]) {
					low[v] = index[to];
				}
				continue;
			}
			depth--;
			if (depth && low[v] < low[path[depth - 1]])
				low[path[depth - 1]] = low[v];
			if (low[v] == index[v]) {
				uint32_t u;

				do {
					u = open[--nopen];
					g->comp[u] = g->ncomps;
				} while (u != v);
				g->ncomps++;
			}
		}
	}
	return 0;
}

static void set_class(struct block *b, enum reach_class class, bool cycle)
{
	b->flags = (uint16_t)((b->flags & ~(BLOCK_CLASS_MASK | BLOCK_CYCLE)) |
	                      class << BLOCK_CLASS_SHIFT | (cycle ? BLOCK_CYCLE : 0));
}

/* A component: its lowest node, how many it has, and the leader that alone gets to it. */
struct comp {
	uint32_t lowest, size, owner;
	bool cycle; /* of several, or of one that points to itself */
	uint64_t bytes;
	size_t first; /* of its nodes in order[] */
};

static void own(struct comp *c, uint32_t owner)
{
	c->owner = c->owner == NONE || c->owner == owner ? owner : SHARED;
}

static int leaders(struct graph *g, struct block *blocks, struct reach_leader **ret_leaders,
                   size_t *ret_n, struct lost_sums *sums)
{
	_cleanup_free_ struct comp *comps = large_alloc((g->ncomps + 1) * sizeof(*comps));
	_cleanup_free_ uint32_t *order = large_alloc(((size_t)g->n + 1) * sizeof(*order));
	_cleanup_free_ uint32_t *leader_of = large_alloc(((size_t)g->n + 1) * sizeof(*leader_of));
	struct reach_leader *out;
	size_t nleaders = 0, at = 0;

	if (!comps || !order || !leader_of)
		return -ENOMEM;
	sums->memory += g->ncomps * sizeof(*comps) + (size_t)g->n * 2 * sizeof(*order);
	for (uint32_t i = 0; i < g->ncomps; i++)
		comps[i] = (struct comp){ .lowest = NONE, .owner = NONE };
	for (uint32_t i = 0; i < g->n; i++) {
		struct comp *c = &comps[g->comp[i]];

		if (c->lowest == NONE)
			c->lowest = i;
		c->size++;
		c->bytes += blocks[g->lost[i]].size;
	}
	for (uint32_t i = 0; i < g->ncomps; i++) {
		comps[i].first = at;
		at += comps[i].size;
		comps[i].size = 0;
	}
	for (uint32_t i = 0; i < g->n; i++) {
		struct comp *c = &comps[g->comp[i]];

		order[c->first + c->size++] = i;
	}
	/* Those that point come before those pointed to: from the highest number down. */
	for (uint32_t i = g->ncomps; i-- > 0;) {
		struct comp *c = &comps[i];

		if (c->owner == NONE) {
			c->owner = i;
			nleaders++;
		}
		for (size_t k = c->first; k < c->first + c->size; k++)
			for (size_t e = g->first[order[k]]; e < g->first[order[k] + 1]; e++)
				if (g->comp[g->edges[e]] == i)
					c->cycle = true;
				else
					own(&comps[g->comp[g->edges[e]]], c->owner);
	}
	out = large_alloc((nleaders + 1) * sizeof(*out));
	if (!out)
		return -ENOMEM;
	at = 0;
	for (uint32_t i = 0; i < g->n; i++) {
		uint32_t id = g->comp[i];
		struct block *b = &blocks[g->lost[i]];
		bool leads = comps[id].owner == id && comps[id].lowest == i;

		set_class(b, leads ? REACH_DEFINITE : REACH_INDIRECT, leads && comps[id].cycle);
		if (leads) {
			leader_of[id] = (uint32_t)at;
			out[at++] = (struct reach_leader){ .block = g->lost[i],
				                           .indirect_bytes = -(uint64_t)b->size,
				                           .indirect_blocks = UINT64_MAX,
				                           .cycle = comps[id].cycle };
		}
	}
	/* Each began at minus itself. */
	for (uint32_t i = 0; i < g->ncomps; i++) {
		if (comps[i].owner == SHARED)
			continue;
		out[leader_of[comps[i].owner]].indirect_blocks += comps[i].size;
		out[leader_of[comps[i].owner]].indirect_bytes += comps[i].bytes;
	}
	*ret_leaders = out;
	*ret_n = nleaders;
	return 0;
}

int lost_classify(const struct image *img, struct index *ix, struct block *blocks,
                  const uint32_t *lost, uint32_t nlost, const struct reach_options *opts,
                  struct reach_leader **ret_leaders, size_t *ret_n, struct lost_sums *ret_sums)
{
	struct graph g = { .lost = lost, .n = nlost };
	int r = -ENOMEM;

	*ret_sums = (struct lost_sums){ 0 };
	index_count_lost(ix);
	g.first = large_alloc(((size_t)nlost + 1) * sizeof(*g.first));
	g.comp = large_alloc(((size_t)nlost + 1) * sizeof(*g.comp));
	if (g.first && g.comp)
		r = read_edges(&g, img, ix, opts, ret_sums);
	ret_sums->memory += (size_t)nlost * (sizeof(*g.first) + sizeof(*g.comp)) +
	                    g.cap * sizeof(*g.edges);
	if (!r)
		r = components(&g, ret_sums);
	if (!r)
		r = leaders(&g, blocks, ret_leaders, ret_n, ret_sums);
	free(g.first);
	free(g.comp);
	free(g.edges);
	return r;
}
