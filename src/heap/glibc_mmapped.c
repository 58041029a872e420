/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks that are mappings of their own.  No list has them; mp_ knows how many there are and what they sum up to, so the
 * search ends when it has found that much:
 *
 *      map                      chunk                                map + total
 *      | prev_size 0, size|2 ...  or, aligned by memalign:  | prev_size = chunk - map, size|2 | user's bytes |
 *
 * prev_size + size is the whole mapping (from 2.43 on less 16 bytes).  memalign leaves the first header where it was
 * when it moves the chunk, so a mapping that seems to begin with a chunk may have its real one further in: at
 * the first multiple of some power of two.  Adjoining mappings are one to the kernel: behind a chunk comes the next.
 *
 * Looked at are: the beginnings of anonymous mappings and what follows a chunk; then, if that is not all, every
 * page boundary; first only what is in memory, what was swapped out last.
 */
#include "heap/glibc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RESIDENT_PAGES 512u
#define MAX_PAGES (1u << 22) /* 16 GB of page boundaries; then a note says what is missing */

struct search {
	struct glibc *g;
	uint64_t bytes;
	uint64_t pages;
	bool every_page, swapped;
	uint64_t resident_from; /* of which pages `resident` tells; 1: of none yet */
	uint8_t resident[RESIDENT_PAGES];
};

static bool done(const struct search *s)
{
	const struct glibc *g = s->g;

	return g->mp.found && g->nmmapped >= g->mp.n_mmaps;
}

static bool readable(struct search *s, uint64_t addr)
{
	const uint64_t page = s->g->img->page_size, all = RESIDENT_PAGES * page;
	uint64_t from = addr & ~(all - 1);
	uint8_t is;

	if (s->resident_from != from) {
		image_resident(s->g->img, from, RESIDENT_PAGES, s->resident);
		s->resident_from = from;
	}
	is = s->resident[(addr - from) / page];
	return is == 1 || (is == 2 && s->swapped);
}

/* A chunk's header at map + offset; 0 or the whole mapping's size. */
static uint64_t total_at(struct search *s, uint64_t map, uint64_t offset, uint64_t end)
{
	const struct glibc *g = s->g;
	const uint64_t tail = g->bins == 24 ? 16 : 0, page = g->img->page_size;
	uint64_t h[2], size, total;

	if (!readable(s, map + offset) || !heap_reader_words(&s->g->reader, map + offset, h, 2))
		return 0;
	/* 2.43: the lowest bit of prev_size says that these are huge pages */
	if ((h[1] & CHUNK_FLAGS) != CHUNK_MMAPPED || (h[0] & ~(uint64_t)(tail ? 1 : 0)) != offset)
		return 0;
	size = h[1] & ~(uint64_t)CHUNK_FLAGS;
	total = offset + size + tail;
	if (size < CHUNK_MIN || size > end - map || total > end - map || total % page)
		return 0;
	return total;
}

/* The chunk that begins the mapping at `map`, if there is one. */
static bool chunk_at(struct search *s, uint64_t map, uint64_t end, struct mmapped *ret)
{
	uint64_t total, h[2];

	/* The header that mmap()'s caller wrote stays, if not for its size: remapping changes the moved one's only. */
	if (!readable(s, map) || !heap_reader_words(&s->g->reader, map, h, 2) || h[0] > 1 ||
	    (h[1] & CHUNK_FLAGS) != CHUNK_MMAPPED)
		return false;
	total = total_at(s, map, 0, end);
	for (unsigned int k = 5; k < 40; k++) {
		uint64_t align = 1ull << k, user = (map + 16 + align - 1) & ~(align - 1), moved;

		if (user - map - 16 < CHUNK_MIN)
			user += align;
		if (user < map || user >= end)
			break;
		moved = total_at(s, map, user - 16 - map, end);
		if (moved) {
			*ret = (struct mmapped){ .map = map, .total = moved, .chunk = user - 16 };
			return true;
		}
	}
	*ret = (struct mmapped){ .map = map, .total = total, .chunk = map };
	return total != 0;
}

static int add(struct glibc *g, const struct mmapped *m)
{
	if (g->nmmapped == g->mmapped_room) {
		size_t room = g->mmapped_room ? g->mmapped_room * 2 : 64;
		struct mmapped *grown = realloc(g->mmapped, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		g->mmapped = grown;
		g->mmapped_room = room;
	}
	g->mmapped[g->nmmapped++] = *m;
	return 0;
}

/* The end of the segment or mapped chunk (of the first nknown, in order) that addr is in; 0: it is in none. */
static uint64_t known_end(const struct glibc *g, size_t nknown, uint64_t addr)
{
	const struct segment *seg = glibc_segment_of(g, addr);
	size_t lo = 0, hi = nknown;

	if (seg)
		return seg->end;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (g->mmapped[mid].map + g->mmapped[mid].total > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo < nknown && g->mmapped[lo].map <= addr ? g->mmapped[lo].map + g->mmapped[lo].total
	                                                 : 0;
}

uint64_t glibc_known_end(const struct glibc *g, uint64_t addr)
{
	return known_end(g, g->nmmapped, addr);
}

/*
 * Where the anonymous memory that m begins ends: a program that changes the protection of a part of its block cuts the
 * mapping into pieces.
 */
static uint64_t pieces_end(const struct image *img, const struct image_map *m)
{
	uint64_t end = m->end;

	while (++m < img->maps + img->nmaps && m->start == end && !m->inode &&
	       !(m->flags & IMAGE_SHARED) && (!m->path[0] || !strncmp(m->path, "[anon", 5)))
		end = m->end;
	return end;
}

static int search_map(struct search *s, const struct image_map *m, size_t nknown)
{
	struct glibc *g = s->g;
	uint64_t page = g->img->page_size, at = m->start, end = pieces_end(g->img, m);

	while (at < m->end && !done(s)) {
		struct mmapped found;
		uint64_t behind = known_end(g, nknown, at);

		if (behind > at) {
			at = (behind + page - 1) & ~(page - 1);
			continue;
		}
		if (chunk_at(s, at, end, &found)) {
			int r = add(g, &found);

			if (r < 0)
				return r;
			s->bytes += found.total;
			at += found.total;
			continue;
		}
		if (!s->every_page)
			break;
		if (++s->pages > MAX_PAGES)
			return 0;
		at += page;
	}
	return 0;
}

static int by_map(const void *a, const void *b)
{
	const struct mmapped *x = a, *y = b;

	return x->map < y->map ? -1 : x->map > y->map;
}

int glibc_find_mmapped(struct glibc *g)
{
	struct search s = { .g = g, .resident_from = 1 };
	int r = 0;

	for (int pass = 0; pass < 4 && r >= 0 && !done(&s); pass++) {
		size_t nknown = g->nmmapped;

		/* Without mp_ there is no telling whether something is missing. */
		if (!g->mp.found && pass)
			break;
		s.swapped = pass & 1;
		s.every_page = pass >= 2;
		for (size_t i = 0; i < g->img->nmaps && r >= 0 && !done(&s); i++) {
			const struct image_map *m = &g->img->maps[i];

			if (heap_is_anonymous(m) && strcmp(m->path, "[heap]"))
				r = search_map(&s, m, nknown);
		}
		if (g->nmmapped)
			qsort(g->mmapped, g->nmmapped, sizeof(*g->mmapped), by_map);
	}
	if (r >= 0 && g->mp.found &&
	    (g->nmmapped != g->mp.n_mmaps || (g->bins != 24 && s.bytes != g->mp.mmapped_mem)))
		heap_note(g->out->heap,
		          "malloc has %llu mapped blocks of %llu bytes, found were %zu of %llu bytes",
		          (unsigned long long)g->mp.n_mmaps, (unsigned long long)g->mp.mmapped_mem,
		          g->nmmapped, (unsigned long long)s.bytes);
	return r;
}
