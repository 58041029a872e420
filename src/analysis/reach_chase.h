/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All pointers between blocks that are not reached yet, kept in four bytes a block (private to
 * reach*.c), for heaps in which pointers must be followed one by one all over memory.
 */
#ifndef SEEP_ANALYSIS_REACH_CHASE_H
#define SEEP_ANALYSIS_REACH_CHASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/reach_index.h"
#include "analysis/reach_read.h"

/* chase.next[]: by block */
#define CHASE_READ 0u         /* look through the block itself */
#define CHASE_NONE 1u         /* no pointer that matters */
#define CHASE_FIRST 2u        /* from here on: the one block it points to */
#define CHASE_MORE (1u << 31) /* or where in more[] their number and they are */
#define CHASE_SEEN \
	(1u << 30) /* besides: it was reached; the index learns of it in chase_settle() */
#define CHASE_MOST (CHASE_SEEN - CHASE_FIRST) /* blocks there can be */

struct chase {
	uint32_t *next;
	uint32_t *more;
	size_t nmore, cap, nblocks;
	uint64_t bytes; /* of the blocks in the table */
	bool unsettled; /* a block was seen since the last chase_settle() */
};

struct chase_rules {
	uint64_t mask;
	bool unaligned;
};

/*
 * Pointers to blocks reached by now are left out, so that the table is good for as long as none of them is taken
 * back.  Nobody may reach blocks meanwhile.  0, -ENOMEM, or -E2BIG (too many blocks).
 */
int chase_init(struct chase *c, struct index *ix, struct reader *r, const struct chase_rules *rules);
void chase_release(struct chase *c);
/*
 * A chain in the table is followed without a look at the index, one load for each of its members; here the index learns of
 * all of them in the order of their addresses.  Until then a block that was seen may pass for one that is not reached.
 */
void chase_settle(struct chase *c, struct index *ix);
/* The bytes of the blocks in the table that are reached by now. */
uint64_t chase_scanned(const struct chase *c, const struct index *ix);
uint64_t chase_memory(const struct chase *c);

#endif
