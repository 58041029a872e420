/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that an allocator holds and nobody needs: what could be given back to the kernel at once, without the
 * allocator's help and without its noticing.
 *
 *   glibc   the inside of free chunks that are in bins, and of every arena's top, from 48 bytes behind the chunk's
 *           start (header, list pointers) to the page before its end.  All arenas' tops: malloc_trim() looks at the
 *           main arena's only
 *   musl    the inside of free slots of a group, one after the other, up to 4 bytes before the last one's end.  The headers in
 *           between go too: those of a slot that was never used are zero as well
 *
 * Not counted: caches of threads and fastbins (their chunks are in use as far as neighbours know), mappings that are
 * shared, of files, of huge pages, and what the caller wants left out (locked memory).
 *
 * A page of a transparent huge page counts like any other; the kernel takes the huge page apart, and what it
 * maps (RSS) falls at once, but physical memory only once nothing of that huge page is mapped or memory gets scarce.
 */
#ifndef SEEP_HEAP_FREE_PAGES_H
#define SEEP_HEAP_FREE_PAGES_H

#include <stddef.h>
#include <stdint.h>

struct heap;
struct heap_range;
struct image;
struct seep_error;

enum free_pages_kind {
	FREE_PAGES_BIN,        /* inside free chunks */
	FREE_PAGES_MAIN_TOP,   /* the main arena's end */
	FREE_PAGES_THREAD_TOP, /* other arenas' ends */
	FREE_PAGES_SLOT,       /* musl */
	FREE_PAGES_NKINDS
};

/* Consecutive whole pages inside one free chunk, of which at least the first and the last are in memory or swapped. */
struct free_run {
	uint64_t start;
	uint64_t npages;
	uint64_t resident,
		swapped;      /* of these pages; the others were never used, or returned before */
	uint64_t chunk, size; /* what they lie in */
	uint64_t owner, owner_bits; /* musl: as in struct heap_free */
	uint32_t slots;             /* musl: so many, one after the other; else 1 */
	uint32_t arena;             /* index in heap.arenas */
	uint32_t kind;              /* enum free_pages_kind */
};

struct free_sum {          /* bytes of whole pages */
	uint64_t chunks;   /* with at least one whole page inside */
	uint64_t bytes;    /* = resident + swapped + returned */
	uint64_t resident; /* what RSS would fall by */
	uint64_t swapped;  /* what swap would */
	uint64_t returned; /* no longer there, or never was: free in the allocator's books only */
};

struct free_pages {
	struct free_run *runs; /* ascending by start; those with nothing to give back are left out */
	size_t nruns;
	struct free_sum kinds[FREE_PAGES_NKINDS], total;
	struct free_sum *arenas; /* one for each of heap.narenas */
	size_t narenas;
	uint64_t unfit; /* bytes of free whole pages left out: shared, a file's, huge pages, or `leave` */
};

/*
 * From a heap that was walked with its free chunks.  leave (nleave ranges, ascending; NULL: none): memory to be left out.
 * free_pages_release() in every case.
 */
struct seep_error *free_pages_find(const struct image *img, const struct heap *h,
                                   const struct heap_range *leave, size_t nleave,
                                   struct free_pages *ret);
void free_pages_release(struct free_pages *f);
#define _cleanup_free_pages_ __attribute__((cleanup(free_pages_release)))

#endif
