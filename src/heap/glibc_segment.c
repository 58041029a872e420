/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that chunks lie in.
 *
 *   non-main arena   heaps, each heap_bytes aligned and large at most:
 *                    [heap_info | malloc_state (the first heap only) | chunks ... top or fencepost]
 *                    the one that holds top is the last; heap_info.prev leads to the others
 *   main arena       [sbrk_base .. end of top) while sbrk gives one piece.  Memory that somebody else got from sbrk in
 *                    between lies behind a pair of fenceposts; the walk finds its way behind it.
 *                    When sbrk fails, or huge pages are used, pieces are mapped anywhere and written down nowhere:
 *                    they are where top is, where free chunks are, and else found by going through the
 *                    anonymous mappings until system_mem is accounted for.
 */
#include "heap/glibc.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_SEEN 100000u     /* members of bins looked at to find pieces */
#define IN_STEP 32u          /* chunks that must follow each other to believe in them */
#define MAX_PAGES (1u << 22) /* pages looked at for pieces nothing points to */

static int add_segment(struct glibc *g, struct segment s)
{
	if (s.first + CHUNK_MIN > s.end || g->nsegments >= MAX_SEGMENTS)
		return 0;
	if (s.end - s.first > MAX_SEGMENT) {
		heap_note(g->out->heap,
		          "the heap at %#llx would be %llu TiB large: it is damaged, and left out",
		          (unsigned long long)s.first,
		          (unsigned long long)((s.end - s.first) >> 40));
		return 0;
	}
	if (g->nsegments == g->segments_room) {
		size_t room = g->segments_room ? g->segments_room * 2 : 64;
		struct segment *grown = realloc(g->segments, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		g->segments = grown;
		g->segments_room = room;
	}
	g->segments[g->nsegments++] = s;
	g->arenas[s.arena].heaps++;
	return 0;
}

struct segment *glibc_segment_of(const struct glibc *g, uint64_t addr)
{
	size_t lo = 0, hi = g->nsegments;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (g->segments[mid].end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo < g->nsegments && g->segments[lo].first <= addr ? &g->segments[lo] : NULL;
}

int glibc_mark_free(struct glibc *g, uint64_t chunk, bool *ret_new)
{
	struct segment *s = glibc_segment_of(g, chunk);
	uint64_t at, bit, *bits;

	*ret_new = false;
	if (!s || chunk % 16)
		return 0;
	if (!s->marks) {
		s->marks = calloc(((s->end - s->first) >> MARKS_SHIFT) + 1, sizeof(*s->marks));
		if (!s->marks)
			return -ENOMEM;
	}
	at = chunk - s->first;
	bits = s->marks[at >> MARKS_SHIFT];
	if (!bits) {
		bits = s->marks[at >> MARKS_SHIFT] = calloc(MARKS_WORDS, sizeof(*bits));
		if (!bits)
			return -ENOMEM;
	}
	bit = 1ull << at / 16 % 64;
	bits += at / 16 / 64 % MARKS_WORDS;
	*ret_new = !(*bits & bit);
	*bits |= bit;
	return 0;
}

void glibc_forget_marks(struct segment *s)
{
	if (!s->marks)
		return;
	for (uint64_t i = 0; i <= (s->end - s->first) >> MARKS_SHIFT; i++)
		free(s->marks[i]);
	free(s->marks);
	s->marks = NULL;
}

bool glibc_chunk_sane(uint32_t arena, uint64_t chunk, uint64_t word, uint64_t end)
{
	uint64_t size = word & ~(uint64_t)CHUNK_FLAGS;

	return size >= CHUNK_MIN && size % 16 == 0 && chunk < end && size <= end - chunk &&
	       !(word & CHUNK_MMAPPED) && (arena || !(word & CHUNK_NON_MAIN));
}

bool glibc_in_step(struct glibc *g, uint32_t arena, uint64_t chunk, uint64_t end)
{
	uint64_t size = 0;

	for (unsigned int n = 0; n < IN_STEP; n++) {
		uint64_t h[2];

		if (!glibc_spend(g))
			return false;
		if (chunk + CHUNK_FENCE > end || !heap_reader_words(&g->reader, chunk, h, 2))
			return n && chunk == end;
		/* The first one has nobody before it; a free one says its size at its end, too. */
		if (!n && !(h[1] & CHUNK_PREV_INUSE))
			return false;
		if (n && !(h[1] & CHUNK_PREV_INUSE) && h[0] != size)
			return false;
		if ((h[1] & ~(uint64_t)CHUNK_FLAGS) == CHUNK_FENCE && !(h[1] & CHUNK_MMAPPED))
			return n > 0;
		if (!glibc_chunk_sane(arena, chunk, h[1], end))
			return false;
		if (chunk == g->arenas[arena].top)
			return true;
		size = h[1] & ~(uint64_t)CHUNK_FLAGS;
		chunk += size;
	}
	return true;
}

/*
 * A piece of the main arena from `start` on: where it ends (behind its fenceposts, or with top).  0: there
 * is none.  Headers only, so this is quick even in large pieces.
 */
static uint64_t piece_end(struct glibc *g, uint64_t start, uint64_t limit)
{
	const struct arena *main = &g->arenas[0];
	uint64_t at = start, v;

	if (!glibc_in_step(g, 0, start, limit))
		return 0;
	while (at + CHUNK_FENCE <= limit && heap_reader_word(&g->reader, at + 8, &v)) {
		if (at == main->top)
			return at + (v & ~(uint64_t)CHUNK_FLAGS);
		if ((v & ~(uint64_t)CHUNK_FLAGS) == CHUNK_FENCE) {
			for (int i = 0; i < 3 && (v & ~(uint64_t)CHUNK_FLAGS) == CHUNK_FENCE; i++) {
				at += CHUNK_FENCE;
				if (!heap_reader_word(&g->reader, at + 8, &v))
					break;
			}
			return at;
		}
		if (!glibc_chunk_sane(0, at, v, limit))
			break;
		at += v & ~(uint64_t)CHUNK_FLAGS;
	}
	return at;
}

/* The pieces in [lo, hi), begun at multiples of `step` behind what is no piece. */
static int add_pieces(struct glibc *g, uint64_t lo, uint64_t hi, uint64_t step, uint64_t *found)
{
	uint64_t at = lo, page = g->img->page_size;

	for (unsigned int pages = 0; at + CHUNK_MIN <= hi;) {
		uint64_t end = 0, v;
		uint8_t resident = 0;
		int r;

		if (at % page == 0 || at == lo) {
			if (++pages > MAX_PAGES)
				break;
			image_resident(g->img, at & ~(page - 1), 1, &resident);
			if (!resident) {
				at = (at & ~(page - 1)) + page;
				continue;
			}
		}
		if (heap_reader_word(&g->reader, at + 8, &v) && glibc_chunk_sane(0, at, v, hi))
			end = piece_end(g, at, hi);
		if (end <= at) {
			at += step;
			continue;
		}
		r = add_segment(g, (struct segment){ .first = at, .end = end, .range = at });
		if (r < 0)
			return r;
		*found += end - at;
		at = (end + step - 1) & ~(step - 1);
	}
	return 0;
}

/* Maps known to hold a piece, as a set of bits over img->maps. */
static void note_map(struct glibc *g, uint8_t *maps, uint64_t addr)
{
	const struct image_map *m = image_map_of(g->img, addr);

	if (m && heap_is_anonymous(m))
		maps[m - g->img->maps] = 1;
}

static bool has_stack(const struct image *img, const struct image_map *m)
{
	for (size_t i = 0; i < img->nthreads; i++)
		if (img->threads[i].sp >= m->start && img->threads[i].sp < m->end)
			return true;
	return false;
}

static int find_pieces(struct glibc *g)
{
	const struct arena *main = &g->arenas[0];
	uint64_t bins = main->address + g->bins, found = 0;
	uint8_t *maps = calloc(g->img->nmaps + 1, 1);
	unsigned int seen = 0;
	int r = 0;

	if (!maps)
		return -ENOMEM;
	note_map(g, maps, main->top);
	if (g->mp.found)
		note_map(g, maps, g->mp.sbrk_base);
	for (size_t i = 0; i < g->img->nmaps; i++)
		if (!strcmp(g->img->maps[i].path, "[heap]"))
			maps[i] = 1;
	for (uint32_t i = 0; i < NPAIRS; i++) {
		uint64_t me = bins + 16 * i - 16, at = 0;

		heap_reader_word(&g->reader, bins + 16 * i, &at);
		while (at && at != me && at % 8 == 0 && ++seen < MAX_SEEN) {
			note_map(g, maps, at);
			if (!heap_reader_word(&g->reader, at + 16, &at))
				break;
		}
	}
	for (size_t i = 0; i < g->img->nmaps && r >= 0; i++) {
		const struct image_map *m = &g->img->maps[i];
		uint64_t lo = m->start;

		if (!maps[i])
			continue;
		if (g->mp.found && g->mp.sbrk_base >= lo && g->mp.sbrk_base < m->end)
			lo = (g->mp.sbrk_base + 15) & ~15ull;
		r = add_pieces(g, lo, m->end, 16, &found);
	}
	/* A piece without a single free chunk is not pointed to by anything.  They are at page boundaries. */
	for (size_t i = 0; i < g->img->nmaps && r >= 0 && found < main->system; i++) {
		const struct image_map *m = &g->img->maps[i];

		if (!maps[i] && heap_is_anonymous(m) && !has_stack(g->img, m) &&
		    strncmp(m->path, "[stack", 6))
			r = add_pieces(g, m->start, m->end, g->img->page_size, &found);
	}
	free(maps);
	return r;
}

static int add_main(struct glibc *g)
{
	const struct arena *main = &g->arenas[0];
	uint64_t end = main->top + main->top_size, start;
	int r;

	if (!main->system)
		return 0;
	if (!(main->flags & ARENA_NONCONTIGUOUS) && end >= main->top && end > main->system &&
	    heap_is_mapped(g->img, end - main->system, end)) {
		start = (end - main->system + 15) & ~15ull;
		return add_segment(g, (struct segment){ .first = start,
		                                        .end = end,
		                                        .range = end - main->system,
		                                        .gaps = true });
	}
	r = find_pieces(g);
	if (!r && !g->arenas[0].heaps)
		heap_note(g->out->heap, "the main heap's memory was not found");
	return r;
}

/* heap_max_size: 64 MB, or four huge pages, which can be of many sizes. */
static uint64_t heap_bytes(struct glibc *g, const struct arena *ar)
{
	static const uint64_t sizes[] = { 64ull << 20, 8ull << 20,   4ull << 30,  1ull << 20,
		                          2ull << 20,  128ull << 20, 32ull << 20, 256ull << 20,
		                          2ull << 30,  64ull << 30 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t heap = ar->top & ~(sizes[i] - 1), owner;

		if (!((ar->address - ar->header) & (sizes[i] - 1)) && ar->top > heap &&
		    heap_reader_word(&g->reader, heap, &owner) && owner == ar->address)
			return sizes[i];
	}
	return 0;
}

static int add_heaps(struct glibc *g, uint32_t i)
{
	struct arena *ar = &g->arenas[i];
	uint64_t heap, info[3] = { 0 };
	size_t before = g->nsegments;

	ar->heap_bytes = heap_bytes(g, ar);
	if (!ar->heap_bytes) {
		heap_note(g->out->heap, "the heaps of the arena at %#llx were not found",
		          (unsigned long long)ar->address);
		return 0;
	}
	/* Each step goes to another heap; so many there can be at most, or the list is damaged. */
	for (heap = ar->top & ~(ar->heap_bytes - 1); heap; heap = info[1]) {
		uint64_t first = heap + ar->header;
		int r;

		if (heap & (ar->heap_bytes - 1) || !heap_reader_words(&g->reader, heap, info, 3) ||
		    info[0] != ar->address || info[2] > ar->heap_bytes || info[2] % 4096 ||
		    g->nsegments - before > g->img->nmaps + 1) {
			heap_note(g->out->heap, "the list of heaps of the arena at %#llx is damaged",
			          (unsigned long long)ar->address);
			break;
		}
		if (first == ar->address)
			first = (first + g->state_bytes + 15) & ~15ull;
		r = add_segment(g, (struct segment){ .first = first,
		                                     .end = heap + info[2],
		                                     .range = heap,
		                                     .arena = i });
		if (r < 0)
			return r;
		if (heap + ar->header == ar->address)
			break;
	}
	return 0;
}

static int by_first(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

int glibc_find_segments(struct glibc *g)
{
	size_t n = 0;
	int r = add_main(g);

	for (uint32_t i = 1; i < g->narenas && r >= 0; i++)
		r = add_heaps(g, i);
	if (r < 0 || !g->nsegments)
		return r;
	qsort(g->segments, g->nsegments, sizeof(*g->segments), by_first);
	/* Only a damaged heap has segments that overlap; then the first to begin wins. */
	for (size_t i = 1; i < g->nsegments; i++) {
		struct segment *s = &g->segments[i];

		if (s->first >= g->segments[n].end)
			g->segments[++n] = *s;
		else
			g->out->heap->skipped_bytes += s->end - s->first;
	}
	g->nsegments = n + 1;
	return 0;
}
