/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments are looked for at every 32 MiB boundary of anonymous memory.  The first that chains under some layout and whose pages
 * make sense (never more blocks in use than there is room for, no block larger than its page) decides the layout; the
 * others must fit it.  Blocks that other threads have freed count as in use until their owner collects them, as
 * mimalloc itself has it.
 */
#include "heap/mimalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "proc/maps.h"

#define FIRST_MOST 1024u /* the header before the entries is shorter */
#define PAGE 4096u
#define HUGE_MARK (1ull << 31) /* stands for one block as large as its page */
#define MAX_CLASSES 4096u
#define NFIELDS 2

static const uint16_t strides[] = { 80, 96, 88, 104, 112 };

/* Where an entry has what; slice_count and slice_offset come first in all. */
static const struct fields {
	uint8_t capacity, reserved; /* 16 bits each */
	uint8_t used, used_bytes;
	uint8_t block_size, block_size_bytes;
} fields[NFIELDS] = {
	{ 10, 12, 24, 4, 28, 4 }, /* 2.0 */
	{ 10, 12, 32, 2, 40, 8 }, /* 2.1 */
};

static uint64_t number(const uint8_t *p, size_t bytes)
{
	uint64_t v = 0;

	memcpy(&v, p, bytes);
	return v;
}

/* Does following the counts lead to the end? */
static bool chains(const uint8_t *header, uint32_t first, uint32_t stride)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < MIMALLOC_SLICES; n++) {
		const uint8_t *entry = header + first + i * stride;
		uint64_t count = number(entry, 4), offset = number(entry + 4, 4);

		/* The header takes a few slices, the rest may be one page or many. */
		if (!count || offset || (!i && count > 16))
			return false;
		/* A huge page goes beyond what there are entries for. */
		if (count > MIMALLOC_SLICES - i)
			return n == 1 && count < 1u << 24;
		i += (uint32_t)count;
	}
	return n > 1;
}

static bool page_of(const uint8_t *entry, const struct fields *f, uint32_t first,
                    struct mimalloc_page *ret)
{
	uint64_t reserved = number(entry + f->reserved, 2), room;
	struct mimalloc_page p = {
		.first = first,
		.slices = (uint32_t)number(entry, 4),
		.block_size = number(entry + f->block_size, f->block_size_bytes),
		.used = (uint32_t)number(entry + f->used, f->used_bytes),
		.capacity = (uint32_t)number(entry + f->capacity, 2),
	};

	room = (uint64_t)p.slices * MIMALLOC_SLICE;
	if (!p.block_size) {
		*ret = (struct mimalloc_page){ .first = p.first, .slices = p.slices };
		return true;
	}
	if (p.block_size >= HUGE_MARK)
		p.block_size = room;
	if (p.block_size % 8 || p.capacity > reserved || p.used > p.capacity ||
	    p.block_size > room || reserved > room / p.block_size || !reserved)
		return false;
	*ret = p;
	return true;
}

size_t mimalloc_pages(const uint8_t *header, const struct mimalloc_layout *layout,
                      struct mimalloc_page *ret)
{
	size_t n = 0;
	uint32_t i;

	if (!chains(header, layout->first, layout->stride))
		return 0;
	/* The segment's own come first. */
	for (i = (uint32_t)number(header + layout->first, 4); i < MIMALLOC_SLICES;) {
		struct mimalloc_page p;

		if (!page_of(header + layout->first + i * layout->stride, &fields[layout->fields],
		             i, &p))
			return 0;
		ret[n++] = p;
		if (p.slices > MIMALLOC_SLICES - i)
			break;
		i += p.slices;
	}
	return n;
}

bool mimalloc_find_layout(const uint8_t *header, struct mimalloc_layout *ret)
{
	struct mimalloc_page pages[MIMALLOC_SLICES];

	for (size_t s = 0; s < ARRAY_SIZE(strides); s++) {
		_Static_assert(FIRST_MOST + MIMALLOC_SLICES * 112 < MIMALLOC_HEADER, "all entries");
		for (uint32_t first = 64; first < FIRST_MOST; first += 8) {
			if (!chains(header, first, strides[s]))
				continue;
			for (uint32_t f = 0; f < NFIELDS; f++) {
				struct mimalloc_layout l = { first, strides[s], f };
				size_t n = mimalloc_pages(header, &l, pages);
				bool used = false;

				for (size_t i = 0; i < n; i++)
					used |= pages[i].used != 0;
				/* An empty one would fit anything. */
				if (used) {
					*ret = l;
					return true;
				}
			}
		}
	}
	return false;
}

/* ---- the sums ------------------------------------------------------------------------------------ */

struct sum {
	pid_t pid;
	int pagemap;
	bool known;
	struct mimalloc_layout layout;
	struct mimalloc_sums *out;
	uint8_t *header;
	uint64_t *entries; /* of pagemap, for one segment */
	uint64_t covered;  /* up to here a huge segment reaches */
};

/* Resident bytes of a range inside a segment; entries are those of the whole. */
static uint64_t resident(const struct sum *s, uint64_t from, uint64_t len)
{
	uint64_t n = 0;

	for (uint64_t i = from / PAGE; i < (from + len) / PAGE; i++)
		n += maps_page_state(s->entries[i]) == 1;
	return n * PAGE;
}

static int count_class(struct sum *s, const struct mimalloc_page *p)
{
	struct mimalloc_sums *out = s->out;
	uint64_t slab = (uint64_t)p->slices * MIMALLOC_SLICE;
	struct mimalloc_class *grown;
	size_t i = 0;

	while (i < out->nclasses &&
	       (out->classes[i].block_size < p->block_size ||
	        (out->classes[i].block_size == p->block_size && out->classes[i].slab_bytes < slab)))
		i++;
	if (i == out->nclasses || out->classes[i].block_size != p->block_size ||
	    out->classes[i].slab_bytes != slab) {
		if (out->nclasses == MAX_CLASSES)
			return 0;
		grown = realloc(out->classes, (out->nclasses + 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		out->classes = grown;
		memmove(&grown[i + 1], &grown[i], (out->nclasses - i) * sizeof(*grown));
		grown[i] = (struct mimalloc_class){ p->block_size, slab, 0, 0 };
		out->nclasses++;
	}
	out->classes[i].blocks += p->used;
	out->classes[i].pages++;
	return 0;
}

static void look_at_residency(struct sum *s, uint64_t base, const struct mimalloc_page *pages,
                              size_t n)
{
	size_t len = MIMALLOC_SEGMENT / PAGE * 8;

	if (s->out->resident == UINT64_MAX)
		return;
	if (s->pagemap < 0 ||
	    pread(s->pagemap, s->entries, len, (off_t)(base / PAGE * 8)) != (ssize_t)len) {
		s->out->resident = s->out->free_resident = UINT64_MAX;
		return;
	}
	s->out->resident += resident(s, 0, MIMALLOC_SEGMENT);
	for (size_t i = 0; i < n; i++)
		if (!pages[i].block_size)
			s->out->free_resident +=
				resident(s, (uint64_t)pages[i].first * MIMALLOC_SLICE,
			                 (uint64_t)pages[i].slices * MIMALLOC_SLICE);
}

static int look_at_segment(struct sum *s, uint64_t base)
{
	struct mimalloc_page pages[MIMALLOC_SLICES];
	struct iovec l = { s->header, MIMALLOC_HEADER },
		     r = { (void *)(uintptr_t)base, MIMALLOC_HEADER };
	size_t n;

	if (base < s->covered || process_vm_readv(s->pid, &l, 1, &r, 1, 0) != MIMALLOC_HEADER)
		return 0;
	if (!s->known)
		s->known = mimalloc_find_layout(s->header, &s->layout);
	if (!s->known)
		return 0;
	n = mimalloc_pages(s->header, &s->layout, pages);
	for (size_t i = 0; i < n; i++) {
		const struct mimalloc_page *p = &pages[i];
		uint64_t room = (uint64_t)p->slices * MIMALLOC_SLICE;
		int r2;

		if (!p->block_size) {
			s->out->free_bytes += room;
			continue;
		}
		s->out->live += p->used * p->block_size;
		s->out->blocks += p->used;
		s->out->active += room;
		s->covered = base + room;
		r2 = count_class(s, p);
		if (r2)
			return r2;
	}
	if (n) {
		s->out->segments++;
		look_at_residency(s, base, pages, n);
	}
	return 0;
}

/* Segments met before one in use had shown the layout are looked at again. */
static int look_at_all(struct sum *s, const struct maps *maps)
{
	const uint32_t rw = IMAGE_READ | IMAGE_WRITE;

	for (int round = 0; round < 2; round++) {
		bool known = s->known;

		mimalloc_sums_release(s->out);
		s->covered = 0;
		for (size_t i = 0; i < maps->n; i++) {
			const struct image_map *m = &maps->items[i];
			uint64_t at = (m->start + MIMALLOC_SEGMENT - 1) & ~(MIMALLOC_SEGMENT - 1ull);

			if (m->inode || (m->flags & rw) != rw || m->flags & IMAGE_SHARED)
				continue;
			for (; at < m->end && m->end - at >= MIMALLOC_HEADER;
			     at += MIMALLOC_SEGMENT) {
				int r = look_at_segment(s, at);

				if (r)
					return r;
			}
		}
		if (known || !s->known)
			break;
	}
	return s->known ? 0 : -ENOENT;
}

int mimalloc_sum(pid_t pid, struct mimalloc_sums *ret)
{
	struct mimalloc_sums sums = { 0 };
	struct sum s = { .pid = pid, .out = &sums };
	struct maps maps = { 0 };
	struct seep_error *err = maps_read(pid, &maps);
	char path[64];
	int r = -ENOMEM;

	if (err) {
		seep_error_free(err);
		return -EACCES;
	}
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	s.pagemap = open(path, O_RDONLY | O_CLOEXEC);
	s.header = malloc(MIMALLOC_HEADER);
	s.entries = malloc(MIMALLOC_SEGMENT / PAGE * 8);
	if (s.header && s.entries)
		r = look_at_all(&s, &maps);
	if (s.pagemap >= 0)
		close(s.pagemap);
	free(s.header);
	free(s.entries);
	maps_release(&maps);
	if (r) {
		mimalloc_sums_release(&sums);
		return r;
	}
	*ret = sums;
	return 0;
}

void mimalloc_sums_release(struct mimalloc_sums *s)
{
	free(s->classes);
	*s = (struct mimalloc_sums){ 0 };
}
