/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A window on an image's memory (private to reach*.c): bytes are read in large
 * pieces, pages that are in no memory are taken as the zeros they read as, and what cannot
 * be read is zero too, and remembered as a hole.
 */
#ifndef SEEP_ANALYSIS_REACH_READ_H
#define SEEP_ANALYSIS_REACH_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct image;
struct segment;

#define READER_HOLES 160

struct reader {
	const struct image *img;
	uint8_t *buf; /* cap bytes; pages[] follows */
	size_t cap;
	uint8_t *pages;      /* scratch: one byte for each page of a window */
	uint64_t start, end; /* what the window shows */
	const uint8_t *data; /* buf, or the image's own bytes */
	struct {
		uint64_t start, end;
	} holes[READER_HOLES];
	unsigned int nholes;
	uint64_t swapped; /* bytes in pages that had to come from swap */
};

int reader_init(struct reader *r, const struct image *img, size_t cap); /* 0 or -ENOMEM */
void reader_release(struct reader *r);

/* Shows [start, end), at most cap bytes.  s: the segment of start, which knows its pages; NULL: none. */
void reader_fill(struct reader *r, uint64_t start, uint64_t end, const struct segment *s);
/* How much of [start, end) could not be read. */
uint64_t reader_unreadable(const struct reader *r, uint64_t start, uint64_t end);
/* Which pages of a segment are in memory, once. */
void segment_look(struct segment *s, struct reader *r);

static inline bool reader_has(const struct reader *r, uint64_t start, uint64_t end)
{
	return start >= r->start && end <= r->end;
}

static inline uint64_t reader_word(const struct reader *r, uint64_t addr)
{
	uint64_t v;

	memcpy(&v, r->data + (addr - r->start), sizeof(v));
	return v;
}

#endif
