/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What glibc's malloc_info(3) and malloc_stats(3) would say, read from an image: every free list of every arena.  No code
 * runs in the target.
 */
#ifndef SEEP_HEAP_MALLOC_INFO_H
#define SEEP_HEAP_MALLOC_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct image;
struct seep_error;

#define MALLOC_INFO_FAST 10
#define MALLOC_INFO_BINS 126 /* after the unsorted one */

/* As glibc counts: sizes of chunks, in bins with the flag bits they lie there with. */
struct malloc_info_sizes {
	uint64_t from, to, total, count;
};

struct malloc_info_arena {
	uint64_t address;
	struct malloc_info_sizes fast[MALLOC_INFO_FAST], bins[MALLOC_INFO_BINS], unsorted;
	uint64_t fast_count, fast_bytes, rest_count, rest_bytes; /* rest: bins and top */
	uint64_t free_bytes; /* the same without the flag bits, fastbins included */
	uint64_t top_bytes, system, max_system;
	uint64_t aspace, mprotect, subheaps; /* of an arena's heaps; main: system, system, 0 */
	bool damaged;                        /* a list led nowhere: its counts stop there */
};

struct malloc_info {
	struct malloc_info_arena *arenas; /* main first */
	size_t narenas;
	uint64_t mmap_count, mmap_bytes, max_mmap_count, max_mmap_bytes;
	bool has_subheaps, has_fast; /* this glibc prints them; 2.43 has no fastbins any more */
};

/* *ret is NULL when glibc's malloc is not in the image. */
struct seep_error *malloc_info_read(const struct image *img, struct malloc_info **ret);
void malloc_info_free(struct malloc_info *m);

static inline void malloc_info_freep(struct malloc_info **m)
{
	malloc_info_free(*m);
}
#define _cleanup_malloc_info_ __attribute__((cleanup(malloc_info_freep)))

void malloc_info_xml(const struct malloc_info *m, struct buf *out);   /* malloc_info(0, ...) */
void malloc_info_stats(const struct malloc_info *m, struct buf *out); /* malloc_stats() */

#endif
