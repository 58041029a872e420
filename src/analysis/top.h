/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `seep top` shows: one process, read again and again.
 *
 * Readings are profiles of one ledger.  Sites, frames and modules only ever get more in a ledger, so
 * a site is known by its index from one reading to the next: what it holds now less what it held
 * then is its growth, without comparing a stack.  Names found once are carried over.
 *
 *     top_new() → top_take(reading) → top_rows_make(), top_rows_sort() → top_take(reading) → ...
 *
 * Rates are of bytes for each second, smoothed: what happened TOP_SMOOTH_NS ago counts a third of what
 * happens now.  Smoothing is linear, so the rate of a function is the sum of its sites' rates,
 * whatever the rows are made by and however they are filtered.  After the first reading alone
 * nothing is known of now: rates are then averages since tracking began (`average`).
 */
#ifndef SEEP_ANALYSIS_TOP_H
#define SEEP_ANALYSIS_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/group.h"
#include "base/idmap.h"

struct profile;
struct seep_error;
struct symbolizer;
struct view;
struct view_options;

#define TOP_SMOOTH_NS 10000000000ull

struct top_site {                      /* a site's past */
	uint64_t bytes, blocks, alloc; /* in use, and allocated in all, at the last reading */
	uint64_t base_bytes, base_blocks;
	int64_t delta; /* bytes, by the last reading */
	double growth, rate;
};

struct top_cell { /* the same of what one thread has of a site; allocated is not known by thread */
	uint32_t site, thread;
	uint64_t bytes, blocks, base_bytes, base_blocks;
	int64_t delta;
	double growth;
};

struct top_options {
	/* Gives names; borrowed.  NULL: none. */
	struct symbolizer *symbolizer;
	/* Blocks that count: at least that old, of these sizes (0: any).  Readings then need their blocks. */
	uint64_t min_age, min_size, max_size;
};

/* Callers read it; only the functions below change it. */
struct top {
	struct top_options options;
	struct profile *profile; /* the last reading; NULL before the first */
	struct view *view;       /* of it */
	uint32_t readings;
	bool average;       /* rates are since tracking began */
	bool based;         /* a base is marked */
	uint64_t base_time; /* when: ns since tracking began */

	struct top_site *sites;
	size_t nsites, cap_sites;
	struct top_cell *cells;
	size_t ncells, cap_cells;
	struct idmap cell_of;
	struct idmap symbol_of;      /* (module, pc) → a frame that has its symbol */
	double weight;               /* of the smoothed rates */
	struct view_options *wanted; /* what the view is made with; owns its strings */
	uint64_t symbols_ns,
		symbols_until; /* the cost of the last names, and when the next may be looked up */
	uint32_t views;        /* how many views were made: fewer than readings */
};

struct seep_error *top_new(const struct top_options *opts, const struct view_options *view,
                           struct top **ret_top);
void top_free(struct top *t);

/*
 * The next reading; p becomes t's, also on failure, after which t is only good for top_free().  It must have passed profile_check(), and have its blocks when
 * the options choose among them.  A profile of another ledger starts anew (exec).
 */
struct seep_error *top_take(struct top *t, struct profile *p);

/* Other filters from now on.  A bad regex is an error, and those before stay. */
struct seep_error *top_filter(struct top *t, const struct view_options *view);

/* From now on growth is also told since the last reading. */
void top_base_set(struct top *t);
void top_base_clear(struct top *t);

/* ---- rows --------------------------------------------------------------------- */

struct top_row {
	uint64_t key; /* the same thing has the same key in every reading, while the filter is the same */
	uint32_t id; /* as in struct group */
	uint8_t kind;
	bool cut;
	struct prof_value inuse, alloc; /* alloc is 0 by thread */
	struct prof_value self;         /* in use, of function and module; else as inuse */
	uint64_t samples;               /* records behind inuse */
	uint64_t oldest;                /* born of the oldest block; UINT64_MAX: none */
	int64_t delta;                  /* in use, bytes, since the reading before */
	int64_t base, base_blocks;      /* since the base; 0 without one */
	double growth, rate;            /* bytes/s: of in use, and allocated */
};

struct top_rows {
	struct top_row *items;
	size_t n;
	enum group_by by;
	struct top_row sum; /* over all sites in view */
};

/* Rows of what neither holds nor moves anything are left out. */
struct seep_error *top_rows_make(const struct top *t, enum group_by by, struct top_rows *ret_rows);
/* The sites that make up a row of `rows`, by site. */
struct seep_error *top_rows_within(const struct top *t, enum group_by by, const struct top_row *row,
                                   struct top_rows *ret_rows);

enum top_order {
	TOP_INUSE,
	TOP_BLOCKS,
	TOP_GROWTH, /* for each second */
	TOP_BASE,   /* since the base, or without one since the reading before */
	TOP_RATE,   /* allocated for each second */
	TOP_AGE,
	TOP_NAME,
	TOP_NORDERS
};
/* Largest first (names: from A), ties by what is in use. */
void top_rows_sort(const struct top *t, struct top_rows *rows, enum top_order order, bool reverse);
void top_rows_release(struct top_rows *rows);
#define _cleanup_top_rows_ __attribute__((cleanup(top_rows_release)))

/* What a row is called, NULL: unknown; and the location to look at for it, or UINT32_MAX. */
const char *top_row_name(const struct top *t, enum group_by by, const struct top_row *row);
uint32_t top_row_location(const struct top *t, enum group_by by, const struct top_row *row);
/* Its blocks' age: of the oldest one, in ns; UINT64_MAX when it has none. */
uint64_t top_row_age(const struct top *t, const struct top_row *row);
/* 95 %: what stands after ±; 0 when every block is recorded. */
uint64_t top_row_margin(const struct top *t, const struct top_row *row);

/* The blocks of a by-site row, oldest first: indices into profile.blocks. */
struct seep_error *top_row_blocks(const struct top *t, const struct top_row *row,
                                  uint32_t **ret_blocks, size_t *ret_n);

/* ---- blocks (top_blocks.c) ------------------------------------------------------ */

/*
 * Makes in-use values and cells those of the blocks that the options choose, and drops the others.  Allocated and
 * freed stay as they are.
 */
struct seep_error *top_choose_blocks(const struct top_options *o, struct profile *p);

/* ---- over time (top_history.c) ---------------------------------------------------- */

struct top_point {
	uint64_t time;       /* ns since tracking began */
	uint64_t inuse, rss; /* bytes; TOP_UNKNOWN */
};
#define TOP_UNKNOWN UINT64_MAX

/* The course of a process; thinned out as it gets longer, so that a week fits. */
struct top_history {
	struct top_point *points;
	size_t n, cap;
};

/* What the ledger noted before anybody looked. */
int top_history_seed(struct top_history *h, const struct profile *p);
int top_history_add(struct top_history *h, uint64_t time, uint64_t inuse, uint64_t rss);
void top_history_release(struct top_history *h);

/*
 * The points between two moments as n columns: each the largest value in its share of the time, TOP_UNKNOWN where
 * nothing is known; between two points the value holds.
 */
void top_history_columns(const struct top_history *h, bool rss, uint64_t from, uint64_t to,
                         uint64_t *ret_columns, size_t n);

#endif
