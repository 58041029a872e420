/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leak records: lost (and, where asked, reachable) blocks that belong together, sorted by
 * what fixing them frees.
 *
 * Blocks whose stack is known belong together by class and stack; others by class and by
 * what they are: a C++ type (its vtable's), text, or a size.  The C library's own (BLOCK_INTERNAL)
 * are in no record.
 */
#ifndef SEEP_ANALYSIS_LEAKS_H
#define SEEP_ANALYSIS_LEAKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/reach.h"

struct image;
struct profile;
struct seep_error;

/* What a block's content shows it to be. */
enum leak_content { CONTENT_UNKNOWN, CONTENT_VTABLE, CONTENT_TEXT, CONTENT_ZERO };

#define LEAK_ADDRESSES 8

struct leak_record {
	enum reach_class class;
	uint32_t site; /* in the profile; 0: stack unknown */
	bool before;   /* stack unknown because the blocks are older than the tracker */
	uint64_t blocks, bytes;
	uint64_t indirect_blocks, indirect_bytes; /* of definite records: freed with them */
	uint64_t cycles;                          /* leaders of cycles among the blocks */
	uint64_t min_size, max_size;
	enum leak_content content;
	char *what; /* type name, or the beginning of the first block's text (escaped); NULL unknown */
	uint64_t addresses[LEAK_ADDRESSES]; /* the first of its blocks */
	uint32_t naddresses;
	/*
	 * 16 hex digits of what outlives a rebuild: class, functions and modules of the stack, else the
	 * type; where there is neither, the size.  Not addresses and lines (docs/CHECK-JSON.md).
	 */
	char fingerprint[17];
	const char *rule;   /* of suppressed records: the suppression's name; borrowed */
	uint64_t persisted; /* --watch: checks in a row that saw it lost */
	bool known;         /* in the baseline */
};

struct leaks_options {
	unsigned int classes;          /* set of 1u << enum reach_class to make records of */
	const char *const *debug_dirs; /* for names of vtables; NULL none */
};

struct leaks {
	struct leak_record *records; /* largest bytes + indirect_bytes first; ties by fingerprint */
	size_t n;
};

/* p: symbolized, or NULL without a ledger. */
struct seep_error *leaks_make(const struct image *img, const struct block *blocks, size_t nblocks,
                              const struct reach *reach, const struct profile *p,
                              const struct leaks_options *opts, struct leaks *ret_leaks);
void leaks_release(struct leaks *l);

/*
 * Baselines: a text file with one fingerprint a line and what it stands for; '#' comments.
 * Reading marks records as known; writing lists all definite and possible records.
 */
struct buf;
struct seep_error *leaks_baseline_read(struct leaks *l, const char *path);
void leaks_baseline_write(struct buf *out, const struct leaks *l, const struct profile *p);

#endif
