/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leak check from an image to its result: walk the heap, meet it with the ledger,
 * find the roots, mark, group.  One engine for a live process, a clone, a core and the end
 * of a run.
 */
#ifndef SEEP_ANALYSIS_CHECK_H
#define SEEP_ANALYSIS_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/leaks.h"
#include "analysis/reach.h"
#include "analysis/roots.h"
#include "analysis/suppress.h"

struct image;
struct profile;
struct seep_error;

enum check_moment {
	CHECK_LIVE,      /* stopped while it was checked */
	CHECK_CLONE,     /* from a copy-on-write clone */
	CHECK_CORE,      /* from a core file */
	CHECK_EXIT,      /* at exit, before exit handlers and destructors */
	CHECK_END,       /* at the very end, after them */
	CHECK_REQUESTED, /* the program asked (seep.h) */
	CHECK_LOCAL,     /* at the end of a named local check */
};

/* What a result covers and what it does not: the completeness line. */
struct check_coverage {
	uint64_t blocks, bytes;   /* all in use */
	uint64_t recorded_blocks; /* of them, with a stack in the ledger */
	uint64_t internal_blocks,
		internal_bytes; /* the C library's own: reachable, on a line of their own */
	uint64_t threads, missed_threads;
	uint64_t root_bytes, scanned_bytes, unreadable_bytes;
	uint64_t stopped_ns, resident_bytes;
	uint64_t checker_bytes;
	uint64_t ns_image, ns_walk, ns_ledger, ns_mark, ns_symbols;
	bool ledger; /* there was one */
	bool sampled;
	const char *const *notes; /* NULL-terminated sentences: of the image, the heap, the roots */
};

struct check {
	enum check_moment moment;
	int32_t pid;
	char *exe, *command, *name; /* name: of a local check, else NULL */
	char *allocator, *layout;
	uint64_t real_ns;                         /* of the moment; 0 unknown */
	struct reach_total total[REACH_NCLASSES]; /* without the C library's own */
	struct reach_total by_heuristic[4];
	struct reach_total known; /* in the baseline: of definite and possible */
	struct reach_total inuse; /* all blocks */
	uint64_t alloc_blocks, free_blocks, alloc_bytes; /* heap summary, with a ledger; else 0 */
	struct leaks leaks;
	struct check_coverage coverage;
	struct profile *profile;                 /* symbolized; NULL without a ledger; owned */
	const struct suppressions *suppressions; /* borrowed; NULL none */
};

#endif
