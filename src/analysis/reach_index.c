/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index is made in one pass over the blocks, a segment at a time: how dense it is is known at its
 * end, and then its bits are set.  A segment's granule is the largest common alignment of its blocks unless that
 * would take more than six bytes a block; then it grows up to the smallest distance between two
 * starts, and a hit is confirmed by the block's address.
 */
#include "analysis/reach_index.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "analysis/reach.h"

#define FIRST_LINES 64
#define LINE_BYTES_PER_BLOCK 6 /* where the granule may grow */

static unsigned int log2_floor(uint64_t v)
{
	return v ? 63 - (unsigned int)__builtin_clzll(v) : 0;
}

static uint64_t lines_for(uint64_t extent, unsigned int shift)
{
	return ((extent >> shift) + LINE_BITS) / LINE_BITS;
}

/* extent: from the first to the last start; distance: the smallest between two; bits: all offsets, or'ed */
static void segment_shape(struct segment *s, uint64_t extent, uint64_t distance, uint64_t bits)
{
	unsigned int align = bits ? (unsigned int)__builtin_ctzll(bits) : SEGMENT_SHIFT;
	unsigned int most = s->n > 1 ? log2_floor(distance) : SEGMENT_SHIFT, shift = align;
	uint64_t lines;

	if (shift > most)
		shift = most;
	while (shift < most && lines_for(extent, shift) * sizeof(struct line) >
	                               (uint64_t)s->n * LINE_BYTES_PER_BLOCK + sizeof(struct line))
		shift++;
	lines = lines_for(extent, shift);
	if (lines * sizeof(struct line) > (uint64_t)s->n * 64 + sizeof(struct line)) {
		shift = SHIFT_SEARCH;
		lines = (s->n + LINE_BITS - 1) / LINE_BITS;
	}
	s->shift = (uint8_t)shift;
	s->exact = shift <= align;
	s->nlines = (uint32_t)lines;
}

static void set_starts(struct index *ix, struct segment *s)
{
	struct line *l = &ix->lines[s->line];
	uint32_t rank = s->first;

	for (uint32_t i = 0; i < s->n; i++) {
		uint64_t g = i;

		if (s->shift != SHIFT_SEARCH)
			g = (block_address(&ix->blocks[s->first + i]) - s->lo) >> s->shift;
		l[g / LINE_BITS].starts[g / 64 % 2] |= UINT64_C(1) << g % 64;
	}
	for (uint32_t i = 0; i < s->nlines; i++) {
		l[i].rank = rank;
		rank += count_bits(l[i].starts[0]) + count_bits(l[i].starts[1]);
	}
}

/* A segment is complete: its shape is known, and its lines are made while its blocks are still in the cache. */
static int end_segment(struct index *ix, struct segment *s, uint64_t extent, uint64_t distance,
                       uint64_t bits)
{
	segment_shape(s, extent, distance, bits);
	if (ix->nlines + s->nlines >= UINT32_MAX)
		return -ENOMEM;
	if (ix->nlines + s->nlines > ix->lines_cap) {
		size_t cap = (ix->nlines + s->nlines) * 5 / 4 + 64;
		void *p = mremap(ix->lines, ix->lines_cap * sizeof(*ix->lines),
		                 cap * sizeof(*ix->lines), MREMAP_MAYMOVE);

		if (p == MAP_FAILED)
			return -ENOMEM;
		ix->lines = p;
		ix->lines_cap = cap;
		madvise(p, cap * sizeof(*ix->lines), MADV_HUGEPAGE); /* random access */
	}
	s->line = (uint32_t)ix->nlines;
	ix->nlines += s->nlines;
	set_starts(ix, s);
	return 0;
}

static int find_segments(struct index *ix)
{
	uint64_t extent = 0, distance = UINT64_MAX, bits = 0, previous = 0, end = 0;
	struct segment *s = NULL;
	size_t cap = 0;

	for (size_t i = 0; i < ix->nblocks; i++) {
		uint64_t a = block_address(&ix->blocks[i]);

		if (i && a <= previous) {
			ix->disorder = "blocks are not in ascending order";
			return -EINVAL;
		}
		if (i && a < end) {
			ix->disorder = "blocks overlap";
			return -EINVAL;
		}
		if (!s || a >> SEGMENT_SHIFT != s->number) {
			if (s && end_segment(ix, s, extent, distance, bits) < 0)
				return -ENOMEM;
			if (s && end >> SEGMENT_SHIFT > s->number &&
			    s->number + 1 < a >> SEGMENT_SHIFT)
				ix->crossing = true;
			if (ix->nsegments == cap) {
				void *p = reallocarray(ix->segments, cap = cap ? cap * 2 : 64,
				                       sizeof(*ix->segments));

				if (!p)
					return -ENOMEM;
				ix->segments = p;
			}
			s = &ix->segments[ix->nsegments++];
			*s = (struct segment){ .number = a >> SEGMENT_SHIFT, .lo = a };
			s->first = (uint32_t)i;
			extent = bits = 0;
			distance = UINT64_MAX;
		} else {
			if (a - previous < distance)
				distance = a - previous;
			extent = a - s->lo;
			bits |= extent;
		}
		s->n++;
		s->flags |= ix->blocks[i].flags;
		ix->bytes += ix->blocks[i].size;
		previous = a;
		end = block_end(&ix->blocks[i]);
	}
	if (s) {
		if (end_segment(ix, s, extent, distance, bits) < 0)
			return -ENOMEM;
		ix->crossing |= end >> SEGMENT_SHIFT > s->number;
		ix->lo = block_address(&ix->blocks[0]);
		ix->span = end - ix->lo;
	}
	ix->memory += cap * sizeof(*ix->segments);
	return 0;
}

int index_init(struct index *ix, const struct block *blocks, size_t nblocks)
{
	unsigned int log = 4;
	int r;

	*ix = (struct index){ .blocks = blocks, .nblocks = nblocks, .lo = UINT64_MAX };
	if (nblocks >= NO_BLOCK) {
		ix->disorder = "too many blocks";
		return -EINVAL;
	}
	/*
	 * Mapped, so that it is zero and can grow without being copied.  It seldom has to: what is not touched costs
	 * nothing, and a table that moves costs a fault for each of its pages.
	 */
	ix->lines_cap = FIRST_LINES + nblocks * LINE_BYTES_PER_BLOCK / sizeof(*ix->lines);
	ix->lines = mmap(NULL, ix->lines_cap * sizeof(*ix->lines), PROT_READ | PROT_WRITE,
	                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ix->lines == MAP_FAILED) {
		ix->lines = NULL;
		return -ENOMEM;
	}
	madvise(ix->lines, ix->lines_cap * sizeof(*ix->lines), MADV_HUGEPAGE); /* random access */
	r = find_segments(ix);
	if (r < 0)
		return r;
	while ((size_t)1 << log < ix->nsegments * 2)
		log++;
	if (log > 31)
		return -ENOMEM;
	ix->slots_shift = 32 - log;
	ix->slots = calloc((size_t)1 << log, sizeof(*ix->slots));
	if (!ix->slots)
		return -ENOMEM;
	ix->memory += (sizeof(*ix->slots) << log) + ix->nlines * sizeof(*ix->lines);
	for (size_t i = 0; i < ix->nsegments; i++) {
		uint64_t number = ix->segments[i].number;
		uint32_t at = (uint32_t)(number * UINT64_C(0x9e3779b97f4a7c15) >> 32) >>
		              ix->slots_shift;

		while (ix->slots[at])
			at = (at + 1) & ((UINT32_C(1) << log) - 1);
		ix->slots[at] = (uint32_t)i + 1;
	}
	return 0;
}

void index_release(struct index *ix)
{
	if (ix->lines)
		munmap(ix->lines, ix->lines_cap * sizeof(*ix->lines));
	free(ix->segments);
	free(ix->slots);
	*ix = (struct index){ 0 };
}

/* The last of blocks [first, first + n) that starts at or before addr; the first one does. */
static uint32_t search(const struct block *blocks, uint32_t first, uint32_t n, uint64_t addr)
{
	uint32_t lo = first, hi = first + n;

	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (block_address(&blocks[mid]) <= addr)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

void index_spot(const struct index *ix, uint32_t block, struct spot *ret_spot)
{
	uint64_t a = block_address(&ix->blocks[block]), g;
	struct segment *s = index_segment(ix, a >> SEGMENT_SHIFT);

	g = s->shift == SHIFT_SEARCH ? block - s->first : (a - s->lo) >> s->shift;
	*ret_spot = (struct spot){ s, &ix->lines[s->line + g / LINE_BITS], UINT64_C(1) << g % 64,
		                   (unsigned int)(g / 64 % 2) };
}

static uint32_t before_segment(const struct index *ix, uint64_t number)
{
	size_t lo = 0, hi = ix->nsegments;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (ix->segments[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? ix->segments[lo - 1].first + ix->segments[lo - 1].n - 1 : NO_BLOCK;
}

uint32_t index_before(const struct index *ix, uint64_t addr)
{
	const struct segment *s = index_segment(ix, addr >> SEGMENT_SHIFT);
	const struct line *l;
	uint64_t g, bit;
	uint32_t b;

	if (!s)
		return ix->crossing ? before_segment(ix, addr >> SEGMENT_SHIFT) : NO_BLOCK;
	if (addr < s->lo)
		return s->first ? s->first - 1 : NO_BLOCK;
	if (s->shift == SHIFT_SEARCH)
		return search(ix->blocks, s->first, s->n, addr);
	g = (addr - s->lo) >> s->shift;
	if (g / LINE_BITS >= s->nlines)
		return s->first + s->n - 1;
	l = &ix->lines[s->line + g / LINE_BITS];
	bit = UINT64_C(2) << g % 64; /* 0 when shifted out: all below */
	b = l->rank + line_count(l, g / 64 % 2, bit - 1) - 1;
	if (!s->exact && block_address(&ix->blocks[b]) > addr)
		b--; /* lo is a start, so that there is one before */
	return b;
}

uint32_t index_count_lost(struct index *ix)
{
	uint32_t n = 0;

	for (size_t i = 0; i < ix->nlines; i++) {
		struct line *l = &ix->lines[i];

		l->lost = n;
		n += count_bits(l->starts[0] & ~l->reached[0]) +
		     count_bits(l->starts[1] & ~l->reached[1]);
	}
	return n;
}

uint32_t index_lost_number(const struct index *ix, uint32_t block)
{
	struct spot s;
	uint32_t n;

	index_spot(ix, block, &s);
	if (s.line->reached[s.word] & s.bit)
		return NO_BLOCK;
	n = s.line->lost +
	    count_bits(s.line->starts[s.word] & ~s.line->reached[s.word] & (s.bit - 1));
	if (s.word)
		n += count_bits(s.line->starts[0] & ~s.line->reached[0]);
	return n;
}

int64_t block_find(const struct block *blocks, size_t nblocks, uint64_t addr)
{
	size_t lo = 0, hi = nblocks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (blocks[mid].address <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo || addr >= blocks[lo - 1].address + block_length(&blocks[lo - 1]))
		return -1;
	return (int64_t)(lo - 1);
}
