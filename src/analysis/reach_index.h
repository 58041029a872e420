/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an address to a block in one cache line (private to reach*.c).
 *
 * Address space is cut into segments of 512 KB; those in which blocks start have lines, each
 * of which covers 128 granules (usually 2 KB): which granules a block starts in, which of
 * those blocks are reached, which have been looked through, and how many blocks come before.
 * A granule is as small as the blocks' alignment asks for and as large as memory allows: where it is
 * smaller than the distance between any two starts no granule holds two.  Where blocks are too few
 * for that, a line's bits are the segment's blocks in order, found by binary search.
 */
#ifndef SEEP_ANALYSIS_REACH_INDEX_H
#define SEEP_ANALYSIS_REACH_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/heap.h"

#define SEGMENT_SHIFT 19
#define SEGMENT_SIZE (UINT64_C(1) << SEGMENT_SHIFT)
#define LINE_BITS 128
#define SHIFT_SEARCH 63 /* segment.shift: bits are blocks */
#define NO_BLOCK UINT32_MAX

struct line {
	uint64_t starts[2];
	uint64_t reached[2]; /* atomic */
	uint64_t scanned[2]; /* of the worker that has the segment */
	uint32_t rank;       /* blocks before this line */
	uint32_t lost;       /* lost blocks before this line */
	uint64_t unused;
};
_Static_assert(sizeof(struct line) == 64, "a cache line");

#define SEGMENT_PAGES (SEGMENT_SIZE / 4096)

struct segment {
	uint64_t number;   /* address >> SEGMENT_SHIFT */
	uint64_t lo;       /* where its first block starts */
	uint32_t first, n; /* its blocks */
	uint32_t line, nlines;
	uint8_t shift;  /* of a granule */
	bool exact;     /* every block starts where a granule does */
	bool looked;    /* resident[] is known */
	uint16_t flags; /* all its blocks', or'ed */
	uint64_t resident[SEGMENT_PAGES / 64];
};

struct index {
	const struct block *blocks;
	size_t nblocks;
	struct line *lines;
	size_t nlines, lines_cap;
	struct segment *segments; /* ascending */
	size_t nsegments;
	uint32_t *slots; /* hash of segment numbers; index + 1 */
	unsigned int slots_shift;
	uint64_t lo, span;    /* lo <= v <= lo + span: may point into (or just past) a block */
	bool crossing;        /* some block reaches into a segment where none starts */
	uint64_t bytes;       /* of all blocks */
	uint64_t memory;      /* bytes taken */
	const char *disorder; /* why the blocks are refused */
};

/* 0, -ENOMEM, or -EINVAL (disorder says why). */
int index_init(struct index *ix, const struct block *blocks, size_t nblocks);
void index_release(struct index *ix);

/* Where a block's bits are. */
struct spot {
	struct segment *segment;
	struct line *line;
	uint64_t bit;
	unsigned int word;
};

typedef uint64_t __attribute__((may_alias)) block_word;

/* flags change while others read the address beside them */
static inline uint64_t block_address(const struct block *b)
{
	return __atomic_load_n((const block_word *)b, __ATOMIC_RELAXED) & ((UINT64_C(1) << 48) - 1);
}

static inline uint64_t block_length(const struct block *b)
{
	return b->size ? b->size : 1;
}

static inline uint64_t block_end(const struct block *b)
{
	return block_address(b) + block_length(b);
}

static inline struct segment *index_segment(const struct index *ix, uint64_t number)
{
	uint32_t mask = (UINT32_C(1) << (32 - ix->slots_shift)) - 1;
	uint32_t i = (uint32_t)(number * UINT64_C(0x9e3779b97f4a7c15) >> 32) >> ix->slots_shift;
	uint32_t s;

	while ((s = ix->slots[i])) {
		if (ix->segments[s - 1].number == number)
			return &ix->segments[s - 1];
		i = (i + 1) & mask;
	}
	return NULL;
}

/* Without an instruction for it the compiler would call a function. */
static inline unsigned int count_bits(uint64_t v)
{
	v -= v >> 1 & UINT64_C(0x5555555555555555);
	v = (v & UINT64_C(0x3333333333333333)) + (v >> 2 & UINT64_C(0x3333333333333333));
	v = (v + (v >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (unsigned int)(v * UINT64_C(0x0101010101010101) >> 56);
}

static inline unsigned int line_count(const struct line *l, unsigned int word, uint64_t below)
{
	unsigned int n = count_bits(l->starts[word] & below);

	return word ? n + count_bits(l->starts[0]) : n;
}

/* The block at a set bit of a line. */
static inline uint32_t line_block(const struct line *l, unsigned int word, unsigned int bit)
{
	return l->rank + line_count(l, word, (UINT64_C(1) << bit) - 1);
}

static inline bool spot_reached(const struct spot *s)
{
	return __atomic_load_n(&s->line->reached[s->word], __ATOMIC_RELAXED) & s->bit;
}

/* While nobody else marks: an atomic operation would wait for all loads before it, and those after it for it. */
static inline void spot_reach_alone(const struct spot *s)
{
	uint64_t *word = &s->line->reached[s->word];

	__atomic_store_n(word, __atomic_load_n(word, __ATOMIC_RELAXED) | s->bit, __ATOMIC_RELAXED);
}

static inline bool spot_reach(const struct spot *s) /* true: it was not before */
{
	return !(__atomic_fetch_or(&s->line->reached[s->word], s->bit, __ATOMIC_SEQ_CST) & s->bit);
}

void index_spot(const struct index *ix, uint32_t block, struct spot *ret_spot);

/*
 * The last block that starts at or before addr, NO_BLOCK when there is none.  It need not hold addr.
 */
uint32_t index_before(const struct index *ix, uint64_t addr);

/* The block that holds addr, or NO_BLOCK. */
static inline uint32_t index_find(const struct index *ix, uint64_t addr)
{
	uint32_t b;

	if (addr - ix->lo > ix->span)
		return NO_BLOCK;
	b = index_before(ix, addr);
	return b != NO_BLOCK && addr < block_end(&ix->blocks[b]) ? b : NO_BLOCK;
}

/* Counts the blocks not reached into line.lost; returns how many there are. */
uint32_t index_count_lost(struct index *ix);
/* The number of a lost block among the lost; NO_BLOCK when it is not lost. */
uint32_t index_lost_number(const struct index *ix, uint32_t block);

#endif
