/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker at work: a segment or a piece of a root is read and looked through, and each word that may be a pointer is
 * looked up some words after it was seen, when its line has arrived in the cache.  How segments come to
 * workers is reach_mark.c's business.
 */
#include "analysis/reach_work.h"

#include <stdlib.h>

#include "proc/image.h"

#define READ_MIN 256 /* around a single block */
#define GAP 4096     /* that is read rather than begin another read */

/* ---- a pointer ------------------------------------------------------------------------------- */

static void trail_add(struct worker *w, uint32_t block)
{
	if (w->trail_n < TRAIL) {
		__builtin_prefetch(&w->mark->chase.next[block], 1);
		w->trail[(w->trail_head + w->trail_n++) % TRAIL] = block;
		return;
	}
	if (w->nmore == w->more_cap) {
		size_t cap = w->more_cap ? w->more_cap * 2 : 1024;
		void *p = reallocarray(w->more, cap, sizeof(*w->more));

		if (!p) {
			w->failed = true;
			return;
		}
		w->more = p;
		w->more_cap = cap;
	}
	w->more[w->nmore++] = block;
}

/* A block whose pointers are known from the chase's table need not be read.  false: it must be. */
static bool follow(struct worker *w, struct line *l, unsigned int word, uint64_t bit)
{
	uint32_t b = line_block(l, word, (unsigned int)__builtin_ctzll(bit));

	if (w->mark->chase.next[b] == CHASE_READ)
		return false;
	l->scanned[word] |= bit;
	trail_add(w, b);
	return true;
}

/* One that was seen and is not in the table waits for its segment.  Nobody else is at work. */
static void trail_read(struct worker *w, uint32_t block)
{
	struct spot s;

	index_spot(w->mark->ix, block, &s);
	if (spot_reached(&s))
		return;
	spot_reach_alone(&s);
	work_pending(w->mark, s.segment);
}

/* The next block of the trail, and as long as there is just one way on, what comes behind it. */
static void trail_pop(struct worker *w)
{
	struct chase *c = &w->mark->chase;
	uint32_t b, next;

	if (!w->trail_n)
		trail_add(w, w->more[--w->nmore]);
	b = w->trail[w->trail_head];
	w->trail_head = (w->trail_head + 1) % TRAIL;
	w->trail_n--;
	for (;;) {
		next = c->next[b];
		if (next == CHASE_READ) {
			trail_read(w, b);
			return;
		}
		if (next & CHASE_SEEN)
			return;
		c->next[b] = next | CHASE_SEEN;
		c->unsettled = true;
		if (next == CHASE_NONE)
			return;
		if (next & CHASE_MORE) {
			const uint32_t *more = &c->more[next & ~CHASE_MORE];

			for (uint32_t i = 0; i < more[0]; i++)
				trail_add(w, more[1 + i]);
			return;
		}
		b = next - CHASE_FIRST;
		if (w->trail_n) { /* others wait: their loads overlap */
			trail_add(w, b);
			return;
		}
	}
}

/*
 * A chain of pointers is as fast as the way from one load to the next: so the address comes from the pointer itself, not
 * from the table of blocks, whose size is only compared with.
 */
void work_reach(struct worker *w, const struct spot *s, uint64_t address)
{
	struct mark *m = w->mark;

	if (spot_reached(s))
		return;
	if (w->alone)
		spot_reach_alone(s);
	else if (!spot_reach(s))
		return;
	if (m->chase.next && follow(w, s->line, s->word, s->bit))
		return;
	if (s->segment == w->segment && w->nstack < STACK) {
		unsigned int bit = (unsigned int)__builtin_ctzll(s->bit);
		uint32_t b = line_block(s->line, s->word, bit);

		if (reader_has(&w->reader, address & ~UINT64_C(7),
		               address + block_length(&m->blocks[b]))) {
			w->stack[w->nstack].line = s->line;
			w->stack[w->nstack].address = address;
			w->stack[w->nstack].block = b;
			w->stack[w->nstack].word = (uint8_t)s->word;
			w->stack[w->nstack++].bit = (uint8_t)bit;
			return;
		}
	}
	work_pending(m, s->segment);
}

static void hit_flag(struct worker *w, uint32_t b, uint64_t v, uint64_t flags)
{
	uint64_t offset = v - block_address(&w->mark->blocks[b]);
	block_word *word = (block_word *)&w->mark->blocks[b];
	uint64_t before;

	if ((__atomic_load_n(word, __ATOMIC_RELAXED) >> 48 & flags) == flags)
		return;
	before = __atomic_fetch_or(word, flags << 48, __ATOMIC_SEQ_CST) >> 48;
	if (before & BLOCK_HIT && (!(flags & ~BLOCK_HIT) || before >> BLOCK_HEURISTICS_SHIFT))
		return;
	if (w->nhits == w->hits_cap) {
		size_t cap = w->hits_cap ? w->hits_cap * 2 : 256;
		void *p = reallocarray(w->hits, cap, sizeof(*w->hits));

		if (!p) {
			w->failed = true;
			return;
		}
		w->hits = p;
		w->hits_cap = cap;
	}
	w->hits[w->nhits++] = (struct hit){ b, offset < UINT32_MAX ? (uint32_t)offset : UINT32_MAX };
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The block an interior pointer is in, or that ends where it points and is a new T[0]. */
static uint32_t interior_block(const struct mark *m, uint64_t v)
{
	uint32_t b = index_before(m->ix, v);

	if (b == NO_BLOCK || v < block_end(&m->blocks[b]))
		return b;
	return v == block_end(&m->blocks[b]) && m->blocks[b].size == 8 && !m->all && !m->interior &&
	                       m->heuristics & REACH_NEWARRAY
	               ? b
	               : NO_BLOCK;
}

/* In ascending order, so that one read serves many. */
void work_flush(struct worker *w)
{
	struct mark *m = w->mark;
	uint64_t previous = 0;

	qsort(w->deferred, w->ndeferred, sizeof(*w->deferred), compare_u64);
	w->probe.start = w->probe.end = 0;
	for (size_t i = 0; i < w->ndeferred; i++) {
		uint64_t v = w->deferred[i];
		uint32_t b = v == previous ? NO_BLOCK : interior_block(m, v);
		unsigned int found;
		struct spot s;

		previous = v;
		if (b == NO_BLOCK)
			continue;
		index_spot(m->ix, b, &s);
		if (spot_reached(&s))
			continue;
		found = heuristics_of(m->img, &w->probe, &w->vtables, &m->blocks[b], v,
		                      m->heuristics);
		if (found || v < block_end(&m->blocks[b]))
			hit_flag(w, b, v, BLOCK_HIT | found << BLOCK_HEURISTICS_SHIFT);
	}
	w->ndeferred = 0;
}

static void visit_interior(struct worker *w, uint64_t v)
{
	struct mark *m = w->mark;
	uint32_t b = interior_block(m, v);
	struct spot s;

	if (b == NO_BLOCK)
		return;
	index_spot(m->ix, b, &s);
	if (m->all || m->interior || v == block_address(&m->blocks[b])) {
		work_reach(w, &s, block_address(&m->blocks[b]));
	} else if (spot_reached(&s)) {
		return;
	} else if (!m->heuristics) {
		hit_flag(w, b, v, BLOCK_HIT);
	} else {
		if (w->ndeferred == DEFER)
			work_flush(w);
		w->deferred[w->ndeferred++] = v;
	}
}

static void visit(struct worker *w, uint64_t v, struct segment *s)
{
	uint64_t off = v - s->lo, g = off >> s->shift, bit = UINT64_C(1) << g % 64, below;
	unsigned int word = g / 64 % 2;
	struct line *l;

	if (!s->exact || v < s->lo || g / LINE_BITS >= s->nlines) {
		visit_interior(w, v);
		return;
	}
	l = &w->mark->ix->lines[s->line + g / LINE_BITS];
	if (l->starts[word] & bit && !(off & ((UINT64_C(1) << s->shift) - 1))) {
		work_reach(w, &(struct spot){ s, l, bit, word }, v);
		return;
	}
	/* Inside a block that is reached already, or behind its end: neither matters. */
	below = l->starts[word] & (bit | (bit - 1));
	if (below) {
		bit = UINT64_C(1) << (63 - __builtin_clzll(below));
		if (__atomic_load_n(&l->reached[word], __ATOMIC_RELAXED) & bit)
			return;
	}
	visit_interior(w, v);
}

static void ring_pop(struct worker *w)
{
	unsigned int i = w->ring_head;

	w->ring_head = (i + 1) % RING;
	w->ring_n--;
	visit(w, w->ring[i].v, w->ring[i].segment);
}

void work_candidate(struct worker *w, uint64_t v)
{
	struct index *ix = w->mark->ix;
	struct segment *s = index_segment(ix, v >> SEGMENT_SHIFT);
	uint64_t g;

	if (!s) {
		/* new T[0] may end where a segment without a start begins */
		if (ix->crossing)
			visit_interior(w, v);
		return;
	}
	g = (v - s->lo) >> s->shift;
	if (g / LINE_BITS < s->nlines)
		__builtin_prefetch(&ix->lines[s->line + g / LINE_BITS], 1);
	if (w->ring_n == RING)
		ring_pop(w);
	w->ring[(w->ring_head + w->ring_n) % RING].v = v;
	w->ring[(w->ring_head + w->ring_n++) % RING].segment = s;
}

/* All words in [start, end), which the reader has from start rounded down to a word on. */
static void scan(struct worker *w, uint64_t start, uint64_t end)
{
	const struct mark *m = w->mark;
	uint64_t lo = m->lo, span = m->span, mask = m->mask, v;
	uint64_t step = m->unaligned ? 1 : 8, at = m->unaligned ? start : (start + 7) & ~UINT64_C(7);
	const uint8_t *p = w->reader.data + (at - w->reader.start), *last;

	w->scanned += end - start;
	if (w->reader.nholes)
		w->unreadable += reader_unreadable(&w->reader, start, end);
	if (at >= end || end - at < sizeof(v))
		return;
	last = p + (end - at) - sizeof(v);
	for (; p <= last; p += step) {
		memcpy(&v, p, sizeof(v));
		v &= mask;
		if (v - lo <= span)
			work_candidate(w, v);
	}
}

/* ---- a segment ------------------------------------------------------------------------------- */

static void scan_block(struct worker *w, uint32_t b, uint64_t a)
{
	struct mark *m = w->mark;
	uint64_t end = a + block_length(&m->blocks[b]);

	if (end - a > SEGMENT_SIZE) {
		work_pieces(m, a, end);
		return;
	}
	scan(w, a, end);
}

static void drain_stack(struct worker *w)
{
	while (w->nstack) {
		uint32_t b = w->stack[--w->nstack].block;
		uint64_t a = w->stack[w->nstack].address;
		uint64_t *scanned = &w->stack[w->nstack].line->scanned[w->stack[w->nstack].word];
		uint64_t bit = UINT64_C(1) << w->stack[w->nstack].bit;

		if (*scanned & bit)
			continue;
		*scanned |= bit;
		scan_block(w, b, a);
	}
}

void work_drain(struct worker *w)
{
	while (w->nstack || w->ring_n || w->trail_n || w->nmore) {
		drain_stack(w);
		if (w->ring_n)
			ring_pop(w);
		while (w->trail_n || w->nmore)
			trail_pop(w);
	}
}

/* How far a read for the block at a set bit of line i should go: on while more wait close by. */
static uint64_t stretch(const struct mark *m, const struct segment *s, uint32_t i,
                        unsigned int word, uint64_t start, uint64_t end)
{
	for (; i < s->nlines; i++, word = 0) {
		for (; word < 2; word++) {
			const struct line *l = &m->ix->lines[s->line + i];
			uint64_t pend = load64(&l->reached[word]) & ~l->scanned[word], a, e;
			uint32_t b;

			if (!pend)
				continue;
			b = line_block(l, word, (unsigned int)__builtin_ctzll(pend));
			a = block_address(&m->blocks[b]);
			if (a > end + GAP)
				return end;
			b = line_block(l, word, 63 - (unsigned int)__builtin_clzll(pend));
			e = block_end(&m->blocks[b]);
			if (e - start > WINDOW || e - block_address(&m->blocks[b]) > SEGMENT_SIZE)
				return end;
			if (e > end)
				end = e;
		}
	}
	return end;
}

static void show(struct worker *w, struct segment *s, uint32_t i, unsigned int word, uint32_t b)
{
	const struct mark *m = w->mark;
	struct reader *r = &w->reader;
	uint64_t a = block_address(&m->blocks[b]) & ~UINT64_C(7), end = block_end(&m->blocks[b]), to;
	uint64_t lo = s->lo & ~UINT64_C(7), hi = block_end(&m->blocks[s->first + s->n - 1]);

	if (end - a > SEGMENT_SIZE + 8 || reader_has(r, a, end))
		return;
	segment_look(s, r);
	to = stretch(m, s, i, word, a, end);
	if (to == end) {
		/* alone: does it go on where the last read was? */
		uint64_t reach = w->ahead * 2 + READ_MIN;
		bool on = a >= r->start && a < r->end + reach;
		bool back = a < r->start && end + reach > r->start;

		if (!on && !back && ++w->lonely == m->lonely_most)
			__atomic_store_n(&w->mark->want_chase, true, __ATOMIC_SEQ_CST);
		w->ahead = !on && !back ? 0 : w->ahead ? w->ahead * 2 : READ_MIN;
		if (w->ahead > WINDOW / 2)
			w->ahead = WINDOW / 2;
		if (hi - a > WINDOW)
			hi = a + WINDOW;
		if (on && to < a + w->ahead)
			to = a + w->ahead < hi ? a + w->ahead : hi;
		if (back && end - a < w->ahead)
			a = end - lo < w->ahead ? lo : (end - w->ahead) & ~UINT64_C(7);
		if (to < end)
			to = end;
		if (on && w->ahead == WINDOW / 2) {
			if (!work_fetched(w, a, end))
				reader_fill(r, a, to, s);
			work_fetch(w);
			return;
		}
	}
	reader_fill(r, a, to, s);
}

void work_segment(struct worker *w, struct segment *s)
{
	struct mark *m = w->mark;

	w->segment = s;
	for (uint32_t i = 0; i < s->nlines; i++) {
		struct line *l = &m->ix->lines[s->line + i];

		for (unsigned int word = 0; word < 2; word++) {
			uint64_t pend;

			while ((pend = load64(&l->reached[word]) & ~l->scanned[word])) {
				uint32_t b =
					line_block(l, word, (unsigned int)__builtin_ctzll(pend));

				if (m->chase.next && follow(w, l, word, pend & -pend)) {
					work_drain(w);
					continue;
				}
				show(w, s, i, word, b);
				l->scanned[word] |= pend & -pend;
				scan_block(w, b, block_address(&m->blocks[b]));
				drain_stack(w);
			}
		}
	}
	work_drain(w);
	w->segment = NULL;
}

void work_task(struct worker *w, struct task t)
{
	const struct mark *m = w->mark;
	uint64_t start = t.start;

	while (start < t.end) {
		uint64_t end = t.end - start > WINDOW - 8 ? (start & ~UINT64_C(7)) + WINDOW - 8
		                                          : t.end;

		reader_fill(&w->reader, start & ~UINT64_C(7), end, NULL);
		scan(w, start, end);
		work_drain(w);
		start = m->unaligned && end < t.end ? end - 7 : end;
	}
}
