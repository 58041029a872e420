/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ways of reading an image, for the two ways a heap is read:
 *
 *   struct heap_reader   single words anywhere: lists, headers.  Keeps the last pages it read.
 *   struct window   a heap from end to end: one reused buffer, filled a large piece at a time with those
 *                   pages only that are present.  What is swapped out stays so unless a word of it is asked for.
 *
 * Neither may be shared by threads.  A word that cannot be read is reported, never made up, except that the
 * bytes of pages a window left out read as zero: no chunk has size 0, so whoever meets one asks
 * window_page() what it means.
 */
#ifndef SEEP_HEAP_READER_H
#define SEEP_HEAP_READER_H

#include "proc/image.h"

#include <string.h>

#define READER_LINES 512u
#define READER_LINE 4096u

struct heap_reader {
	const struct image *img;
	uint64_t *tags; /* address of the line + 1; 0: empty */
	uint8_t *lines;
	bool careful; /* guesses are followed: pages that are not in memory are left alone */
};

int heap_reader_init(struct heap_reader *r, const struct image *img); /* 0 or -ENOMEM */
void heap_reader_release(struct heap_reader *r);
const uint8_t *heap_reader_line(struct heap_reader *r,
                                uint64_t line); /* NULL: not (wholly) readable */

/* The word at addr, which must be a multiple of 8; false: unreadable. */
static inline bool heap_reader_word(struct heap_reader *r, uint64_t addr, uint64_t *ret)
{
	const uint8_t *line = addr % 8 ? NULL
	                               : heap_reader_line(r, addr & ~(uint64_t)(READER_LINE - 1));

	if (!line)
		return false;
	memcpy(ret, line + addr % READER_LINE, sizeof(*ret));
	return true;
}

/* n words from addr on, a multiple of 8. */
bool heap_reader_words(struct heap_reader *r, uint64_t addr, uint64_t *ret, size_t n);

#define WINDOW_BYTES (1u << 20)
#define WINDOW_SMALL (1u << 14)

enum window_page {
	WINDOW_ABSENT = 0,  /* never written, or not in the core: reads as zero */
	WINDOW_PRESENT = 1, /* its bytes are in the window */
	WINDOW_SWAPPED = 2, /* left where it is: reads as zero */
	WINDOW_FAILED = 3,  /* could not be read: reads as zero */
};

struct window {
	const struct image *img;
	uint64_t start, end; /* page-aligned, what is loaded; empty: equal */
	const uint8_t *data; /* of start */
	uint64_t swapped_in; /* pages that had to be brought back */
	size_t want;         /* bytes to load next: large while chunks are small */
	uint8_t *buf;
	uint8_t *status; /* a byte for each page of the buffer */
};

int window_init(struct window *w, const struct image *img); /* 0 or -ENOMEM */
void window_release(struct window *w);

/* Loads from the page of addr on, at most up to limit.  Always at least the page of addr. */
void window_load(struct window *w, uint64_t addr, uint64_t limit);
enum window_page window_page(const struct window *w, uint64_t addr); /* inside the window */
/* Brings the swapped page of addr into the window; false: cannot be read. */
bool window_swap_in(struct window *w, uint64_t addr);

#endif
