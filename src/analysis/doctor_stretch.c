/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Was a large free chunk of glibc's one large block, or many small ones that were merged?  Only the first would have been a mapping
 * of its own, and gone when freed, had mmap_threshold stayed where it was.
 *
 * Merging rewrites the first header and leaves the others where they were:
 *
 *     | header | free ............ | old header | ........ | old header | ....
 *       merged   size unknown        size -------------->    size ----------->
 *
 * So what once was a row of small chunks still is one, until somebody writes over it: a word that can be a size leads to another
 * one, and that to a third.  A block that was written to has none of that.  One that was taken in one piece from
 * such a row and never written to is taken for small, which is the harmless mistake: the holes are named instead.
 */
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor_private.h"
#include "heap/heap.h"

#define LARGE 131072u /* malloc's first threshold */
#define LOOK (2 * LARGE)
#define GLANCE 16384u /* enough for blocks of a few KB, which are most */
#define HEADERS 3     /* in a row */
#define WORD 8u
#define UNIT 16u  /* of sizes and addresses */
#define LEAST 32u /* chunk */

/* The size in the header at `at`, or 0 when that cannot be one of a small chunk. */
static uint64_t small_size(const unsigned char *bytes, uint64_t at, uint64_t n)
{
	uint64_t word, next;

	if (at + UNIT + WORD > n)
		return 0;
	memcpy(&word, bytes + at + WORD, sizeof(word));
	memcpy(&next, bytes + at + UNIT, sizeof(next));
	/* Bits: of a mapping (2), never set; of another arena's (4), of a chunk in use before it (1).  The same word
	 * again is an array of numbers. */
	if (word == next || word & 0xa)
		return 0;
	word &= ~UINT64_C(7);
	return word >= LEAST && word < LARGE ? word : 0;
}

static bool has_row(const unsigned char *bytes, uint64_t n)
{
	for (uint64_t from = LEAST; from + UNIT + WORD <= n; from += UNIT) {
		uint64_t at = from;
		int headers = 0;

		while (headers < HEADERS) {
			uint64_t size = small_size(bytes, at, n);

			if (!size)
				break;
			at += size;
			headers++;
		}
		if (headers == HEADERS)
			return true;
	}
	return false;
}

bool doctor_was_large(struct doctor_look *l, uint64_t chunk, uint64_t size)
{
	uint64_t n = size < LOOK ? size : LOOK;
	unsigned char *bytes;
	bool row;

	if (size < LARGE)
		return false;
	bytes = malloc(n);
	if (!bytes) {
		l->failed = true;
		return false;
	}
	row = has_row(bytes, image_read(l->img, chunk, bytes, GLANCE)) ||
	      has_row(bytes, image_read(l->img, chunk, bytes, n));
	free(bytes);
	return !row;
}
