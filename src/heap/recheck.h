/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was found in a clone a moment ago: is it still so, now that the process stands, and may free memory be touched?
 *
 * A walk of the whole heap takes too long for a stop.  So the plan (free_pages.h) is made from a clone, and each of its
 * runs is looked at again when the process stands; that is four words for a chunk.
 *
 *   glibc  nobody may be at work on the arena: its lock is free.  A program with one thread takes no locks, so there the
 *          thread must not be inside malloc: its program counter, and every word of its stack that could be a return
 *          address.  A chunk is free when its size is what it was, the next chunk says that it is free and has the same
 *          size at its end, and the lists lead to it from both sides.  A top is where the arena says
 *   musl   a slot is free when its bit says so, at whatever moment: the allocator touches the inside of a slot only after
 *          it has taken the bit away
 */
#ifndef SEEP_HEAP_RECHECK_H
#define SEEP_HEAP_RECHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "heap/free_pages.h"

struct heap;
struct heap_range;
struct image;

/*
 * The allocator's code, found by who refers to its state (which is private to one object file): no symbols, and its
 * internals lie below the exported malloc.  Some functions around it are included.  Empty: not found.
 */
void recheck_find_code(const struct image *img, const struct heap *h, struct heap_range *ret);

enum recheck_refusal {
	RECHECK_FINE,
	RECHECK_IN_MALLOC, /* the thread `tid` is inside malloc, or may be */
	RECHECK_NO_CODE,   /* ... and nobody can tell, because malloc's code was not found */
	RECHECK_LOCKED,    /* every arena that matters is locked by somebody */
	RECHECK_CHANGED,   /* nothing of the plan is true any more */
};

struct recheck_range {
	uint64_t start, len; /* what may be dropped now */
	size_t run;          /* index of the run it comes from */
};

enum recheck_state { RECHECK_NOT_LOOKED, RECHECK_HOLDS, RECHECK_IS_LOCKED, RECHECK_IS_CHANGED };

struct recheck {
	enum recheck_refusal refusal; /* why there is not a single range */
	pid_t tid;
	size_t looked;  /* runs looked at before until_ns: the first so many */
	size_t locked;  /* of these, left out because of their arena's lock */
	size_t changed; /* ... because they are not what they were */
	size_t n;       /* ... that hold: ranges in ret */
};

/*
 * then: the heap the runs come from.  code: of recheck_find_code().  ret and ret_state (enum recheck_state, for each
 * run) have room for nruns.  The image must be of a process that stands still.
 */
void recheck_runs(const struct image *now, const struct heap *then, const struct heap_range *code,
                  const struct free_run *runs, size_t nruns, uint64_t until_ns,
                  struct recheck *ret_result, struct recheck_range *ret, uint8_t *ret_state);

#endif
