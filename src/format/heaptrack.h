/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the heaptrack reader: modules that are mapped, and the live blocks of a raw file. */
#ifndef SEEP_FORMAT_HEAPTRACK_H
#define SEEP_FORMAT_HEAPTRACK_H

#include "format/builder.h"

#define HEAPTRACK_MAX_MODULES 4096 /* mapped at one time */

struct loaded {
	uint64_t start, end;
	uint32_t module;
};

/* Address → size and site, of blocks that live.  Zero-initialise it. */
struct live_block {
	uint64_t address, size;
	uint32_t site;
	bool used;
};

struct live_blocks {
	struct live_block *slots;
	size_t cap, n; /* cap is a power of two, or 0 */
};

/* A block at an address where one lives already replaces it.  0 or -ENOMEM. */
int live_blocks_put(struct live_blocks *l, uint64_t address, uint64_t size, uint32_t site);
/* Takes the block out; false: none lives there. */
bool live_blocks_take(struct live_blocks *l, uint64_t address, uint64_t *ret_size,
                      uint32_t *ret_site);
void live_blocks_release(struct live_blocks *l);

#endif
