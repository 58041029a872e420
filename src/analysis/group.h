/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups: a view's sites summed up by one property, sorted.
 *
 *   site      stacks that look the same and have the same kind
 *   function  self: blocks allocated right there; total: by it or anything it called
 *   module    likewise
 *   thread    who allocated what is in use (from the profile's cells)
 *   kind      heap, mmap, thread stack; stacks are reserved rather than in use, so beside
 *             other kinds they are not in the sum
 *
 * A function that occurs several times in one stack (recursion) counts once.
 */
#ifndef SEEP_ANALYSIS_GROUP_H
#define SEEP_ANALYSIS_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "profile/profile.h"

struct seep_error;
struct view;

enum group_by { GROUP_SITE, GROUP_FUNCTION, GROUP_MODULE, GROUP_THREAD, GROUP_KIND };

/* What is looked at: one of a site's values, in bytes or in blocks. */
enum measure_value { MEASURE_INUSE, MEASURE_ALLOC, MEASURE_FREED, MEASURE_PEAK, MEASURE_NVALUES };

struct measure {
	enum measure_value value;
	bool blocks;
};

struct group_sum {
	struct prof_value value[MEASURE_NVALUES];
	uint64_t samples, inuse_samples;
	uint64_t oldest; /* born of the oldest live block, UINT64_MAX none */
	uint64_t sites;  /* how many fell together here */
};

struct group {
	uint32_t id; /* site: node of the view; function, thread: index; module: index or PROF_NO_MODULE */
	uint8_t kind; /* site, kind */
	bool cut;     /* site: the stack is not complete */
	struct group_sum self;
	struct group_sum total; /* function and module; else equal to self */
};

struct groups {
	struct group *items;
	size_t n;
	struct group_sum sum; /* over all sites in view */
};

enum group_order { ORDER_VALUE, ORDER_TOTAL, ORDER_BLOCKS, ORDER_AVERAGE, ORDER_AGE, ORDER_NAME };

/*
 * Largest `measure` first (functions and modules by total), ties in the order of
 * the profile; groups_sort() changes that.
 */
struct seep_error *groups_make(const struct view *v, enum group_by by, struct measure measure,
                               struct groups *ret_groups);
/* The same in no order, for who has one of its own. */
struct seep_error *groups_collect(const struct view *v, enum group_by by, struct groups *ret_groups);
/*
 * Just the sum over all sites of p in view, kinds of all sorts: no groups are made for it.  p is the view's profile, or
 * one whose sites are the view's by site_of (a side of a difference).
 */
struct group_sum groups_total(const struct view *v, const struct profile *p,
                              const uint32_t *site_of);
void groups_sort(const struct view *v, enum group_by by, struct measure measure,
                 enum group_order order, struct groups *g);
void groups_release(struct groups *g);
#define _cleanup_groups_ __attribute__((cleanup(groups_release)))

uint64_t measure_of(const struct prof_value *v, bool blocks);
uint64_t group_measure(const struct group_sum *s, struct measure m);
void group_sum_add(struct group_sum *to, const struct group_sum *s);

/*
 * The records behind one of the sum's values, as estimate.h wants them.  What is freed and what is in use are different
 * records; for the peak, which is a bit of both, and where nobody counted, the variance tells.
 */
uint64_t group_samples(const struct group_sum *s, enum measure_value m);

/* The name of a group as sorting and reports use it; NULL: unknown. */
const char *group_name(const struct view *v, enum group_by by, const struct group *g);

/* ---- histograms ---------------------------------------------------------- */

struct lifetimes {
	uint64_t blocks[PROF_LIFE_BUCKETS]; /* freed blocks, of the sites in view */
	uint64_t total;
};
struct lifetimes lifetimes_make(const struct view *v);
uint64_t lifetime_bucket_ns(unsigned int bucket); /* the bucket's shortest lifetime */

#endif
