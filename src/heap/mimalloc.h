/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mimalloc's segments (versions 2.x) read from outside: what its release builds do not count.
 *
 *     segment, 32 MiB, aligned   | header | slice 0 | slice 1 | ... | slice 511 |  the memory: 512 slices of 64 KiB
 *
 * A slice's entry is the page that begins there: how many slices it takes, the size of its blocks (0: a free span), how
 * many are in use.  Where the entries begin and how large they are differs from version to version, but they chain:
 * from entry to entry by the counts one comes exactly to the end, which nothing else does.
 *
 * The process is not stopped: each number is of its own moment.
 */
#ifndef SEEP_HEAP_MIMALLOC_H
#define SEEP_HEAP_MIMALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct heap_range;
struct seep_error;

#define MIMALLOC_SEGMENT (32u << 20)
#define MIMALLOC_SLICE (64u << 10)
#define MIMALLOC_SLICES 512u
#define MIMALLOC_HEADER 65536u /* all entries of every known layout lie in it */

/* Which layout: found once, the same for all segments of a process. */
struct mimalloc_layout {
	uint32_t first, stride; /* of the entries */
	uint32_t fields;        /* index of where an entry has what */
};

struct mimalloc_page {
	uint32_t first, slices; /* slices of the segment */
	uint64_t block_size;    /* 0: a free span */
	uint32_t used, capacity;
};

struct mimalloc_class {
	uint64_t block_size, slab_bytes;
	uint64_t blocks, pages;
};

struct mimalloc_sums {
	uint64_t segments, live, blocks, active; /* bytes; active: of pages with blocks */
	uint64_t free_bytes;                     /* of free spans */
	uint64_t resident, free_resident; /* of segments, of free spans; UINT64_MAX: not readable */
	struct mimalloc_class *classes;   /* ascending */
	size_t nclasses;
};

/* Finds the layout from one segment's first MIMALLOC_HEADER bytes; false: it is no segment. */
bool mimalloc_find_layout(const uint8_t *header, struct mimalloc_layout *ret);
/* The pages and free spans of a segment, into ret[MIMALLOC_SLICES]; 0: it is no segment of this layout. */
size_t mimalloc_pages(const uint8_t *header, const struct mimalloc_layout *layout,
                      struct mimalloc_page *ret);

/* 0; -ENOENT: no segments, or of no layout known here; -ENOMEM; other negative errno: cannot be read. */
int mimalloc_sum(pid_t pid, struct mimalloc_sums *ret);
void mimalloc_sums_release(struct mimalloc_sums *s);

/*
 * Gives back what is resident of free spans, as mimalloc 2.0's own mi_collect() does not: the process is stopped while
 * no thread is inside the allocator's code, for at most 50 ms at a time, and the spans' pages are dropped.  They
 * stay committed: mimalloc does not notice.  At most limit bytes.  An error: nothing was dropped, for that reason.
 */
struct seep_error *mimalloc_drop(pid_t pid, const struct heap_range *code, uint64_t limit,
                                 uint64_t *ret_bytes, uint64_t *ret_stopped_ns);

#endif
