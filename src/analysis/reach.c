/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The phases of a check.
 *
 *   1  closure over pointers to starts from the roots; then, in rounds, blocks that a heuristic
 *      explains a pointer into are added and the closure goes on    -> reachable
 *   2  closure over all pointers from what interior ones hit        -> possible
 *   3  the rest is lost: leaders and what they hold                 -> definite, indirect
 *   4  suppressed and ignored blocks are taken out, phase 2 done again without them, then a closure
 *      from them takes what they alone hold; phase 3 again           -> suppressed
 *
 * Rounds make the result independent of the order in which threads find pointers: a block counts as
 * reachable by a heuristic when no chain of pointers to starts leads to it from what was reached before.
 */
#include "analysis/reach.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "analysis/reach_index.h"
#include "analysis/reach_lost.h"
#include "analysis/reach_mark.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "proc/image.h"

#define HEADER_MOST 256 /* bytes; nobody's is larger */
#define HEADER_LEAST 16 /* blocks that speak for one */

struct run {
	const struct image *img;
	struct block *blocks;
	size_t nblocks;
	const struct reach_options *opts;
	struct index index;
	struct mark *mark;
	uint32_t *lost; /* not reachable by phase 1, ascending */
	uint32_t nlost;
	uint32_t *rest; /* of them, not reached by later phases */
	uint32_t nrest;
	struct hit *weak; /* hit by interior pointers of what is reachable */
	size_t nweak, weak_cap;
	struct reach *out;
	uint64_t lost_memory, root_ranges;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void set_class(struct block *b, enum reach_class class)
{
	b->flags = (uint16_t)((b->flags & ~(BLOCK_CLASS_MASK | BLOCK_CYCLE)) |
	                      class << BLOCK_CLASS_SHIFT);
}

static bool is_reached(const struct index *ix, uint32_t b)
{
	struct spot s;

	index_spot(ix, b, &s);
	return spot_reached(&s);
}

static void seed_roots(struct run *run, const struct root *roots, size_t nroots)
{
	unsigned int kinds = run->opts->roots ? run->opts->roots : ROOT_ALL;

	for (size_t i = 0; i < nroots; i++) {
		const struct root *r = &roots[i];

		if ((unsigned int)r->kind >= ROOT_NKINDS || !(kinds & ROOT_BIT(r->kind)))
			continue;
		if (r->words) {
			run->out->root_bytes[r->kind] += r->nwords * sizeof(uint64_t);
			mark_seed_words(run->mark, r->words, r->nwords);
		} else if (r->start < r->end) {
			run->out->root_bytes[r->kind] += r->end - r->start;
			run->root_ranges += r->end - r->start;
			mark_seed_range(run->mark, r->start, r->end);
		}
	}
}

/*
 * Flags as they should be before, and the blocks of the C library: reachable by definition.  Blocks
 * are many: those that are as they should be are not written to, nor even looked at.
 */
static bool prepare(struct run *run)
{
	const unsigned int unwanted = BLOCK_CLASS_MASK | BLOCK_CYCLE | BLOCK_SCRATCH;
	bool ignored = false;

	for (size_t i = 0; i < run->index.nsegments; i++) {
		const struct segment *s = &run->index.segments[i];

		ignored |= (s->flags & BLOCK_IGNORED) != 0;
		if (!(s->flags & (unwanted | BLOCK_INTERNAL)))
			continue;
		for (uint32_t b = s->first; b < s->first + s->n; b++) {
			uint16_t flags = run->blocks[b].flags;

			if (flags & unwanted)
				run->blocks[b].flags = (uint16_t)(flags & ~unwanted);
			if (flags & BLOCK_INTERNAL)
				mark_seed_block(run->mark, b);
		}
	}
	return ignored;
}

static int by_block(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;

	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The round's new hits; each block once, and all of them remembered in weak[]. */
static int round_hits(struct run *run, struct hit **ret_hits, size_t *ret_n)
{
	size_t n = 0, unique = 0;
	struct hit *hits = mark_hits(run->mark, &n);

	if (!hits)
		return -ENOMEM;
	qsort(hits, n, sizeof(*hits), by_block);
	for (size_t i = 0; i < n; i++)
		if (!i || hits[i].block != hits[i - 1].block)
			hits[unique++] = hits[i];
	if (run->nweak + unique > run->weak_cap) {
		size_t cap = (run->nweak + unique) * 2;
		void *p = reallocarray(run->weak, cap, sizeof(*run->weak));

		if (!p)
			return -ENOMEM;
		run->weak = p;
		run->weak_cap = cap;
	}
	for (size_t i = 0; i < unique; i++)
		run->weak[run->nweak++] = hits[i];
	*ret_hits = hits;
	*ret_n = unique;
	return 0;
}

static int close_reachable(struct run *run)
{
	for (;;) {
		struct hit *hits = NULL;
		size_t n = 0, added = 0;
		int r = mark_run(run->mark);

		if (!r)
			r = round_hits(run, &hits, &n);
		if (r < 0)
			return r;
		/* All are judged before the first is added: helpers begin as soon as one is. */
		for (size_t i = 0; i < n; i++) {
			const struct block *b = &run->blocks[hits[i].block];
			unsigned int found = (unsigned int)b->flags >> BLOCK_HEURISTICS_SHIFT;
			struct reach_total *t;

			if (!found || is_reached(&run->index, hits[i].block))
				continue;
			t = &run->out->by_heuristic[__builtin_ctz(found)];
			t->blocks++;
			t->bytes += b->size;
			hits[added++] = hits[i];
		}
		for (size_t i = 0; i < added; i++)
			mark_seed_block(run->mark, hits[i].block);
		if (!added)
			return 0;
	}
}

/* The blocks that are not reached, ascending. */
static int list_lost(struct run *run, uint32_t **ret_list, uint32_t *ret_n)
{
	struct index *ix = &run->index;
	uint32_t n = 0, *list;

	for (size_t i = 0; i < ix->nlines; i++)
		for (unsigned int k = 0; k < 2; k++)
			n += count_bits(ix->lines[i].starts[k] & ~ix->lines[i].reached[k]);
	list = malloc(((size_t)n + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < ix->nlines; i++) {
		const struct line *l = &ix->lines[i];

		for (unsigned int k = 0; k < 2; k++)
			for (uint64_t bits = l->starts[k] & ~l->reached[k]; bits; bits &= bits - 1)
				list[n++] = line_block(l, k, (unsigned int)__builtin_ctzll(bits));
	}
	*ret_list = list;
	*ret_n = n;
	return 0;
}

/* Takes the scratch bits off again; leaves the blocks that are weakly held and not reachable. */
static void end_hits(struct run *run)
{
	size_t n = 0;

	if (run->nweak)
		qsort(run->weak, run->nweak, sizeof(*run->weak), by_block);
	for (size_t i = 0; i < run->nweak; i++) {
		struct block *b = &run->blocks[run->weak[i].block];

		b->flags = (uint16_t)(b->flags & ~BLOCK_SCRATCH);
		if (!is_reached(&run->index, run->weak[i].block) &&
		    (!n || run->weak[n - 1].block != run->weak[i].block))
			run->weak[n++] = run->weak[i];
	}
	run->nweak = n;
}

static int close_possible(struct run *run)
{
	int r;

	for (size_t i = 0; i < run->nweak; i++)
		mark_seed_block(run->mark, run->weak[i].block);
	r = mark_run(run->mark);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < run->nlost; i++)
		if (is_reached(&run->index, run->lost[i]) &&
		    block_class(&run->blocks[run->lost[i]]) != REACH_SUPPRESSED)
			set_class(&run->blocks[run->lost[i]], REACH_POSSIBLE);
	return 0;
}

static int classify_lost(struct run *run, bool again)
{
	struct lost_sums sums;
	int r;

	free(run->rest);
	run->rest = NULL;
	free(run->out->leaders);
	run->out->leaders = NULL;
	run->out->nleaders = 0;
	r = list_lost(run, &run->rest, &run->nrest);
	if (r < 0)
		return r;
	r = lost_classify(run->img, &run->index, run->blocks, run->rest, run->nrest, run->opts,
	                  &run->out->leaders, &run->out->nleaders, &sums);
	if (!again) {
		run->out->scanned_bytes += sums.scanned;
		run->out->unreadable_bytes += sums.unreadable;
	}
	if (sums.memory > run->lost_memory)
		run->lost_memory = sums.memory;
	return r;
}

/* A possible block that is no longer held by anything but suppressed ones must not stay possible. */
static void forget_possible(struct run *run)
{
	for (uint32_t i = 0; i < run->nlost; i++) {
		struct block *b = &run->blocks[run->lost[i]];

		if (block_class(b) == REACH_POSSIBLE)
			set_class(b, REACH_DEFINITE);
	}
}

/* 1: something was; 0: nothing; or -ENOMEM. */
static int suppress(struct run *run, bool ignored)
{
	const struct reach_options *opts = run->opts;
	uint32_t n = 0;
	int r;

	if (!opts->suppressed && !ignored)
		return 0;
	for (uint32_t i = 0; i < run->nlost; i++) {
		struct block *b = &run->blocks[run->lost[i]];

		if ((ignored && b->flags & BLOCK_IGNORED) ||
		    (opts->suppressed && opts->suppressed(opts->suppressed_arg, b, block_class(b)))) {
			set_class(b, REACH_SUPPRESSED);
			n++;
		}
	}
	if (!n)
		return 0;
	/* Back to the end of phase 1, with the suppressed ones as walls. */
	mark_forget_chase(run->mark);
	for (uint32_t i = 0; i < run->nlost; i++) {
		struct block *b = &run->blocks[run->lost[i]];
		struct spot s;

		index_spot(&run->index, run->lost[i], &s);
		if (block_class(b) == REACH_SUPPRESSED) {
			s.line->reached[s.word] |= s.bit;
			s.line->scanned[s.word] |= s.bit;
		} else {
			s.line->reached[s.word] &= ~s.bit;
			s.line->scanned[s.word] &= ~s.bit;
		}
	}
	forget_possible(run);
	r = close_possible(run);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < run->nlost; i++) {
		struct spot s;

		if (block_class(&run->blocks[run->lost[i]]) != REACH_SUPPRESSED)
			continue;
		index_spot(&run->index, run->lost[i], &s);
		s.line->reached[s.word] &= ~s.bit;
		s.line->scanned[s.word] &= ~s.bit;
	}
	/* Only now: helpers begin as soon as one is there. */
	for (uint32_t i = 0; i < run->nlost; i++)
		if (block_class(&run->blocks[run->lost[i]]) == REACH_SUPPRESSED)
			mark_seed_block(run->mark, run->lost[i]);
	r = mark_run(run->mark);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < run->nlost; i++) {
		struct block *b = &run->blocks[run->lost[i]];

		if (is_reached(&run->index, run->lost[i]) &&
		    (block_class(b) == REACH_DEFINITE || block_class(b) == REACH_INDIRECT))
			set_class(b, REACH_SUPPRESSED);
	}
	return 1;
}

/* What phase 1 did not reach is listed; the rest is reachable. */
static void add_up(struct run *run)
{
	struct reach_total *total = run->out->total;

	total[REACH_REACHABLE].blocks = run->nblocks;
	total[REACH_REACHABLE].bytes = run->index.bytes;
	for (uint32_t i = 0; i < run->nlost; i++) {
		const struct block *b = &run->blocks[run->lost[i]];

		total[block_class(b)].blocks++;
		total[block_class(b)].bytes += b->size;
		total[REACH_REACHABLE].blocks--;
		total[REACH_REACHABLE].bytes -= b->size;
	}
}

/*
 * Only what reachable memory points to itself is looked at: the rest hangs on it, and who lists things by a link inside of them
 * points there.
 */
static void find_header(struct run *run)
{
	size_t of[HEADER_MOST + 1] = { 0 }, n = 0, best = 0;

	for (size_t i = 0; i < run->nweak; i++) {
		const struct hit *h = &run->weak[i];

		if (block_class(&run->blocks[h->block]) != REACH_POSSIBLE)
			continue;
		n++;
		if (h->offset <= HEADER_MOST && ++of[h->offset] > of[best])
			best = h->offset;
	}
	if (of[best] >= HEADER_LEAST && of[best] >= n - n / 4)
		run->out->header = (uint32_t)best;
}

static int run_phases(struct run *run, const struct root *roots, size_t nroots)
{
	unsigned int kinds = run->opts->roots ? run->opts->roots : ROOT_ALL;
	uint64_t start = now_ns(), then;
	struct mark_sums sums;
	bool ignored;
	int r;

	run->mark = mark_new(run->img, &run->index, run->blocks, run->opts);
	if (!run->mark)
		return -ENOMEM;
	ignored = prepare(run) && kinds & ROOT_BIT(ROOT_IGNORED);
	seed_roots(run, roots, nroots);
	then = now_ns();
	run->out->ns_roots = then - start;
	r = close_reachable(run);
	end_hits(run);
	if (!r)
		r = list_lost(run, &run->lost, &run->nlost);
	mark_all_pointers(run->mark, true);
	if (!r)
		r = close_possible(run);
	sums = mark_sums(run->mark);
	run->out->ns_mark = now_ns() - then;
	then = now_ns();
	run->out->scanned_bytes = sums.scanned - run->root_ranges;
	run->out->unreadable_bytes = sums.unreadable;
	if (!r)
		r = classify_lost(run, false);
	if (!r)
		r = suppress(run, ignored);
	if (r > 0)
		r = classify_lost(run, true);
	sums = mark_sums(run->mark);
	run->out->swapped_bytes = sums.swapped;
	run->out->memory_bytes = run->nblocks * sizeof(*run->blocks) + run->index.memory +
	                         sums.memory + run->lost_memory +
	                         ((uint64_t)run->nlost + run->nrest) * sizeof(uint32_t) +
	                         run->nweak * sizeof(*run->weak);
	if (!r) {
		add_up(run);
		find_header(run);
	}
	run->out->ns_lost = now_ns() - then;
	return r;
}

struct seep_error *reach_run(const struct image *img, struct block *blocks, size_t nblocks,
                             const struct root *roots, size_t nroots,
                             const struct reach_options *opts, struct reach **ret_reach)
{
	struct run run = { .img = img, .blocks = blocks, .nblocks = nblocks, .opts = opts };
	struct seep_error *err = NULL;
	int r;

	run.out = calloc(1, sizeof(*run.out));
	if (!run.out)
		return &seep_error_nomem;
	r = index_init(&run.index, blocks, nblocks);
	if (!r)
		r = run_phases(&run, roots, nroots);
	if (r == -EINVAL)
		err = seep_error_new(0, "cannot check the heap: %s",
		                     run.index.disorder ? run.index.disorder : "bad blocks");
	else if (r < 0)
		err = &seep_error_nomem;
	mark_free(run.mark);
	index_release(&run.index);
	free(run.lost);
	free(run.rest);
	free(run.weak);
	if (err)
		reach_free(run.out);
	else
		*ret_reach = run.out;
	return err;
}

void reach_free(struct reach *r)
{
	if (!r)
		return;
	free(r->leaders);
	free(r);
}
