/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marking without a queue of blocks: a block that is reached and not yet looked through is a bit
 * in its segment's lines, and a segment with such bits is a bit among the pending ones.  A worker
 * takes a pending segment, reads the stretches where its blocks lie, a few large reads rather than many small
 * ones, and looks through all of them; a block that this reaches inside the bytes at hand
 * is looked through next, others wait for their segment.  So a heap held by arrays costs one pass over
 * its memory, in whatever order the pointers come, and a list in order of allocation costs the same: a worker that finds
 * itself going on where its last read ended reads ever further ahead (or back).
 *
 * Roots and blocks larger than a segment are cut into tasks and come first, since what they reach
 * makes the segments' reads worthwhile.
 *
 * A pointer is looked up some words after it was seen, when its line has arrived in the cache.
 *
 * Threads share the bits by atomic or; a segment belongs to one worker at a time.  Which worker does what
 * is chance, what is reached is not.  Thread 0 is the caller; the others help when there is
 * enough to do, so that a chain of pointers stays with one thread.
 */
#include "analysis/reach_mark.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "analysis/reach_chase.h"
#include "proc/image.h"

#define MAX_WORKERS 8
#define PIECE (UINT64_C(1) << 22) /* of a root or a large block: one task */
#define WINDOW ((size_t)(2 * SEGMENT_SIZE))
#define READ_MIN 256 /* around a single block */
#define GAP 4096     /* that is read rather than begin another read */
#define RING 32
#define STACK 256
#define DEFER 8192
#define TRAIL 32
#define HELP_AT 4 /* pending segments and tasks that are worth waking a helper */

struct worker {
	struct mark *mark;
	pthread_t thread;
	struct reader reader, probe;
	struct vtables vtables;
	struct segment *segment; /* the one it has; NULL: none */
	size_t ahead;            /* how far to read on */
	struct {
		uint64_t v;
		struct segment *segment;
	} ring[RING];
	unsigned int ring_head, ring_n;
	struct {
		struct line *line;
		uint32_t block;
		uint8_t word, bit;
	} stack[STACK]; /* reached, and in the window */
	unsigned int nstack;
	uint32_t trail[TRAIL]; /* positions of blocks that a chase led to; more[] when it is full */
	unsigned int trail_head, trail_n;
	uint32_t *more;
	size_t nmore, more_cap;
	size_t lonely;      /* reads for one block, far from the one before */
	uint64_t *deferred; /* interior pointers whose heuristics are to be looked at */
	size_t ndeferred;
	uint32_t *hits;
	size_t nhits, hits_cap;
	uint64_t scanned, unreadable;
	bool failed;
};

struct task {
	uint64_t start, end;
};

struct mark {
	const struct image *img;
	struct index *ix;
	struct block *blocks;
	uint64_t lo, span, mask;
	unsigned int heuristics;
	bool interior, unaligned, all;
	uint64_t *pending; /* atomic; segments */
	uint64_t *claimed; /* under lock */
	size_t npending_words;
	uint32_t npending; /* atomic */
	size_t cursor;
	struct task *tasks; /* under lock */
	size_t ntasks, tasks_cap;
	uint32_t tasks_seen; /* ntasks, atomic */
	pthread_mutex_t lock;
	pthread_cond_t help, done;
	uint32_t idle;     /* helpers that wait; atomic */
	uint32_t waiting;  /* the caller waits; atomic */
	unsigned int busy; /* helpers at work */
	bool stop, failed;
	struct chase chase; /* next NULL: none */
	size_t lonely_most; /* lonely reads of a worker that make a chase worthwhile */
	bool want_chase;    /* atomic */
	uint64_t chase_memory;
	uint32_t *hits;
	size_t nhits;
	struct worker workers[MAX_WORKERS];
	unsigned int nworkers, nthreads;
};

static uint64_t load64(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void wake(struct mark *m)
{
	uint32_t work = __atomic_load_n(&m->npending, __ATOMIC_SEQ_CST) +
	                __atomic_load_n(&m->tasks_seen, __ATOMIC_SEQ_CST);
	bool help = work >= HELP_AT && __atomic_load_n(&m->idle, __ATOMIC_SEQ_CST);
	bool done = work && __atomic_load_n(&m->waiting, __ATOMIC_SEQ_CST);

	if (!help && !done)
		return;
	pthread_mutex_lock(&m->lock);
	if (help)
		pthread_cond_signal(&m->help);
	if (done)
		pthread_cond_signal(&m->done);
	pthread_mutex_unlock(&m->lock);
}

static void set_pending(struct mark *m, const struct segment *s)
{
	size_t i = (size_t)(s - m->ix->segments);
	uint64_t bit = UINT64_C(1) << i % 64;

	if (load64(&m->pending[i / 64]) & bit)
		return;
	if (__atomic_fetch_or(&m->pending[i / 64], bit, __ATOMIC_SEQ_CST) & bit)
		return;
	__atomic_add_fetch(&m->npending, 1, __ATOMIC_SEQ_CST);
	wake(m);
}

static void push_task(struct mark *m, uint64_t start, uint64_t end)
{
	pthread_mutex_lock(&m->lock);
	if (m->ntasks == m->tasks_cap) {
		size_t cap = m->tasks_cap ? m->tasks_cap * 2 : 64;
		void *p = reallocarray(m->tasks, cap, sizeof(*m->tasks));

		if (!p)
			m->failed = true;
		else {
			m->tasks = p;
			m->tasks_cap = cap;
		}
	}
	if (m->ntasks < m->tasks_cap)
		m->tasks[m->ntasks++] = (struct task){ start, end };
	__atomic_store_n(&m->tasks_seen, m->ntasks, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&m->lock);
	wake(m);
}

/* Where every byte is looked at, a word may lie across two pieces. */
static void push_pieces(struct mark *m, uint64_t start, uint64_t end)
{
	uint64_t over = m->unaligned ? 7 : 0;

	for (uint64_t at = start; at < end; at += PIECE)
		push_task(m, at, end - at <= PIECE + over ? end : at + PIECE + over);
}

/* ---- a pointer ------------------------------------------------------------------------------- */

static void trail_add(struct worker *w, uint32_t position)
{
	if (w->trail_n < TRAIL) {
		__builtin_prefetch(&w->mark->ix->lines[position / LINE_BITS], 1);
		w->trail[(w->trail_head + w->trail_n++) % TRAIL] = position;
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
	w->more[w->nmore++] = position;
}

/* A block whose pointers are known from the chase's table need not be read.  false: it must be. */
static bool follow(struct worker *w, struct line *l, unsigned int word, uint64_t bit)
{
	const struct chase *c = &w->mark->chase;
	uint32_t b = line_block(l, word, (unsigned int)__builtin_ctzll(bit)), next = c->next[b];

	if (next == CHASE_READ)
		return false;
	l->scanned[word] |= bit;
	w->scanned += block_length(&w->mark->blocks[b]);
	if (next & CHASE_MORE) {
		const uint32_t *more = &c->more[next & ~CHASE_MORE];

		for (uint32_t i = 0; i < more[0]; i++)
			trail_add(w, more[1 + i]);
	} else if (next != CHASE_NONE) {
		trail_add(w, next - CHASE_FIRST);
	}
	return true;
}

static void trail_pop(struct worker *w)
{
	const struct mark *m = w->mark;
	struct spot s = { 0 };
	uint32_t at;

	if (!w->trail_n)
		trail_add(w, w->more[--w->nmore]);
	at = w->trail[w->trail_head];
	w->trail_head = (w->trail_head + 1) % TRAIL;
	w->trail_n--;
	s.line = &m->ix->lines[at / LINE_BITS];
	s.word = at / 64 % 2;
	s.bit = UINT64_C(1) << at % 64;
	if (spot_reached(&s) || !spot_reach(&s) || follow(w, s.line, s.word, s.bit))
		return;
	at = line_block(s.line, s.word, at % 64);
	set_pending(w->mark, index_segment(m->ix, block_address(&m->blocks[at]) >> SEGMENT_SHIFT));
}

static void reach(struct worker *w, const struct spot *s)
{
	struct mark *m = w->mark;

	if (spot_reached(s) || !spot_reach(s))
		return;
	if (m->chase.next && follow(w, s->line, s->word, s->bit))
		return;
	if (s->segment == w->segment && w->nstack < STACK) {
		unsigned int bit = (unsigned int)__builtin_ctzll(s->bit);
		uint32_t b = line_block(s->line, s->word, bit);
		uint64_t a = block_address(&m->blocks[b]);

		if (reader_has(&w->reader, a & ~UINT64_C(7), a + block_length(&m->blocks[b]))) {
			w->stack[w->nstack].line = s->line;
			w->stack[w->nstack].block = b;
			w->stack[w->nstack].word = (uint8_t)s->word;
			w->stack[w->nstack++].bit = (uint8_t)bit;
			return;
		}
	}
	set_pending(m, s->segment);
}

static void hit_flag(struct worker *w, uint32_t b, uint64_t flags)
{
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
	w->hits[w->nhits++] = b;
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
static void flush_deferred(struct worker *w)
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
			hit_flag(w, b, BLOCK_HIT | found << BLOCK_HEURISTICS_SHIFT);
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
		reach(w, &s);
	} else if (spot_reached(&s)) {
		return;
	} else if (!m->heuristics) {
		hit_flag(w, b, BLOCK_HIT);
	} else {
		if (w->ndeferred == DEFER)
			flush_deferred(w);
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
		reach(w, &(struct spot){ s, l, bit, word });
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

static void candidate(struct worker *w, uint64_t v)
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
			candidate(w, v);
	}
}

/* ---- a segment ------------------------------------------------------------------------------- */

static void drain(struct worker *w);

static void scan_block(struct worker *w, uint32_t b)
{
	struct mark *m = w->mark;
	uint64_t a = block_address(&m->blocks[b]), end = a + block_length(&m->blocks[b]);

	if (end - a > SEGMENT_SIZE) {
		push_pieces(m, a, end);
		return;
	}
	scan(w, a, end);
}

static void drain_stack(struct worker *w)
{
	while (w->nstack) {
		uint32_t b = w->stack[--w->nstack].block;
		uint64_t *scanned = &w->stack[w->nstack].line->scanned[w->stack[w->nstack].word];
		uint64_t bit = UINT64_C(1) << w->stack[w->nstack].bit;

		if (*scanned & bit)
			continue;
		*scanned |= bit;
		scan_block(w, b);
	}
}

static void drain(struct worker *w)
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
	}
	reader_fill(r, a, to, s);
}

static void do_segment(struct worker *w, struct segment *s)
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
					drain(w);
					continue;
				}
				show(w, s, i, word, b);
				l->scanned[word] |= pend & -pend;
				scan_block(w, b);
				drain_stack(w);
			}
		}
	}
	drain(w);
	w->segment = NULL;
}

static void do_task(struct worker *w, struct task t)
{
	const struct mark *m = w->mark;
	uint64_t start = t.start;

	while (start < t.end) {
		uint64_t end = t.end - start > WINDOW - 8 ? (start & ~UINT64_C(7)) + WINDOW - 8
		                                          : t.end;

		reader_fill(&w->reader, start & ~UINT64_C(7), end, NULL);
		scan(w, start, end);
		drain(w);
		start = m->unaligned && end < t.end ? end - 7 : end;
	}
}

/* ---- who does what --------------------------------------------------------------------------- */

/* With the lock.  The next segment that waits and that nobody has; NULL: none. */
static struct segment *take_segment(struct mark *m)
{
	if (!__atomic_load_n(&m->npending, __ATOMIC_SEQ_CST))
		return NULL;
	for (size_t n = 0; n <= m->npending_words; n++) {
		size_t i = (m->cursor / 64 + n) % m->npending_words;
		uint64_t bits = load64(&m->pending[i]) & ~m->claimed[i];

		if (!n)
			bits &= UINT64_MAX << m->cursor % 64;
		if (bits) {
			size_t at = i * 64 + (size_t)__builtin_ctzll(bits);

			bits &= -bits;
			__atomic_fetch_and(&m->pending[i], ~bits, __ATOMIC_SEQ_CST);
			__atomic_sub_fetch(&m->npending, 1, __ATOMIC_SEQ_CST);
			m->claimed[i] |= bits;
			m->cursor = (at + 1) % (m->npending_words * 64);
			return &m->ix->segments[at];
		}
	}
	return NULL;
}

/* With the lock, which it gives back for the time of the work.  false: nothing to do. */
static bool work_once(struct worker *w)
{
	struct mark *m = w->mark;
	struct segment *s;

	if (m->ntasks) {
		struct task t = m->tasks[--m->ntasks];

		__atomic_store_n(&m->tasks_seen, m->ntasks, __ATOMIC_SEQ_CST);
		pthread_mutex_unlock(&m->lock);
		do_task(w, t);
		pthread_mutex_lock(&m->lock);
		return true;
	}
	s = take_segment(m);
	if (s) {
		size_t i = (size_t)(s - m->ix->segments);

		pthread_mutex_unlock(&m->lock);
		do_segment(w, s);
		pthread_mutex_lock(&m->lock);
		m->claimed[i / 64] &= ~(UINT64_C(1) << i % 64);
		return true;
	}
	return false;
}

static bool worth_helping(const struct mark *m)
{
	return m->ntasks + __atomic_load_n(&m->npending, __ATOMIC_SEQ_CST) >= HELP_AT &&
	       !__atomic_load_n(&m->want_chase, __ATOMIC_SEQ_CST);
}

static void *helper(void *arg)
{
	struct worker *w = arg;
	struct mark *m = w->mark;

	pthread_mutex_lock(&m->lock);
	while (!m->stop) {
		if (worth_helping(m)) {
			m->busy++;
			while (worth_helping(m) && work_once(w))
				;
			pthread_mutex_unlock(&m->lock);
			flush_deferred(w);
			pthread_mutex_lock(&m->lock);
			m->busy--;
			pthread_cond_signal(&m->done);
		}
		__atomic_add_fetch(&m->idle, 1, __ATOMIC_SEQ_CST);
		if (!m->stop && !worth_helping(m))
			pthread_cond_wait(&m->help, &m->lock);
		__atomic_sub_fetch(&m->idle, 1, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static void start_helpers(struct mark *m)
{
	while (m->nthreads + 1 < m->nworkers &&
	       !pthread_create(&m->workers[m->nthreads + 1].thread, NULL, helper,
	                       &m->workers[m->nthreads + 1]))
		m->nthreads++;
	m->nworkers = m->nthreads + 1;
}

/* With the lock, and no helper at work: they stay idle from here on, what is left is a matter of memory's latency. */
static void begin_chase(struct mark *m)
{
	struct worker *w = &m->workers[0];
	const struct chase_rules rules = { m->mask, m->unaligned };

	pthread_mutex_unlock(&m->lock);
	if (chase_init(&m->chase, m->ix, &w->reader, &rules) == -ENOMEM)
		m->failed = true;
	m->chase_memory = chase_memory(&m->chase, m->ix);
	m->lonely_most = 0; /* once is enough */
	pthread_mutex_lock(&m->lock);
}

int mark_run(struct mark *m)
{
	struct worker *w = &m->workers[0];

	start_helpers(m);
	drain(w);
	pthread_mutex_lock(&m->lock);
	for (;;) {
		if (__atomic_load_n(&m->want_chase, __ATOMIC_SEQ_CST) && m->lonely_most) {
			if (!m->busy)
				begin_chase(m);
			else
				pthread_cond_wait(&m->done, &m->lock);
			continue;
		}
		if (work_once(w))
			continue;
		__atomic_store_n(&m->waiting, 1, __ATOMIC_SEQ_CST);
		if (!m->ntasks && !__atomic_load_n(&m->npending, __ATOMIC_SEQ_CST)) {
			if (!m->busy)
				break;
			pthread_cond_wait(&m->done, &m->lock);
		} else if (m->busy) {
			/* what waits belongs to a segment that a helper has */
			pthread_cond_wait(&m->done, &m->lock);
		}
		__atomic_store_n(&m->waiting, 0, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&m->waiting, 0, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&m->lock);
	flush_deferred(w);
	for (unsigned int i = 0; i < m->nworkers; i++)
		m->failed |= m->workers[i].failed;
	return m->failed ? -ENOMEM : 0;
}

/* ---- seeds and results ----------------------------------------------------------------------- */

void mark_all_pointers(struct mark *m, bool all)
{
	m->all = all;
}

void mark_seed_range(struct mark *m, uint64_t start, uint64_t end)
{
	push_pieces(m, start, end);
}

void mark_seed_words(struct mark *m, const uint64_t *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t v = words[i] & m->mask;

		if (v - m->lo <= m->span)
			candidate(&m->workers[0], v);
	}
	drain(&m->workers[0]);
}

void mark_seed_block(struct mark *m, uint32_t block)
{
	struct spot s;

	index_spot(m->ix, block, &s);
	reach(&m->workers[0], &s);
}

uint32_t *mark_hits(struct mark *m, size_t *ret_n)
{
	size_t n = 0;

	for (unsigned int i = 0; i < m->nworkers; i++)
		n += m->workers[i].nhits;
	free(m->hits);
	m->nhits = 0;
	m->hits = malloc((n + 1) * sizeof(*m->hits));
	if (!m->hits)
		return NULL;
	for (unsigned int i = 0; i < m->nworkers; i++) {
		if (m->workers[i].nhits)
			memcpy(m->hits + m->nhits, m->workers[i].hits,
			       m->workers[i].nhits * sizeof(*m->hits));
		m->nhits += m->workers[i].nhits;
		m->workers[i].nhits = 0;
	}
	*ret_n = n;
	return m->hits;
}

struct mark_sums mark_sums(const struct mark *m)
{
	struct mark_sums s = { .memory = sizeof(*m) + m->npending_words * 16 +
		                         m->tasks_cap * sizeof(*m->tasks) +
		                         m->nhits * sizeof(*m->hits) };

	for (unsigned int i = 0; i < m->nworkers; i++) {
		const struct worker *w = &m->workers[i];

		s.scanned += w->scanned;
		s.unreadable += w->unreadable;
		s.swapped += w->reader.swapped;
		s.memory += w->reader.cap + w->probe.cap + DEFER * sizeof(*w->deferred) +
		            w->hits_cap * sizeof(*w->hits) + w->more_cap * sizeof(*w->more);
	}
	s.memory += m->chase_memory;
	return s;
}

/* A lonely read costs about what 100 blocks or 20 KB of a sweep cost. */
static size_t chase_worth(const struct index *ix)
{
	return 4096 + ix->nblocks / 128 + (size_t)(ix->bytes >> 14);
}

void mark_forget_chase(struct mark *m)
{
	chase_release(&m->chase);
}

struct mark *mark_new(const struct image *img, struct index *ix, struct block *blocks,
                      const struct reach_options *opts)
{
	struct mark *m = calloc(1, sizeof(*m));
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	bool failed = false;

	if (!m)
		return NULL;
	m->img = img;
	m->ix = ix;
	m->blocks = blocks;
	m->lo = ix->lo;
	m->span = ix->span;
	m->mask = opts->pointer_mask ? opts->pointer_mask : UINT64_MAX;
	m->heuristics = opts->heuristics;
	m->interior = opts->interior_reachable;
	m->unaligned = opts->unaligned;
	m->lonely_most = opts->chase_after ? opts->chase_after : chase_worth(ix);
	m->npending_words = ix->nsegments / 64 + 1;
	m->pending = calloc(m->npending_words, sizeof(*m->pending));
	m->claimed = calloc(m->npending_words, sizeof(*m->claimed));
	m->nworkers = opts->threads ? opts->threads : processors > 1 ? 2 : 1;
	if (m->nworkers > MAX_WORKERS)
		m->nworkers = MAX_WORKERS;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->help, NULL);
	pthread_cond_init(&m->done, NULL);
	for (unsigned int i = 0; i < m->nworkers; i++) {
		struct worker *w = &m->workers[i];

		w->mark = m;
		failed |= reader_init(&w->reader, img, WINDOW + 4096) < 0 ||
		          reader_init(&w->probe, img, 4096) < 0;
		w->deferred = malloc(DEFER * sizeof(*w->deferred));
		failed |= !w->deferred;
	}
	if (failed || !m->pending || !m->claimed) {
		mark_free(m);
		return NULL;
	}
	return m;
}

void mark_free(struct mark *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_cond_broadcast(&m->help);
	pthread_mutex_unlock(&m->lock);
	for (unsigned int i = 1; i <= m->nthreads; i++)
		pthread_join(m->workers[i].thread, NULL);
	for (unsigned int i = 0; i < MAX_WORKERS; i++) {
		reader_release(&m->workers[i].reader);
		reader_release(&m->workers[i].probe);
		free(m->workers[i].deferred);
		free(m->workers[i].hits);
		free(m->workers[i].more);
	}
	pthread_cond_destroy(&m->help);
	pthread_cond_destroy(&m->done);
	pthread_mutex_destroy(&m->lock);
	chase_release(&m->chase);
	free(m->pending);
	free(m->claimed);
	free(m->tasks);
	free(m->hits);
	free(m);
}
