/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains: a breadth-first search that remembers for each block which one led to it, four bytes a
 * block; the words themselves are found again along the one chain that is asked for.  The search goes over start and
 * benign pointers first, then over all, then over the lost blocks.
 */
#include <errno.h>
#include <stdlib.h>

#include "analysis/reach.h"
#include "analysis/reach_index.h"
#include "analysis/reach_mark.h"
#include "analysis/reach_read.h"
#include "base/error.h"
#include "proc/image.h"

#define WINDOW ((size_t)1 << 18)
#define READ_ON 1024u
#define UNSEEN UINT32_MAX
#define FROM_ROOT (UINT32_MAX - 1)

struct walk {
	const struct image *img;
	const struct reach_options *opts;
	struct index index;
	struct reader reader, probe;
	struct vtables *vtables;
	uint64_t mask;
	uint32_t *parent, *queue;
	size_t head, tail;
	uint64_t ahead; /* how far to read on */
	bool all;
	uint32_t target;
};

/* The block a word leads to by the rules in force, or NO_BLOCK. */
static uint32_t leads_to(struct walk *w, uint64_t v, struct reach_step *ret_step)
{
	uint32_t b = index_find(&w->index, v);
	const struct block *blocks = w->index.blocks;
	unsigned int found = 0;
	bool end = false;

	if (b == NO_BLOCK && !w->all && w->opts->heuristics & REACH_NEWARRAY) {
		b = v > 8 ? index_find(&w->index, v - 1) : NO_BLOCK;
		end = b != NO_BLOCK && blocks[b].size == 8 && block_end(&blocks[b]) == v;
		if (!end)
			return NO_BLOCK;
	}
	if (b == NO_BLOCK)
		return NO_BLOCK;
	if (v != blocks[b].address && w->opts->heuristics && !w->opts->interior_reachable &&
	    (w->parent[b] == UNSEEN || ret_step)) {
		w->probe.start = w->probe.end = 0;
		found = heuristics_of(w->img, &w->probe, w->vtables, &blocks[b], v,
		                      w->opts->heuristics);
	}
	if (v != blocks[b].address && !found && (end || (!w->all && !w->opts->interior_reachable)))
		return NO_BLOCK;
	if (ret_step)
		*ret_step = (struct reach_step){ .to = v,
			                         .block = b,
			                         .interior = v != blocks[b].address,
			                         .heuristic = found & -found };
	return b;
}

/* What is looked at next often follows what was before: then ever more is read at once. */
static void fill(struct walk *w, uint64_t at, uint64_t end)
{
	struct reader *r = &w->reader;
	struct segment *s = w->index.slots ? index_segment(&w->index, at >> SEGMENT_SHIFT) : NULL;

	if (at < r->start || at > r->end + 2 * w->ahead + READ_ON)
		w->ahead = 0;
	else if (w->ahead < WINDOW)
		w->ahead = w->ahead ? 2 * w->ahead : READ_ON;
	if (end - at < w->ahead)
		end = at + w->ahead;
	if (s)
		segment_look(s, r);
	reader_fill(r, at, end - at < WINDOW ? end : at + WINDOW, s);
}

/* Words of [start, end); stops when fn says so. */
static bool each_word(struct walk *w, uint64_t start, uint64_t end, bool unaligned,
                      bool (*fn)(struct walk *w, uint64_t at, uint64_t v, void *arg), void *arg)
{
	uint64_t step = unaligned ? 1 : 8;

	if (!unaligned)
		start = (start + 7) & ~UINT64_C(7);
	for (uint64_t at = start; at < end && end - at >= 8; at += step) {
		if (!reader_has(&w->reader, at, at + 8))
			fill(w, at, end);
		if (fn(w, at, reader_word(&w->reader, at), arg))
			return true;
	}
	return false;
}

static bool in_block(struct walk *w, uint32_t b, bool unaligned,
                     bool (*fn)(struct walk *w, uint64_t at, uint64_t v, void *arg), void *arg)
{
	const struct block *block = &w->index.blocks[b];

	return each_word(w, block->address, block_end(block), unaligned, fn, arg);
}

static bool in_root(struct walk *w, const struct root *r, bool unaligned,
                    bool (*fn)(struct walk *w, uint64_t at, uint64_t v, void *arg), void *arg)
{
	for (size_t i = 0; r->words && i < r->nwords; i++)
		if (fn(w, 0, r->words[i], arg))
			return true;
	return !r->words && each_word(w, r->start, r->end, unaligned, fn, arg);
}

static bool visit(struct walk *w, uint64_t at, uint64_t v, void *arg)
{
	uint32_t b = leads_to(w, v & w->mask, NULL);

	if (b == NO_BLOCK || w->parent[b] != UNSEEN)
		return false;
	w->parent[b] = *(const uint32_t *)arg;
	w->queue[w->tail++] = b;
	return b == w->target;
}

struct find {
	uint32_t block;
	struct reach_step step;
};

static bool is_step(struct walk *w, uint64_t at, uint64_t v, void *arg)
{
	struct find *f = arg;
	struct reach_step s;

	if (leads_to(w, v & w->mask, &s) != f->block)
		return false;
	f->step = s;
	f->step.from = at;
	return true;
}

static bool wanted(const struct walk *w, const struct root *r)
{
	return (unsigned int)r->kind < ROOT_NKINDS &&
	       (w->opts->roots ? w->opts->roots : ROOT_ALL) & ROOT_BIT(r->kind);
}

static bool spread(struct walk *w)
{
	while (w->head < w->tail) {
		uint32_t b = w->queue[w->head++];

		if (in_block(w, b, w->opts->unaligned, visit, &b))
			return true;
	}
	return false;
}

static bool search(struct walk *w, const struct root *roots, size_t nroots)
{
	uint32_t from = FROM_ROOT;

	w->head = w->tail = 0;
	memset(w->parent, 0xff, w->index.nblocks * sizeof(*w->parent));
	for (size_t i = 0; i < nroots; i++)
		if (wanted(w, &roots[i]) && in_root(w, &roots[i], w->opts->unaligned, visit, &from))
			return true;
	for (size_t i = 0; i < w->index.nblocks; i++) {
		if (!(w->index.blocks[i].flags & BLOCK_INTERNAL) || w->parent[i] != UNSEEN)
			continue;
		w->parent[i] = FROM_ROOT;
		w->queue[w->tail++] = (uint32_t)i;
		if (i == w->target)
			return true;
	}
	return spread(w);
}

/* Begins at the lost: leaders when classes are known, else every block no root leads to. */
static bool search_lost(struct walk *w)
{
	const struct block *blocks = w->index.blocks;

	for (int leaders = 1; leaders >= 0; leaders--) {
		for (size_t i = 0; i < w->index.nblocks; i++) {
			if (w->parent[i] != UNSEEN || i == w->target ||
			    (leaders && block_class(&blocks[i]) != REACH_DEFINITE))
				continue;
			w->parent[i] = FROM_ROOT;
			w->queue[w->tail++] = (uint32_t)i;
		}
		if (spread(w))
			return true;
	}
	return false;
}

static struct seep_error *tell(struct walk *w, const struct root *roots, size_t nroots, bool lost,
                               struct reach_path *ret_path)
{
	struct reach_path p = { 0 };
	size_t n = 1;
	uint32_t b;

	for (b = w->target; w->parent[b] != FROM_ROOT; b = w->parent[b])
		n++;
	p.nsteps = n;
	p.steps = calloc(p.nsteps, sizeof(*p.steps));
	if (!p.steps)
		return &seep_error_nomem;
	b = w->target;
	for (size_t i = p.nsteps; i-- > 0;) {
		struct find f = { .block = b, .step.block = b };

		if (w->parent[b] != FROM_ROOT)
			in_block(w, w->parent[b], w->opts->unaligned, is_step, &f);
		else
			for (size_t r = 0; !lost && !p.root && r < nroots; r++)
				if (wanted(w, &roots[r]) &&
				    in_root(w, &roots[r], w->opts->unaligned, is_step, &f))
					p.root = &roots[r];
		p.steps[i] = f.step;
		b = w->parent[b];
	}
	p.internal = !lost && !p.root;
	*ret_path = p;
	return NULL;
}

static int walk_init(struct walk *w, const struct block *blocks, size_t nblocks)
{
	int r = index_init(&w->index, blocks, nblocks);

	if (!r)
		r = reader_init(&w->reader, w->img, WINDOW);
	if (!r)
		r = reader_init(&w->probe, w->img, 4096);
	w->parent = malloc((nblocks + 1) * sizeof(*w->parent));
	w->queue = malloc((nblocks + 1) * sizeof(*w->queue));
	w->vtables = calloc(1, sizeof(*w->vtables));
	w->mask = w->opts && w->opts->pointer_mask ? w->opts->pointer_mask : UINT64_MAX;
	return !r && (!w->parent || !w->queue || !w->vtables) ? -ENOMEM : r;
}

static void walk_release(struct walk *w)
{
	index_release(&w->index);
	reader_release(&w->reader);
	reader_release(&w->probe);
	free(w->parent);
	free(w->queue);
	free(w->vtables);
}

static struct seep_error *walk_error(const struct walk *w, int r)
{
	return r == -EINVAL ? seep_error_new(0, "cannot look for pointers: %s", w->index.disorder)
	                    : &seep_error_nomem;
}

struct seep_error *reach_why(const struct image *img, const struct block *blocks, size_t nblocks,
                             const struct root *roots, size_t nroots,
                             const struct reach_options *opts, uint64_t addr,
                             struct reach_path *ret_path)
{
	struct walk w = { .img = img, .opts = opts };
	int64_t at = block_find(blocks, nblocks, addr);
	struct seep_error *err = NULL;
	bool found = false, lost = false;
	int r;

	if (at < 0)
		return seep_error_new(0, "no block is at %#llx", (unsigned long long)addr);
	w.target = (uint32_t)at;
	r = walk_init(&w, blocks, nblocks);
	if (r < 0) {
		err = walk_error(&w, r);
		walk_release(&w);
		return err;
	}
	found = search(&w, roots, nroots);
	if (!found) {
		w.all = true;
		found = search(&w, roots, nroots);
	}
	if (!found)
		found = lost = search_lost(&w);
	if (found)
		err = tell(&w, roots, nroots, lost, ret_path);
	else
		*ret_path = (struct reach_path){ 0 };
	walk_release(&w);
	return err;
}

void reach_path_release(struct reach_path *p)
{
	if (!p)
		return;
	free(p->steps);
	*p = (struct reach_path){ 0 };
}

/* ---- why is it not? -------------------------------------------------------------------------- */

struct hunt {
	uint64_t start, end;
	const struct root *root;
	uint32_t block;
	struct reach_hit *hits;
	size_t n, max;
};

static bool hunt_word(struct walk *w, uint64_t at, uint64_t v, void *arg)
{
	struct hunt *h = arg;
	uint64_t low = v & UINT64_C(0xffffffffffff);
	enum reach_how how;

	if (v >= h->start && v < h->end) {
		if (!(at & 7)) /* an ordinary pointer: it explains itself */
			return false;
		how = REACH_HIT_UNALIGNED;
	} else if (at & 7) {
		return false;
	} else if (v == h->end) {
		how = REACH_HIT_END;
	} else if (low >= h->start && low < h->end) {
		how = REACH_HIT_TOP_BITS;
	} else if (v >> 16 == h->start) {
		how = REACH_HIT_PACKED;
	} else {
		return false;
	}
	h->hits[h->n++] = (struct reach_hit){ how, h->root, h->block, at, v };
	return h->n == h->max;
}

/* A tag in the low bits leaves the pointer inside the block: interior ones 1 to 7 bytes in. */
static bool hunt_low(struct walk *w, uint64_t at, uint64_t v, void *arg)
{
	struct hunt *h = arg;

	if (!(at & 7) && v != h->start && (v & ~UINT64_C(7)) == h->start) {
		h->hits[h->n++] = (struct reach_hit){ REACH_HIT_LOW_BITS, h->root, h->block, at, v };
		return h->n == h->max;
	}
	return hunt_word(w, at, v, arg);
}

struct seep_error *reach_explain(const struct image *img, const struct block *blocks, size_t nblocks,
                                 const struct root *roots, size_t nroots, uint64_t addr,
                                 struct reach_hit *ret_hits, size_t max, size_t *ret_n)
{
	struct walk w = { .img = img };
	struct hunt h = { .hits = ret_hits, .max = max };
	int64_t at = block_find(blocks, nblocks, addr);

	if (at < 0)
		return seep_error_new(0, "no block is at %#llx", (unsigned long long)addr);
	h.start = blocks[at].address;
	h.end = block_end(&blocks[at]);
	*ret_n = 0;
	if (!max)
		return NULL;
	if (reader_init(&w.reader, img, WINDOW) < 0)
		return &seep_error_nomem;
	w.index.blocks = blocks;
	for (size_t i = 0; i < nroots && h.n < max; i++) {
		h.root = &roots[i];
		in_root(&w, h.root, true, hunt_low, &h);
	}
	h.root = NULL;
	for (size_t i = 0; i < nblocks && h.n < max; i++) {
		h.block = (uint32_t)i;
		if (i != (size_t)at)
			in_block(&w, h.block, true, hunt_low, &h);
	}
	reader_release(&w.reader);
	*ret_n = h.n;
	return NULL;
}
