/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reach_mark.c (who does what) and reach_scan.c (what is done with a segment, a root, a pointer) share.
 */
#ifndef SEEP_ANALYSIS_REACH_WORK_H
#define SEEP_ANALYSIS_REACH_WORK_H

#include <pthread.h>

#include "analysis/reach_chase.h"
#include "analysis/reach_mark.h"

#define MAX_WORKERS 8
#define RING 32
#define STACK 256
#define TRAIL 32
#define WINDOW ((size_t)(2 * SEGMENT_SIZE))
#define DEFER 8192
#define CACHE_LINE 64

/* Each on lines of its own: what one thread writes, the other does not wait for. */
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
		uint64_t address;
		uint32_t block;
		uint8_t word, bit;
	} stack[STACK]; /* reached, and in the window */
	unsigned int nstack;
	uint32_t trail[TRAIL]; /* blocks that a chase led to; more[] when it is full */
	unsigned int trail_head, trail_n;
	uint32_t *more;
	size_t nmore, more_cap;
	size_t lonely;      /* reads for one block, far from the one before */
	uint64_t *deferred; /* interior pointers whose heuristics are to be looked at */
	size_t ndeferred;
	struct hit *hits;
	size_t nhits, hits_cap;
	uint64_t scanned, unreadable;
	bool failed;
	/* Of the caller's, and written by it, under lock: nobody else is at work, nor begins before this is cleared. */
	bool alone;
} __attribute__((aligned(CACHE_LINE)));

struct task {
	uint64_t start, end;
};

/* A window that is read before it is wanted: reach_fetch.c. */
struct fetch {
	struct reader reader; /* under lock unless FETCH_BUSY: then that of who reads it */
	enum { FETCH_NONE, FETCH_WANTED, FETCH_BUSY, FETCH_READY } state;
	uint64_t start, end;
};
#define FETCHES 8

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
	pthread_cond_t help, done, fetched;
	struct fetch fetch[FETCHES]; /* under lock */
	uint32_t idle;               /* helpers that wait; atomic */
	uint32_t waiting;            /* the caller waits; atomic */
	unsigned int busy;           /* helpers at work */
	bool stop, failed;
	struct chase chase; /* next NULL: none */
	size_t lonely_most; /* lonely reads of a worker that make a chase worthwhile */
	bool want_chase;    /* atomic */
	uint64_t chase_memory;
	struct hit *hits;
	size_t nhits;
	struct worker workers[MAX_WORKERS];
	unsigned int nworkers, nthreads;
	uint64_t skipped; /* atomic; bytes that no task is made for: nothing is there */
};

static inline uint64_t load64(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

/* reach_mark.c */
void work_pending(struct mark *m, const struct segment *s);     /* a block in it waits */
void work_pieces(struct mark *m, uint64_t start, uint64_t end); /* of a root or a large block */

/* reach_fetch.c */
/* Has w's reader show [start, end) if that was asked for; waits for it, if need be. */
bool work_fetched(struct worker *w, uint64_t start, uint64_t end);
/* What is behind the reader's window is going to be wanted. */
void work_fetch(struct worker *w);
bool fetch_wanted(const struct mark *m); /* with the lock: something is to be read */
bool fetch_help(
	struct mark *m); /* with the lock, which it gives back meanwhile: reads it.  false: nothing */

/* reach_scan.c */
/* The block that starts at `address` is reached now, if it was not before. */
void work_reach(struct worker *w, const struct spot *s, uint64_t address);
void work_candidate(struct worker *w, uint64_t v); /* a word between mark.lo and its end */
void work_drain(struct worker *w);                 /* looks up and through what is at hand */
void work_flush(struct worker *w);                 /* judges the interior pointers put off */
void work_segment(struct worker *w, struct segment *s);
void work_task(struct worker *w, struct task t);

#endif
