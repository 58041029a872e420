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
 * A list in random order would make each of its members a read of its own: reach_chase.c takes over then.
 *
 * Threads share the bits by atomic or; a segment belongs to one worker at a time.  Which worker does what
 * is chance, what is reached is not.  Thread 0 is the caller; the others help when there is
 * enough to do, so that a chain of pointers stays with one thread.
 */
#include "analysis/reach_work.h"
#include "proc/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (UINT64_C(1) << 22)  /* of a root or a large block: one task */
#define SPARSE (UINT64_C(1) << 26) /* worth asking where its first page is */
#define HELP_AT 4                  /* pending segments and tasks that are worth waking a helper */

static void wake(struct mark *m)
{
	uint32_t work = __atomic_load_n(&m->npending, __ATOMIC_SEQ_CST) +
	                __atomic_load_n(&m->tasks_seen, __ATOMIC_SEQ_CST);
	bool help = work >= HELP_AT && __atomic_load_n(&m->idle, __ATOMIC_SEQ_CST);
	bool done = work && __atomic_load_n(&m->waiting, __ATOMIC_SEQ_CST);

	if (!help && !done)
		return;
	pthread_mutex_lock(&m->lock);
	if (m->workers[0].alone) /* then it is the one that calls */
		m->workers[0].alone = false;
	if (help)
		pthread_cond_signal(&m->help);
	if (done)
		pthread_cond_signal(&m->done);
	pthread_mutex_unlock(&m->lock);
}

void work_pending(struct mark *m, const struct segment *s)
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
void work_pieces(struct mark *m, uint64_t start, uint64_t end)
{
	uint64_t over = m->unaligned ? 7 : 0;

	for (uint64_t at = start; at < end; at += PIECE) {
		if (end - at > SPARSE) { /* may be a reservation of which little is used */
			uint64_t next = image_skip(m->img, at, end);
			uint64_t skip = next > at + over ? (next - over - at) / PIECE * PIECE : 0;

			__atomic_fetch_add(&m->skipped, skip, __ATOMIC_RELAXED);
			at += skip;
			if (at >= end)
				break;
		}
		push_task(m, at, end - at <= PIECE + over ? end : at + PIECE + over);
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
		work_task(w, t);
		pthread_mutex_lock(&m->lock);
		return true;
	}
	s = take_segment(m);
	if (s) {
		size_t i = (size_t)(s - m->ix->segments);

		pthread_mutex_unlock(&m->lock);
		work_segment(w, s);
		pthread_mutex_lock(&m->lock);
		m->claimed[i / 64] &= ~(UINT64_C(1) << i % 64);
		return true;
	}
	return false;
}

/* With the lock. */
static bool worth_helping(const struct mark *m)
{
	return m->ntasks + __atomic_load_n(&m->npending, __ATOMIC_SEQ_CST) >= HELP_AT &&
	       !m->workers[0].alone && !__atomic_load_n(&m->want_chase, __ATOMIC_SEQ_CST);
}

static void *helper(void *arg)
{
	struct worker *w = arg;
	struct mark *m = w->mark;

	pthread_mutex_lock(&m->lock);
	while (!m->stop) {
		while (!m->stop && fetch_help(m))
			;
		if (worth_helping(m)) {
			m->busy++;
			while (worth_helping(m) && work_once(w))
				;
			pthread_mutex_unlock(&m->lock);
			work_flush(w);
			pthread_mutex_lock(&m->lock);
			m->busy--;
			pthread_cond_signal(&m->done);
		}
		__atomic_add_fetch(&m->idle, 1, __ATOMIC_SEQ_CST);
		if (!m->stop && !worth_helping(m) && !fetch_wanted(m))
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
	m->chase_memory = chase_memory(&m->chase);
	m->lonely_most = 0; /* once is enough */
	pthread_mutex_lock(&m->lock);
}

int mark_run(struct mark *m)
{
	struct worker *w = &m->workers[0];

	start_helpers(m);
	work_drain(w);
	pthread_mutex_lock(&m->lock);
	for (;;) {
		if (__atomic_load_n(&m->want_chase, __ATOMIC_SEQ_CST) && m->lonely_most) {
			if (!m->busy)
				begin_chase(m);
			else
				pthread_cond_wait(&m->done, &m->lock);
			continue;
		}
		if (worth_helping(m))
			pthread_cond_signal(&m->help);
		else
			w->alone = !m->busy;
		if (work_once(w)) {
			w->alone = false;
			continue;
		}
		w->alone = false;
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
	chase_settle(&m->chase, m->ix);
	work_flush(w);
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
	work_pieces(m, start, end);
}

void mark_seed_words(struct mark *m, const uint64_t *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t v = words[i] & m->mask;

		if (v - m->lo <= m->span)
			work_candidate(&m->workers[0], v);
	}
	work_drain(&m->workers[0]);
}

void mark_seed_block(struct mark *m, uint32_t block)
{
	struct spot s;

	index_spot(m->ix, block, &s);
	work_reach(&m->workers[0], &s, block_address(&m->blocks[block]));
}

struct hit *mark_hits(struct mark *m, size_t *ret_n)
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
	struct mark_sums s = { .scanned = chase_scanned(&m->chase, m->ix) + m->skipped,
		               .memory = sizeof(*m) + m->npending_words * 16 +
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
	for (unsigned int i = 0; i < FETCHES; i++) {
		s.swapped += m->fetch[i].reader.swapped;
		s.memory += m->fetch[i].reader.cap;
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
	struct mark *m = aligned_alloc(CACHE_LINE,
	                               sizeof(*m)); /* a multiple of it: its workers are aligned */
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	bool failed = false;

	if (!m)
		return NULL;
	memset(m, 0, sizeof(*m));
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
	pthread_cond_init(&m->fetched, NULL);
	for (unsigned int i = 0; i < FETCHES && m->nworkers > 1; i++)
		failed |= reader_init(&m->fetch[i].reader, img, WINDOW + 4096) < 0;
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
	pthread_cond_destroy(&m->fetched);
	for (unsigned int i = 0; i < FETCHES; i++)
		reader_release(&m->fetch[i].reader);
	pthread_mutex_destroy(&m->lock);
	chase_release(&m->chase);
	free(m->pending);
	free(m->claimed);
	free(m->tasks);
	free(m->hits);
	free(m);
}
