/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving a running process's free memory back: what `seep trim` does.
 *
 *   1. a clone of the process is walked: which whole pages lie inside free chunks and are in memory (free_pages.h).
 *      That is the predicted gain
 *   2. the process is stopped, the runs are looked at again (recheck.h), and what still holds is dropped by
 *      madvise(MADV_DONTNEED), made in its name (discard.h).  The stop is bounded; what does not fit, or was locked or
 *      in the middle of malloc, waits for the next one
 *   3. allocators with a release call of their own are asked to make it (allocators.h)
 *   4. what that brought is measured: by the kernel's count while the process stood, and again from outside
 *
 * docs/TRIM.md says why this is safe.
 */
#ifndef SEEP_ANALYSIS_TRIM_H
#define SEEP_ANALYSIS_TRIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "heap/free_pages.h"

struct seep_error;

enum trim_tier {
	TRIM_NOTHING, /* there is nothing to give back */
	TRIM_MADVISE, /* tier 2: the kernel is told, the allocator notices nothing */
	TRIM_RELEASE, /* tier 3: the allocator's own call */
	TRIM_IMPOSSIBLE
};

/* What to do. */
struct trim_options {
	bool dry_run;          /* only look */
	uint64_t limit;        /* bytes to give back at most; 0: all there is */
	uint64_t wait_ns;      /* for a safe moment, without getting any further; 0: 10 s */
	const char *allocator; /* only this one ("glibc", "jemalloc", ...); NULL: all */
};

/* One allocator of the process. */
struct trim_part {
	char allocator[32]; /* "glibc", "musl mallocng", "jemalloc" */
	char detail[96];    /* its layout, or the module it is in */
	enum trim_tier tier;
	bool predicted_known;
	uint64_t predicted, predicted_swap; /* bytes */
	uint64_t returned;                  /* bytes RSS fell by */
	struct free_pages pages;            /* TRIM_MADVISE: kinds, total */
	uint64_t narenas;
	char *problem; /* why nothing, or not all, was done; NULL: it was */
};

struct trim_memory {
	uint64_t rss, swap, huge; /* bytes; huge: of rss, in transparent huge pages */
	bool exact;               /* counted page by page (smaps_rollup) */
};

struct trim {
	pid_t pid;
	char *exe;
	struct trim_part *parts;
	size_t nparts;
	struct trim_memory before, after;
	uint64_t predicted, returned;
	/* What it cost. */
	uint64_t stops;   /* in which something was dropped */
	uint64_t refused; /* stops in which nothing could be, for the reasons below */
	uint64_t refused_malloc, refused_locked, refused_changed;
	uint64_t stopped_ns, longest_ns; /* all of them together, and the longest */
	uint64_t allowed_ns;             /* what one stop may take: 10 ms and 100 ms for each GB */
	uint64_t asked_ns; /* threads that were borrowed for release calls stood, in all */
	uint64_t clone_ns; /* it stood for the clone */
	uint64_t calls;    /* madvise() */
	uint64_t left;     /* bytes of the plan that were in use by then */
	uint64_t unfit;    /* bytes of free pages that must not be dropped: locked, huge pages */
	char **notes;
	size_t nnotes;
	struct trim_range *dropped; /* private: trim_again() */
	size_t ndropped;
};

/* ret_trim is also there, with what was found, when only some part could not be done. */
struct seep_error *trim_process(pid_t pid, const struct trim_options *opts, struct trim **ret_trim);
void trim_free(struct trim *t);

static inline void trim_freep(struct trim **t)
{
	trim_free(*t);
}
#define _cleanup_trim_ __attribute__((cleanup(trim_freep)))

/* The process's memory now; negative errno. */
int trim_memory_read(pid_t pid, struct trim_memory *ret);
/* Of the pages that were dropped: bytes that are in memory again, because the process has used them. */
uint64_t trim_again(const struct trim *t);

#endif
