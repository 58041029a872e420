/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recorded mappings as ranges, for munmap takes pieces: of one, or of several at once.
 */
#ifndef SEEP_CAPTURE_BPF_REGIONS_H
#define SEEP_CAPTURE_BPF_REGIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct region {
	uint64_t addr, len;
	uint32_t site, thread;
};

struct regions {
	struct region *items; /* ascending, not overlapping */
	size_t n, cap;
	void *arg;
	void (*gone)(void *arg, uint64_t addr, uint64_t now); /* the record at addr ends */
	/* what is left of it, a record of its own now; `cut` is the region it was part of */
	void (*left)(void *arg, const struct region *cut, uint64_t addr, uint64_t len, uint64_t now);
};

/* The range must be free.  False: no memory. */
bool regions_add(struct regions *rs, const struct region *r);
/* Takes [addr, addr + len) out; returns how many regions it touched. */
size_t regions_remove(struct regions *rs, uint64_t addr, uint64_t len, uint64_t now);
void regions_release(struct regions *rs);

#endif
