/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changed between profiles: two of them, or a series in the order of time.
 *
 * A diff has one profile of its own, `joint`: the code of all sides, with one site for every
 * (stack, kind) and one cell for every (site, thread) that any side has.  Views are made of that profile, so folding, filters and names work as for any
 * other; diff_load() puts the values of one side into its sites, and groups and trees of the view are then of that side.
 *
 * Stacks are the same when they look the same.  In a module that is the same file on all sides (build-id,
 * or path and time where there is none) that means function, file and line, and for code without a name its
 * address.  A module that was built anew in between keeps only the names of its functions and files: lines are left out
 * (0), and all its nameless code is one.
 *
 * Threads are the same when they are of one process and were born at the same time under the same number.  Another run
 * has other threads: there all those of one name are one, without a number.
 *
 * The profiles given are borrowed: they must outlive the diff, unchanged.
 */
#ifndef SEEP_ANALYSIS_DIFF_H
#define SEEP_ANALYSIS_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/group.h"

struct profile;
struct seep_error;
struct view;

struct diff {
	struct profile *joint;
	const struct profile *const *sides; /* borrowed */
	uint32_t **site_of;                 /* per side: its site → the joint one */
	uint32_t **cell_of;                 /* likewise for cells */
	size_t nsides;
	bool same_run;              /* all sides are of one process */
	size_t rebuilt;             /* modules that are not the same file on all sides */
	const char *rebuilt_module; /* one of them, NULL none */
	uint64_t elapsed_ns; /* from the first side to the last; 0: not known, or not one process */
};

/* At least two profiles, which have passed profile_check() and were symbolized; `sides` itself is borrowed too. */
struct seep_error *diff_make(const struct profile *const *sides, size_t n, struct diff **ret_diff);
void diff_free(struct diff *d);

static inline void diff_freep(struct diff **d)
{
	diff_free(*d);
}
#define _cleanup_diff_ __attribute__((cleanup(diff_freep)))

/* Makes the values of the joint profile's sites and cells those of side `side`. */
void diff_load(struct diff *d, size_t side);

/* When a profile was taken, in ns since the epoch; 0: it does not say. */
uint64_t diff_moment(const struct profile *p);

/* ---- changes ----------------------------------------------------------------- */

/*
 * A change of one value with its 95 % interval, which is [value, value] when both sides are exact.
 * Noise: the interval has zero in it (docs/SAMPLING.md, "Differences").
 */
struct diff_change {
	int64_t value, low, high;
	bool noise;
};

/*
 * From `first` to `last`.  `scale` is what the first is multiplied with (1: absolute; normalised: the ratio of
 * the totals).  Both sums must be of the same sites.
 */
struct diff_change diff_change(const struct diff *d, const struct group_sum *first,
                               const struct group_sum *last, struct measure m, double scale);

struct diff_item {
	uint32_t id; /* as group.id */
	uint8_t kind;
	bool cut;
	struct group_sum self[2], total[2]; /* of the first and of the last side */
	struct diff_change self_change, change;
	size_t grown;  /* steps from one side to the next that went up */
	size_t course; /* diff_course() */
};

struct diff_groups {
	struct diff_item *items;
	uint64_t *course; /* nsides numbers for each item, in the measure's unit */
	size_t n, nsides;
	struct group_sum sum[2]; /* over all sites in view */
	uint64_t *sum_course;
	struct measure measure;
	double scale;              /* of the first side; 1 unless normalised */
	struct diff_change change; /* of the sum */
	uint64_t grown, shrunk;    /* all sites' changes, upwards and downwards, together */
};

enum diff_order {
	DIFF_GROWTH, /* what grew most first, what shrank most last */
	DIFF_SHRINKAGE,
	DIFF_CHANGE, /* up or down */
	DIFF_SELF,   /* functions and modules: by their own growth */
	DIFF_BLOCKS, /* growth in blocks */
	DIFF_AFTER,  /* value of the last side */
	DIFF_NAME,
};

/* By thread only what is in use is known.  `v` is a view of d->joint.  Sorted by growth. */
struct seep_error *diff_groups_make(struct diff *d, const struct view *v, enum group_by by,
                                    struct measure m, bool normalize, struct diff_groups *ret);
void diff_groups_sort(const struct view *v, enum group_by by, enum diff_order order,
                      struct diff_groups *g);
void diff_groups_release(struct diff_groups *g);
#define _cleanup_diff_groups_ __attribute__((cleanup(diff_groups_release)))

const uint64_t *diff_course(const struct diff_groups *g, const struct diff_item *item);

/* ---- for the pictures ---------------------------------------------------------- */

/*
 * What ends at each node of a view, of one profile (then `first` is all zero) or of a
 * diff's first and last side.  Node 0 stands for what has no stack.
 */
struct node_pair {
	struct group_sum first, last;
};

struct node_pairs {
	struct node_pair *items; /* by node of the view */
	size_t n;
	struct node_pair sum;
	double scale; /* of the first side */
};

/* Only the sum and the scale (items stays NULL), for who needs no more; `d` may be NULL, as below. */
struct node_pairs node_pairs_total(const struct diff *d, const struct view *v, struct measure m,
                                   bool normalize);

/* `d` may be NULL: then of v's profile alone. */
struct seep_error *node_pairs_make(struct diff *d, const struct view *v, struct measure m,
                                   bool normalize, struct node_pairs *ret_pairs);
void node_pairs_release(struct node_pairs *p);
#define _cleanup_node_pairs_ __attribute__((cleanup(node_pairs_release)))

#endif
