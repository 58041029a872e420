/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which allocators are in an image, and what they found.
 *
 * The walkers are asked in turn and each looks for its own data structures; none goes by version numbers or symbols,
 * which stripped, static and patched programs do not have.  A process has one malloc; the others that can live
 * beside it (a prefixed jemalloc, a runtime's own heap) are named, so that nobody takes their memory for something
 * a check has looked into.
 */
#include "heap/heap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/large.h"
#include "heap/heap_private.h"

#define MIN_CHUNK 32 /* of glibc; musl's smallest slots are 16, then the table grows */
#define FEW_BLOCKS 4096
#define MAX_RESERVED ((size_t)1 << 36)

/*
 * As many as the process can have: address space that is not touched costs nothing, while a table that grows is moved,
 * and pages that moved are looked up anew, one fault each (under a hypervisor, two).
 */
static size_t most_blocks(const struct image *img)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < img->nmaps; i++)
		if (heap_is_anonymous(&img->maps[i]))
			bytes += img->maps[i].end - img->maps[i].start;
	return bytes / MIN_CHUNK < MAX_RESERVED ? (size_t)(bytes / MIN_CHUNK) : MAX_RESERVED;
}

int heap_more_blocks(struct heap_builder *b)
{
	size_t room = b->blocks_room ? b->blocks_room * 2 : most_blocks(b->img);
	struct block *grown = NULL;

	if (room > FEW_BLOCKS)
		grown = large_resize(b->heap->blocks, b->heap->nblocks * sizeof(*grown),
		                     room * sizeof(*grown));

	if (!grown && !b->blocks_room) { /* not needed, or more than may be had at once */
		room = FEW_BLOCKS;
		grown = malloc(room * sizeof(*grown));
	}
	if (!grown)
		return -ENOMEM;
	b->heap->blocks = grown;
	b->blocks_room = room;
	return 0;
}

int heap_add_range(struct heap_builder *b, uint64_t start, uint64_t end)
{
	struct heap *h = b->heap;

	if (start >= end)
		return 0;
	if (h->nranges && h->ranges[h->nranges - 1].end == start) {
		h->ranges[h->nranges - 1].end = end;
		return 0;
	}
	if (h->nranges == b->ranges_room) {
		size_t room = b->ranges_room ? b->ranges_room * 2 : 64;
		struct heap_range *grown = realloc(h->ranges, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		h->ranges = grown;
		b->ranges_room = room;
	}
	h->ranges[h->nranges++] = (struct heap_range){ .start = start, .end = end };
	return 0;
}

int heap_add_free(struct heap_builder *b, uint64_t address, uint64_t size, uint32_t arena,
                  enum heap_free_kind kind)
{
	struct heap *h = b->heap;

	if (!b->free_chunks || !size)
		return 0;
	if (h->nfree == b->free_room) {
		size_t room = b->free_room ? b->free_room * 2 : 1024;
		struct heap_free *grown = realloc(h->free, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		h->free = grown;
		b->free_room = room;
	}
	h->free[h->nfree++] =
		(struct heap_free){ .address = address, .size = size, .arena = arena, .kind = kind };
	return 0;
}

int heap_add_piece(struct heap_builder *b, uint64_t start, uint64_t end, uint32_t arena, bool mapped)
{
	struct heap *h = b->heap;

	if (!b->free_chunks || start >= end)
		return 0;
	if (h->npieces == b->pieces_room) {
		size_t room = b->pieces_room ? b->pieces_room * 2 : 64;
		struct heap_piece *grown = realloc(h->pieces, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		h->pieces = grown;
		b->pieces_room = room;
	}
	h->pieces[h->npieces++] =
		(struct heap_piece){ .start = start, .end = end, .arena = arena, .mapped = mapped };
	return 0;
}

void heap_note(struct heap *h, const char *fmt, ...)
{
	char **grown = realloc(h->notes, (h->nnotes + 1) * sizeof(*grown)), *text;
	va_list ap;
	int n;

	if (!grown)
		return;
	h->notes = grown;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n >= 0)
		h->notes[h->nnotes++] = text;
}

struct block *heap_block_at(struct heap *h, uint64_t address)
{
	size_t lo = 0, hi = h->nblocks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (h->blocks[mid].address < address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < h->nblocks && h->blocks[lo].address == address ? &h->blocks[lo] : NULL;
}

bool heap_is_anonymous(const struct image_map *m)
{
	const uint32_t rw = IMAGE_READ | IMAGE_WRITE;

	if ((m->flags & rw) != rw || (m->flags & (IMAGE_SHARED | IMAGE_ABSENT)))
		return false;
	if (!strncmp(m->path, "/anon_hugepage", 14))
		return true; /* MAP_HUGETLB: the kernel shows a file that nobody can open */
	return !m->inode &&
	       (!m->path[0] || !strcmp(m->path, "[heap]") || !strncmp(m->path, "[anon:", 6));
}

bool heap_is_mapped(const struct image *img, uint64_t start, uint64_t end)
{
	const uint32_t rw = IMAGE_READ | IMAGE_WRITE;
	size_t i = image_map_after(img, start);

	if (start >= end)
		return false;
	for (; i < img->nmaps; i++) {
		const struct image_map *m = &img->maps[i];

		if (m->start > start || (m->flags & rw) != rw)
			return false;
		if (m->end >= end)
			return true;
		start = m->end;
	}
	return false;
}

static int by_start(const void *a, const void *b)
{
	const struct heap_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* In order, and overlapping or adjoining ones joined. */
static void merge_ranges(struct heap *h)
{
	size_t n = 0;

	if (!h->nranges)
		return;
	qsort(h->ranges, h->nranges, sizeof(*h->ranges), by_start);
	for (size_t i = 1; i < h->nranges; i++) {
		struct heap_range *last = &h->ranges[n];

		if (h->ranges[i].start > last->end)
			h->ranges[++n] = h->ranges[i];
		else if (h->ranges[i].end > last->end)
			last->end = h->ranges[i].end;
	}
	h->nranges = n + 1;
}

static int by_address(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

/* Walkers go upwards within a segment, but arenas come as they are listed, and damage can make segments overlap. */
static void order_blocks(struct heap *h)
{
	size_t n = 0;

	if (!h->nblocks)
		return;
	qsort(h->blocks, h->nblocks, sizeof(*h->blocks), by_address);
	for (size_t i = 1; i < h->nblocks; i++)
		if (h->blocks[i].address != h->blocks[n].address)
			h->blocks[++n] = h->blocks[i];
	h->nblocks = n + 1;
}

static int free_order(const void *a, const void *b)
{
	const struct heap_free *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static int piece_order(const void *a, const void *b)
{
	const struct heap_piece *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Lists and the walk fill these in turns; what overlaps (damage) goes to the first. */
static void order_free(struct heap *h)
{
	size_t n = 0;

	if (h->nfree) {
		qsort(h->free, h->nfree, sizeof(*h->free), free_order);
		for (size_t i = 1; i < h->nfree; i++)
			if (h->free[i].address >= h->free[n].address + h->free[n].size)
				h->free[++n] = h->free[i];
		h->nfree = n + 1;
	}
	n = 0;
	if (h->npieces) {
		qsort(h->pieces, h->npieces, sizeof(*h->pieces), piece_order);
		for (size_t i = 1; i < h->npieces; i++)
			if (h->pieces[i].start >= h->pieces[n].end)
				h->pieces[++n] = h->pieces[i];
		h->npieces = n + 1;
	}
}

struct seep_error *heap_walk(const struct image *img, struct heap **ret_heap)
{
	return heap_walk_with(img, &(struct heap_options){ 0 }, ret_heap);
}

struct seep_error *heap_walk_with(const struct image *img, const struct heap_options *opts,
                                  struct heap **ret_heap)
{
	struct heap_builder b = { .img = img,
		                  .heap = calloc(1, sizeof(struct heap)),
		                  .params_only = opts->params_only,
		                  .free_chunks = opts->free_chunks };
	struct block *fitted;
	int r;

	if (!b.heap)
		return &seep_error_nomem;
	if (img->page_size < 4096 || img->page_size > 65536 ||
	    (img->page_size & (img->page_size - 1))) {
		heap_free(b.heap);
		return seep_error_new(0, "the process's page size of %llu bytes makes no sense",
		                      (unsigned long long)img->page_size);
	}
	r = glibc_walk(img, &b);
	if (r == -ENOENT && !opts->params_only) /* which has none */
		r = musl_walk(img, &b);
	if (r == -ENOMEM) {
		heap_free(b.heap);
		return &seep_error_nomem;
	}
	heap_note_others(img, b.heap);
	if (b.disordered)
		order_blocks(b.heap);
	merge_ranges(b.heap);
	order_free(b.heap);
	fitted = realloc(b.heap->blocks, (b.heap->nblocks + 1) * sizeof(*fitted));
	if (fitted)
		b.heap->blocks = fitted;
	*ret_heap = b.heap;
	return NULL;
}

void heap_free(struct heap *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->nnotes; i++)
		free(h->notes[i]);
	free(h->notes);
	free(h->blocks);
	free(h->ranges);
	free(h->arenas);
	free(h->free);
	free(h->pieces);
	free(h);
}
