/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The closure over pointers, by several threads (private to reach*.c).
 *
 * Usage: mark_init, then for each closure: mark_seed_* and mark_run; mark_release.  Blocks reached stay reached
 * from one closure to the next; mark.all says whether every interior pointer counts (else those
 * that a heuristic may explain, or nothing does, are collected in hits).
 */
#ifndef SEEP_ANALYSIS_REACH_MARK_H
#define SEEP_ANALYSIS_REACH_MARK_H

#include "analysis/reach.h"
#include "analysis/reach_index.h"
#include "analysis/reach_read.h"

/*
 * Scratch bits in block.flags while blocks are marked: hit by an interior pointer, and the heuristics
 * that explain one.
 */
#define BLOCK_HIT_SHIFT 11
#define BLOCK_HIT 0x800u
#define BLOCK_HEURISTICS_SHIFT 12
#define BLOCK_SCRATCH 0xf800u

struct mark;

/* A block that an interior pointer hit, and how far behind its start; of several pointers it is any one. */
struct hit {
	uint32_t block, offset;
};

struct mark *mark_new(const struct image *img, struct index *ix, struct block *blocks,
                      const struct reach_options *opts); /* NULL: out of memory */
void mark_free(struct mark *m);

void mark_all_pointers(struct mark *m, bool all);
void mark_seed_range(struct mark *m, uint64_t start, uint64_t end);
void mark_seed_words(struct mark *m, const uint64_t *words, size_t n);
void mark_seed_block(struct mark *m, uint32_t block); /* reached, and to be looked through */
int mark_run(struct mark *m);                         /* 0 or -ENOMEM */

/*
 * Blocks that interior pointers hit since the last call, and those of them that got their first heuristic
 * since, unordered; the caller's to change, valid until the next call.  NULL: out of memory.
 */
struct hit *mark_hits(struct mark *m, size_t *ret_n);

/* Before blocks that are reached are taken back. */
void mark_forget_chase(struct mark *m);

struct mark_sums {
	uint64_t scanned, unreadable, swapped, memory;
};
struct mark_sums mark_sums(const struct mark *m);

/* ---- heuristics ------------------------------------------------------------------------------ */

struct vtables {
	struct {
		uint64_t addr;
		bool is;
	} known[256];
};

/* How many bytes more than asked for a block's size may be. */
uint64_t block_slack(const struct block *b);
/* Which of the heuristics explain a pointer to addr, inside b or at its end. */
unsigned int heuristics_of(const struct image *img, struct reader *r, struct vtables *v,
                           const struct block *b, uint64_t addr, unsigned int wanted);

#endif
