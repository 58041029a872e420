/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: the heap walkers over an image made of the input (tests/unit/heap/heap_seed.h).  Whatever the bytes, the walk
 * ends, and what it says holds together: blocks in order, inside the ranges, ranges in order and apart.
 */
#include "base/error.h"
#include "heap/heap.h"
#include "heap_seed.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image *img = heap_seed_load(data, size);
	struct heap *h = NULL;
	struct seep_error *err;
	size_t range = 0;

	if (!img)
		return 0;
	err = heap_walk_with(img, &(struct heap_options){ .free_chunks = true }, &h);
	must(!err != !h);
	for (size_t i = 1; h && i < h->nranges; i++)
		must(h->ranges[i - 1].end < h->ranges[i].start);
	for (size_t i = 0; h && i < h->nblocks; i++) {
		must(!i || h->blocks[i - 1].address < h->blocks[i].address);
		while (range < h->nranges && h->ranges[range].end <= h->blocks[i].address)
			range++;
		must(range < h->nranges && h->ranges[range].start <= h->blocks[i].address);
		must(h->blocks[i].address + h->blocks[i].size <= h->ranges[range].end);
	}
	for (size_t i = 0; h && i < h->nfree; i++)
		must(h->free[i].size && h->free[i].arena < h->narenas &&
		     (!i || h->free[i - 1].address + h->free[i - 1].size <= h->free[i].address));
	for (size_t i = 0; h && i < h->npieces; i++)
		must(h->pieces[i].start < h->pieces[i].end &&
		     (!i || h->pieces[i - 1].end <= h->pieces[i].start));
	seep_error_free(err);
	heap_free(h);
	image_free(img);
	return 0;
}
