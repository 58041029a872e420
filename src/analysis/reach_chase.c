/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of millions of members in random order is the worst case of reading another process: each
 * member is known only when the one before was read, and each read is a system call for a few bytes.  So when marking
 * finds itself doing that, it reads what is left of the heap once, from its beginning to its
 * end, and notes for each block which others it points to; the list is then followed in a table.
 *
 * A table of all edges of a large heap would be far larger than everything else that is kept, so only what
 * is common is in it: blocks with no pointer that matters, and with one, take four bytes; those with a few take four
 * bytes more for each and another four, until that is four times the blocks' number.  Others (interior
 * pointers, many pointers, pages that cannot be read, large blocks) are looked through when they are reached, as ever.
 */
#include "analysis/reach_chase.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "proc/image.h"

#define BATCH 512   /* pointers whose lines are fetched together */
#define POINTERS 32 /* of one block */

struct sweep {
	struct chase *chase;
	struct index *ix;
	struct reader *reader;
	const struct chase_rules *rules;
	struct {
		uint64_t v;
		const struct segment *segment; /* NULL: the slow way */
		uint32_t block;                /* that holds it */
	} batch[BATCH];
	unsigned int n;
	bool failed;
};

static size_t table_bytes(size_t nblocks)
{
	return (nblocks + 1) * sizeof(uint32_t);
}

/* The spot of the block that starts at v.  false: none does; *ret_interior: but one may be meant. */
static bool start_spot(const struct index *ix, uint64_t v, const struct segment *s,
                       struct spot *ret_spot, bool *ret_interior)
{
	uint32_t b;

	*ret_interior = false;
	if (s && s->exact && v >= s->lo) {
		uint64_t off = v - s->lo, g = off >> s->shift, bit = UINT64_C(1) << g % 64;
		struct line *l = &ix->lines[s->line + g / LINE_BITS];

		if (g / LINE_BITS < s->nlines && l->starts[g / 64 % 2] & bit &&
		    !(off & ((UINT64_C(1) << s->shift) - 1))) {
			*ret_spot = (struct spot){ .line = l, .bit = bit, .word = g / 64 % 2 };
			return true;
		}
	}
	b = index_before(ix, v);
	if (b == NO_BLOCK || v > block_end(&ix->blocks[b]))
		return false;
	index_spot(ix, b, ret_spot);
	if (v == block_address(&ix->blocks[b]))
		return true;
	/* just past its end: only a new T[0] is meant by that */
	*ret_interior = !spot_reached(ret_spot) &&
	                (v < block_end(&ix->blocks[b]) || ix->blocks[b].size == 8);
	return false;
}

static bool room_for(struct sweep *w, unsigned int n)
{
	struct chase *c = w->chase;
	size_t most = w->ix->nblocks * 4;

	if (c->nmore + n > most || c->nmore + n >= CHASE_SEEN)
		return false;
	if (c->nmore + n > c->cap) {
		size_t cap = c->cap ? c->cap + c->cap / 2 : 4096;
		void *p = reallocarray(c->more, cap, sizeof(*c->more));

		if (!p) {
			w->failed = true;
			return false;
		}
		c->more = p;
		c->cap = cap;
	}
	return true;
}

static void tabled(struct sweep *w, uint32_t block, uint32_t next)
{
	w->chase->next[block] = next;
	w->chase->bytes += block_length(&w->ix->blocks[block]);
}

/* The pointers batch[i..j) of one block. */
static void settle(struct sweep *w, unsigned int i, unsigned int j)
{
	uint32_t block = w->batch[i].block, found[POINTERS];
	struct chase *c = w->chase;
	unsigned int n = 0;

	for (; i < j; i++) {
		struct spot s;
		bool interior;
		uint32_t to;

		if (!start_spot(w->ix, w->batch[i].v, w->batch[i].segment, &s, &interior)) {
			if (interior)
				return; /* to be read */
			continue;
		}
		to = line_block(s.line, s.word, (unsigned int)__builtin_ctzll(s.bit));
		if (to != block && !spot_reached(&s) && (!n || found[n - 1] != to))
			found[n++] = to;
	}
	if (!n) {
		tabled(w, block, CHASE_NONE);
	} else if (n == 1) {
		tabled(w, block, found[0] + CHASE_FIRST);
	} else if (room_for(w, n + 1)) {
		tabled(w, block, CHASE_MORE | (uint32_t)c->nmore);
		c->more[c->nmore++] = n;
		for (i = 0; i < n; i++)
			c->more[c->nmore++] = found[i];
	}
}

static void flush(struct sweep *w)
{
	for (unsigned int i = 0, j; i < w->n; i = j) {
		for (j = i + 1; j < w->n && w->batch[j].block == w->batch[i].block;)
			j++;
		settle(w, i, j);
	}
	w->n = 0;
}

static void look_through(struct sweep *w, uint32_t block)
{
	const struct index *ix = w->ix;
	uint64_t at = block_address(&ix->blocks[block]), end = block_end(&ix->blocks[block]), v;
	uint64_t step = w->rules->unaligned ? 1 : 8;
	unsigned int before;

	if (w->reader->nholes && reader_unreadable(w->reader, at, end))
		return;
	if (w->n + POINTERS > BATCH)
		flush(w);
	before = w->n;
	if (!w->rules->unaligned)
		at = (at + 7) & ~UINT64_C(7);
	for (; at < end && end - at >= 8; at += step) {
		const struct segment *s;
		uint64_t g;

		v = reader_word(w->reader, at) & w->rules->mask;
		if (v - ix->lo > ix->span)
			continue;
		s = index_segment(ix, v >> SEGMENT_SHIFT);
		if (!s && !ix->crossing)
			continue;
		if (w->n - before == POINTERS) {
			w->n = before; /* to be read */
			return;
		}
		g = s ? (v - s->lo) >> s->shift : 0;
		if (s && g / LINE_BITS < s->nlines)
			__builtin_prefetch(&ix->lines[s->line + g / LINE_BITS]);
		w->batch[w->n].v = v;
		w->batch[w->n].segment = s;
		w->batch[w->n++].block = block;
	}
	if (w->n == before)
		tabled(w, block, CHASE_NONE);
}

static void sweep_segment(struct sweep *w, struct segment *s)
{
	const struct index *ix = w->ix;
	const struct block *blocks = ix->blocks;
	uint64_t hi = block_end(&blocks[s->first + s->n - 1]);

	for (uint32_t i = 0; i < s->nlines; i++)
		for (unsigned int k = 0; k < 2; k++) {
			const struct line *l = &ix->lines[s->line + i];
			uint64_t bits = l->starts[k] & ~l->reached[k];

			for (; bits; bits &= bits - 1) {
				uint32_t b = line_block(l, k, (unsigned int)__builtin_ctzll(bits));
				uint64_t a = block_address(&blocks[b]) & ~UINT64_C(7);
				uint64_t end = block_end(&blocks[b]);

				if (end - a > SEGMENT_SIZE)
					continue;
				if (!reader_has(w->reader, a, end)) {
					uint64_t to = hi - a > w->reader->cap ? a + w->reader->cap
					                                      : hi;

					segment_look(s, w->reader);
					reader_fill(w->reader, a, to, s);
				}
				look_through(w, b);
			}
		}
}

int chase_init(struct chase *c, struct index *ix, struct reader *r, const struct chase_rules *rules)
{
	struct sweep *w;
	bool failed;

	*c = (struct chase){ 0 };
	if (ix->nblocks >= CHASE_MOST)
		return -E2BIG;
	w = calloc(1, sizeof(*w));
	c->next = mmap(NULL, table_bytes(ix->nblocks), PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c->next == MAP_FAILED)
		c->next = NULL;
	else
		madvise(c->next, table_bytes(ix->nblocks),
		        MADV_HUGEPAGE); /* random access: TLB misses count */
	c->nblocks = ix->nblocks;
	if (!w || !c->next) {
		free(w);
		chase_release(c);
		return -ENOMEM;
	}
	w->chase = c;
	w->ix = ix;
	w->reader = r;
	w->rules = rules;
	for (size_t i = 0; i < ix->nsegments && !w->failed; i++)
		sweep_segment(w, &ix->segments[i]);
	flush(w);
	failed = w->failed;
	free(w);
	if (failed)
		chase_release(c);
	return failed ? -ENOMEM : 0;
}

void chase_release(struct chase *c)
{
	if (c->next)
		munmap(c->next, table_bytes(c->nblocks));
	free(c->more);
	*c = (struct chase){ 0 };
}

void chase_settle(struct chase *c, struct index *ix)
{
	if (!c->unsettled)
		return;
	c->unsettled = false;
	for (size_t i = 0; i < ix->nlines; i++) {
		struct line *l = &ix->lines[i];

		for (unsigned int k = 0; k < 2; k++) {
			uint64_t bits = l->starts[k] & ~l->scanned[k], seen = 0;
			uint32_t b = line_block(l, k, 0);

			if (bits == l->starts[k]) { /* most often: all of them, one after the other */
				for (; bits; bits &= bits - 1)
					if (c->next[b++] & CHASE_SEEN)
						seen |= bits & -bits;
			}
			for (; bits; bits &= bits - 1)
				if (c->next[line_block(l, k, (unsigned int)__builtin_ctzll(bits))] &
				    CHASE_SEEN)
					seen |= bits & -bits;
			l->reached[k] |= seen;
			l->scanned[k] |= seen;
		}
	}
}

uint64_t chase_scanned(const struct chase *c, const struct index *ix)
{
	uint64_t bytes = c->bytes;

	for (size_t i = 0; c->next && i < ix->nlines; i++)
		for (unsigned int k = 0; k < 2; k++) {
			const struct line *l = &ix->lines[i];
			uint64_t bits = l->starts[k] & ~l->reached[k];

			for (; bits; bits &= bits - 1) {
				uint32_t b = line_block(l, k, (unsigned int)__builtin_ctzll(bits));

				if (c->next[b] != CHASE_READ)
					bytes -= block_length(&ix->blocks[b]);
			}
		}
	return bytes;
}

uint64_t chase_memory(const struct chase *c)
{
	return c->next ? table_bytes(c->nblocks) + c->cap * sizeof(uint32_t) : 0;
}
