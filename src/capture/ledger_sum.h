/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ledger's live records and counters add up to: per site, and per (site, thread).
 */
#ifndef SEEP_CAPTURE_LEDGER_SUM_H
#define SEEP_CAPTURE_LEDGER_SUM_H

#include "capture/ledger_file.h"
#include "profile/profile.h"

/* Live records: those with weight 1 exactly, the others as estimates. */
struct live_sum {
	uint64_t records;
	uint64_t blocks, bytes;       /* of records with weight 1 */
	double est_blocks, est_bytes; /* of the others */
	double var_blocks, var_bytes;
	uint32_t oldest;    /* ticks; valid when records > 0 */
	uint32_t last_cell; /* the site's cell used last: the likely next one */
};
_Static_assert(sizeof(struct live_sum) == 64, "a cache line");

struct cell_sum {
	uint32_t site, thread;
	double max_weight; /* as max_weight of the site */
	struct live_sum sum;
};

/* A site's counters and their tails, summed over the shards. */
struct counter_sum {
	uint64_t alloc_count, alloc_bytes, free_count, free_bytes, samples;
	double var_count, var_bytes, max_weight, max_weight_freed;
	uint64_t life[LEDGER_LIFE_BUCKETS];
};

struct ledger_sum {
	struct live_sum *live;        /* [nsites] */
	double *max_weight;           /* [nsites] the largest of a live sampled record; 0: none */
	struct counter_sum *counters; /* [nsites] */
	uint64_t nsites;

	struct cell_sum *cells;
	size_t ncells, cap_cells;
	uint32_t *hash; /* (site, thread) → cell + 1 */
	size_t hash_slots;

	struct prof_block *blocks; /* `born` in ticks; thread unchecked */
	size_t nblocks, cap_blocks;
	uint32_t newest; /* ticks */
	bool sampled;    /* some record or counter is an estimate */
};

/* Both return 0 or negative errno; *torn grows by the records that had to be left out. */
int ledger_sum_live(struct ledger_sum *s, struct ledger_file *f, bool blocks, uint64_t *torn);
int ledger_sum_counters(struct ledger_sum *s, struct ledger_file *f);
void ledger_sum_release(struct ledger_sum *s);

/* A sum as a value: estimates rounded, nothing ever more than 2^64 - 1. */
struct prof_value live_value(const struct live_sum *l, double max_weight);

/* What a file says is a variance (or a weight) → one: infinite, NaN or negative is 0. */
double variance_of(double v);

#endif
