/* SPDX-License-Identifier: Apache-2.0 */
/* What the walkers share: growing the result.  Not for users of heap.h. */
#ifndef SEEP_HEAP_PRIVATE_H
#define SEEP_HEAP_PRIVATE_H

#include "heap/heap.h"
#include "proc/image.h"

/* A heap being filled.  Functions return 0 or -ENOMEM; nothing is lost by a failure but what was to be added. */
struct heap_builder {
	const struct image *img;
	struct heap *heap;
	bool params_only;
	size_t blocks_room, ranges_room, free_room, pieces_room;
	bool free_chunks; /* wanted: else heap_add_free() and heap_add_piece() do nothing */
	uint64_t last;    /* address of the block added last */
	bool disordered;  /* one was added below another */
};

int heap_more_blocks(struct heap_builder *b); /* makes room for at least one more */
int heap_add_range(struct heap_builder *b, uint64_t start, uint64_t end);
int heap_add_free(struct heap_builder *b, uint64_t address, uint64_t size, uint32_t arena,
                  enum heap_free_kind kind);
int heap_add_piece(struct heap_builder *b, uint64_t start, uint64_t end, uint32_t arena,
                   bool mapped);
void heap_note(struct heap *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline int heap_add_block(struct heap_builder *b, uint64_t address, uint64_t size,
                                 unsigned int flags)
{
	const uint64_t most = (1ull << 40) - 1;

	if (b->heap->nblocks == b->blocks_room) {
		int r = heap_more_blocks(b);

		if (r < 0)
			return r;
	}
	b->disordered |= address <= b->last;
	b->last = address;
	b->heap->blocks[b->heap->nblocks++] = (struct block){ .address = address,
		                                              .flags = (uint16_t)flags,
		                                              .size = size < most ? size : most };
	return 0;
}

/* The block at exactly this address, or NULL.  The blocks must be in order. */
struct block *heap_block_at(struct heap *h, uint64_t address);

/* Can [start, end) be an allocator's?  Anonymous (or hugetlb), private, readable and writable throughout. */
bool heap_is_anonymous(const struct image_map *m);
bool heap_is_mapped(const struct image *img, uint64_t start, uint64_t end);
/* free_pages.c: all of it is memory that MADV_DONTNEED makes zero: anonymous, private, no huge pages. */
bool heap_can_drop(const struct image *img, uint64_t start, uint64_t end);

/* Each returns 0, -ENOMEM, or -ENOENT when its allocator is not in the image. */
int glibc_walk(const struct image *img, struct heap_builder *b);
int musl_walk(const struct image *img, struct heap_builder *b);
/* Notes about allocators that only their modules give away. */
void heap_note_others(const struct image *img, struct heap *h);

#endif
