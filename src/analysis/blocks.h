/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks of a leak check: what a walker found in the image, met by address with what a
 * ledger recorded.
 *
 *   walker and ledger   the requested size and the stack are known (BLOCK_RECORDED)
 *   walker only         older than the tracker, or not sampled: usable size, no stack
 *   ledger only         the walker does not know the allocator: the ledger's word is taken, and
 *                       the anonymous mappings such blocks lie in are the allocator's (no roots), unless the ledger has
 *                       only some: then what lies between them is taken for roots, so that nothing is called lost
 *                       which a block that nobody recorded points to.
 *                       Inside a walked heap: freed since the image was made; left out
 */
#ifndef SEEP_ANALYSIS_BLOCKS_H
#define SEEP_ANALYSIS_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/heap.h"

struct image;
struct profile;
struct seep_error;

struct blocks_result {
	uint64_t recorded; /* blocks whose stack is known */
	uint64_t foreign;  /* known by the ledger alone */
	uint64_t vanished; /* the ledger's, freed since the image was made */
	bool full;         /* the ledger has every block since the program's start */
	bool some; /* of an allocator that only the ledger knows it has some blocks, and others are not known */
	bool forked; /* blocks without a record are the parent's */
	bool sampled;
};

/*
 * Works on heap->blocks and heap->ranges in place.  p is the profile read from the same ledger (its
 * sites give the names of the loader's own allocations); records born after the image's stop are ignored.
 */
struct seep_error *blocks_meet_ledger(const struct image *img, struct heap *heap, const char *ledger,
                                      const struct profile *p, struct blocks_result *ret_result);

#endif
