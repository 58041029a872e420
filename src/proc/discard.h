/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of a process that stands still are dropped: madvise(MADV_DONTNEED), made in its name.
 *
 * What is in the pages is lost; that nobody misses it is for the caller to know, and to know it of the very moment of
 * the stop.  The image must be live and opened with image_options.calls.
 *
 * The calls are made one after the other, DISCARD_SLICE bytes at most each, until the time is up.  When seep is
 * killed meanwhile the guardian makes no further one.  When the guardian itself is killed, the call that has
 * begun goes on while the target's other threads run again: for the time it takes to drop one slice, that is.
 */
#ifndef SEEP_PROC_DISCARD_H
#define SEEP_PROC_DISCARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;
struct seep_error;
struct tracee;
struct tracees;
struct inject_place;

#define DISCARD_SLICE (1u << 20)
#define DISCARD_MAX (1u << 20) /* ranges in one go */

struct discard_range {
	uint64_t start, len; /* of whole pages */
};

struct discard_reply {
	int32_t failure; /* 0, or an errno: EPERM seccomp, ENOSYS no place for a call, others of the first call */
	int32_t first_errno; /* of the ranges that were refused (locked memory: EINVAL) */
	uint32_t done;       /* ranges, from the first on, that are through (or refused) */
	uint32_t refused;    /* of these */
	uint64_t calls;
	uint64_t partial; /* bytes from the beginning of the next range that are through as well */
	uint64_t rss_before, rss_after; /* bytes, while it stood; 0: unknown */
	uint64_t ns;
};

/* until_ns: CLOCK_MONOTONIC; one call is made also when it has passed.  An error says that the guardian is gone, or had let go: nothing is known then. */
struct seep_error *discard_pages(struct image *img, const struct discard_range *ranges, size_t n,
                                 uint64_t until_ns, struct discard_reply *ret);

/* The guardian's part: on a stopped thread.  hangup: a socket whose other end is whoever asked for this. */
void discard_run(struct tracees *ts, struct tracee *t, const struct inject_place *place,
                 bool seccomp, const struct discard_range *ranges, size_t n, uint64_t until_ns,
                 int hangup, struct discard_reply *ret);

#endif
