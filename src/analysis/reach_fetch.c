/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain of pointers in order of address keeps one thread busy; a helper with nothing else to do reads what comes next for
 * it, a few windows ahead.  Where reading takes longer than following, the one that follows reads a
 * later window while it waits for the next.
 *
 * Windows overlap a little: a block that lies across the end of one is whole in the other.  There is one row of windows,
 * of whoever asked last.
 */
#include "analysis/reach_work.h"

#define FETCH_SIZE SEGMENT_SIZE
#define FETCH_OVERLAP 4096u

_Static_assert(FETCH_SIZE + FETCH_OVERLAP <= WINDOW + 4096, "a window fits its reader");

/* The window that waits with the lowest address. */
static struct fetch *first_wanted(struct mark *m)
{
	struct fetch *first = NULL;

	for (unsigned int i = 0; i < FETCHES; i++)
		if (m->fetch[i].state == FETCH_WANTED && (!first || m->fetch[i].start < first->start))
			first = &m->fetch[i];
	return first;
}

bool fetch_wanted(const struct mark *m)
{
	for (unsigned int i = 0; i < FETCHES; i++)
		if (m->fetch[i].state == FETCH_WANTED)
			return true;
	return false;
}

/* With the lock, which it gives back for the time of the read. */
static void fetch(struct mark *m, struct fetch *f)
{
	f->state = FETCH_BUSY;
	pthread_mutex_unlock(&m->lock);
	reader_fill(&f->reader, f->start, f->end, NULL);
	pthread_mutex_lock(&m->lock);
	f->state = FETCH_READY;
	pthread_cond_broadcast(&m->fetched);
}

bool fetch_help(struct mark *m)
{
	struct fetch *f = first_wanted(m);

	if (f)
		fetch(m, f);
	return f;
}

static struct fetch *with(struct mark *m, uint64_t start, uint64_t end)
{
	for (unsigned int i = 0; i < FETCHES; i++)
		if (m->fetch[i].state != FETCH_NONE && start >= m->fetch[i].start &&
		    end <= m->fetch[i].end)
			return &m->fetch[i];
	return NULL;
}

bool work_fetched(struct worker *w, uint64_t start, uint64_t end)
{
	struct mark *m = w->mark;
	struct fetch *f;
	bool got = false;

	pthread_mutex_lock(&m->lock);
	while ((f = with(m, start, end)) && f->state != FETCH_READY) {
		struct fetch *mine = f->state == FETCH_WANTED ? f : first_wanted(m);

		if (mine)
			fetch(m, mine);
		else
			pthread_cond_wait(&m->fetched, &m->lock);
	}
	if (f) {
		got = reader_has(&f->reader, start, end); /* less was read at the end of an image */
		if (got) {
			struct reader r = w->reader;

			w->reader = f->reader;
			f->reader = r;
		}
		f->state = FETCH_NONE;
	}
	pthread_mutex_unlock(&m->lock);
	return got;
}

void work_fetch(struct worker *w)
{
	struct mark *m = w->mark;
	uint64_t next = w->reader.end & ~UINT64_C(7), from = next - FETCH_OVERLAP;
	unsigned int nfree = 0;

	if (!m->nthreads)
		return;
	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < FETCHES; i++) {
		struct fetch *f = &m->fetch[i];

		if (f->state != FETCH_NONE && f->start >= from &&
		    f->start < next + FETCHES * FETCH_SIZE) {
			if (f->end > next)
				next = f->end;
		} else if (f->state != FETCH_BUSY) {
			f->state = FETCH_NONE;
			nfree++;
		}
	}
	/* Several at once: to wake the helper for each would cost more than it reads meanwhile. */
	if (nfree < FETCHES / 2)
		goto out;
	for (unsigned int i = 0; i < FETCHES && next - m->lo < m->span; i++) {
		struct fetch *f = &m->fetch[i];

		if (f->state != FETCH_NONE)
			continue;
		f->start = next - FETCH_OVERLAP;
		f->end = next + FETCH_SIZE;
		f->state = FETCH_WANTED;
		next = f->end;
	}
	if (fetch_wanted(m) && m->idle)
		pthread_cond_signal(&m->help);
out:
	pthread_mutex_unlock(&m->lock);
}
