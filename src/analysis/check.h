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
	uint64_t torn; /* places where the heap's chain of blocks was broken: damage, or malloc at work */
	uint64_t stopped_ns, resident_bytes;
	uint64_t checker_bytes;
	uint64_t ns_image, ns_walk, ns_ledger, ns_mark, ns_symbols;
	bool ledger; /* there was one */
	bool sampled;
	const char *const *notes; /* NULL-terminated sentences: of the image, the heap, the roots */
	/* No block was looked at: that of the notes which names an allocator whose blocks are known only with a ledger; else NULL. */
	const char *nothing_known;
};

/* Addresses of lost blocks, so that a later check can tell what is new, or what stayed. */
struct check_lost {
	uint64_t *addresses; /* ascending */
	size_t n;
};

struct check {
	enum check_moment moment;
	int32_t pid;
	char *exe, *command, *name; /* name: of a local check, else NULL */
	char *allocator, *layout;
	uint64_t real_ns;                         /* of the moment; 0 unknown */
	struct reach_total total[REACH_NCLASSES]; /* without the C library's own */
	struct reach_total by_heuristic[4];
	uint32_t header;          /* of possible blocks: see struct reach */
	struct reach_total known; /* in the baseline: of definite and possible */
	struct reach_total inuse; /* all blocks */
	uint64_t alloc_blocks, free_blocks, alloc_bytes; /* heap summary, with a ledger; else 0 */
	struct reach_total unconfirmed; /* lost for the first time, where only what stays lost is wanted */
	struct leaks leaks;
	struct check_lost lost; /* definite, indirect and possible blocks */
	struct check_coverage coverage;
	struct profile *profile;                 /* symbolized; NULL without a ledger; owned */
	const struct suppressions *suppressions; /* borrowed; NULL none */
	char **notes;                            /* behind coverage.notes */
	char **warnings;                         /* the symbolizer's, NULL-terminated */
};

struct check_options {
	struct reach_options reach; /* `suppressed` is set by check_make() */
	enum check_moment moment;
	const char *ledger;                /* path; NULL: none */
	const char *name;                  /* of a local check */
	struct suppressions *suppressions; /* counts what matches; NULL none */
	const char *baseline;              /* path; NULL none */
	unsigned int classes;              /* set of classes to make records of */
	bool recorded_only; /* blocks the ledger does not know are not reported (minimal) */
	bool draconian;     /* everything not freed is a leak */
	const struct check_lost *before; /* only what is not among these; NULL: all */
	const struct check_lost
		*persisted; /* of definite and possible: only what is among these too; NULL: all */
	const struct roots_options *exit; /* exit_* of it are used; NULL none */
	bool free_chunks;                 /* of check_input_make(): the heap with its free chunks */
	bool no_symbols;
	const char *const *debug_dirs; /* for the symbolizer; NULL none */
};

/* Everything from the image to the records.  The image may be resumed or freed afterwards. */
struct seep_error *check_make(struct image *img, const struct check_options *opts,
                              struct check **ret_check);
void check_free(struct check *c);

static inline void check_freep(struct check **c)
{
	check_free(*c);
}
#define _cleanup_check_ __attribute__((cleanup(check_freep)))

/*
 * One chain that holds the block at `addr`, root first, as text: "static variable cache of redis-server
 * holds 0x… (a hash table, dict.c:120), which at +16 holds …".
 */
struct buf;
struct seep_error *check_why(struct image *img, const struct check_options *opts, uint64_t addr,
                             bool explain, struct buf *out);

#endif
