/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The roots of an image: every place outside the heap where a program may keep a
 * pointer, by the rules of docs/LEAKS.md.
 *
 * Left out: what an allocator owns (heap ranges), the tracker's own memory
 * (libseep.so's data and the ranges the ledger names), the part of a stack below its sp,
 * stacks of threads that have ended, read-only mappings (but for what ld.so wrote to and then protected) and
 * shared file mappings.
 */
#ifndef SEEP_ANALYSIS_ROOTS_H
#define SEEP_ANALYSIS_ROOTS_H

#include "analysis/reach.h"

/* A range with a meaning of its own, from the ledger (capture/marks.h) or a command line. */
struct roots_range {
	uint64_t start, end;
};

struct roots_options {
	const struct roots_range *regions; /* the program registered them as roots */
	size_t nregions;
	const struct roots_range *tracker; /* memory of the tracker: no roots */
	size_t ntracker;
	const struct roots_range *stacks; /* thread stacks the ledger knows, live and dead */
	size_t nstacks;
	/* At exit: of this thread only what lies above exit_sp counts, and these words instead of its registers. */
	int32_t exit_tid;
	uint64_t exit_sp;
	const uint64_t *exit_words;
	size_t nexit_words;
};

/* A thread's stack, its control block and TLS included. */
struct roots_stack {
	uint64_t start, end;
	int32_t tid;   /* 0: its thread has ended */
	bool unjoined; /* ended, and nobody has joined it */
};

struct roots {
	struct root *items; /* ascending within a kind */
	size_t n;
	char **notes; /* what could not be told, a sentence each */
	size_t nnotes;
	struct roots_stack *stacks; /* in no order */
	size_t nstacks;
	uint64_t **words; /* those of dynamic TLS; owned */
	size_t nwords;
};

/* heap: as walked (and met with the ledger); opts: NULL none. */
struct seep_error *roots_find(const struct image *img, const struct heap *heap,
                              const struct roots_options *opts, struct roots *ret_roots);
void roots_release(struct roots *r);

#endif
