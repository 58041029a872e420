/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lost blocks as a graph (private to reach*.c): who leads, who is held, and what each leader
 * would bring back.
 */
#ifndef SEEP_ANALYSIS_REACH_LOST_H
#define SEEP_ANALYSIS_REACH_LOST_H

#include "analysis/reach.h"
#include "analysis/reach_index.h"
#include "analysis/reach_read.h"

struct lost_sums {
	uint64_t scanned, unreadable, memory;
};

/*
 * Every block not reached in ix becomes REACH_DEFINITE (leaders; BLOCK_CYCLE for a cycle's) or REACH_INDIRECT.
 * lost: their indices, ascending.  *ret_leaders is malloc'ed.  0 or -ENOMEM.
 */
int lost_classify(const struct image *img, struct index *ix, struct block *blocks,
                  const uint32_t *lost, uint32_t nlost, const struct reach_options *opts,
                  struct reach_leader **ret_leaders, size_t *ret_n, struct lost_sums *ret_sums);

#endif
