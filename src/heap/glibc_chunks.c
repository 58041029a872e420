/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk: from chunk to chunk through a segment, which is read once, in windows, and not kept.
 *
 * Whether a chunk is in use is said by its neighbour's PREV_INUSE, so each chunk waits until the next header was read.
 * Without that bit it is in a bin.  With it, it is in use unless a fastbin or a cache has it (marks).
 * That makes the bins' lists superfluous, which can have millions of members all over the heap.
 *
 * A header that makes no sense ends the chain: the heap is damaged, or a thread was at work on it, or (main arena) the
 * memory behind a fencepost is somebody else's.  Chunks begin at multiples of 16, so the walk goes on from the
 * first such place from where chunks follow each other again.
 */
#include "heap/glibc.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_SUSPECTS 65536u

struct walk {
	struct glibc *g;
	const struct segment *seg;
	struct heap_arena *sum;
	uint64_t at;      /* the header to look at */
	uint64_t pending; /* the chunk before it, of which only that header tells; 0: none */
	uint64_t pending_size;
	uint64_t run; /* where the memory began that is surely the allocator's */
	uint64_t word;
	uint64_t chunks; /* since the window was loaded */
};

/* The chunk before the header at w->at, whose size field is `word`. */
static inline int settle(struct walk *w, uint64_t word)
{
	uint64_t chunk = w->pending, size = w->pending_size;
	struct glibc *g = w->g;

	if (!chunk)
		return 0;
	w->pending = 0;
	if (!(word & CHUNK_PREV_INUSE)) {
		w->sum->bin_chunks++;
		w->sum->bin_bytes += size;
		return heap_add_free(g->out, chunk, size, w->seg->arena, HEAP_FREE_BIN);
	}
	if (glibc_marked(w->seg, chunk))
		return 0;
	w->sum->used_blocks++;
	w->sum->used_bytes += size;
	if (g->suspects && g->nsuspects < MAX_SUSPECTS && glibc_tcache_shape(size)) {
		if (g->nsuspects == g->suspects_room) {
			uint64_t *grown =
				realloc(g->suspects, 2 * g->suspects_room * sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			g->suspects = grown;
			g->suspects_room *= 2;
		}
		g->suspects[g->nsuspects++] = chunk + 16;
	}
	return heap_add_block(g->out, chunk + 16, size - 8, BLOCK_IMPRECISE);
}

/* The size field at w->at through the window; false: it cannot be read. */
static bool header(struct walk *w)
{
	struct window *win = &w->g->window;

	if (w->at < win->start || w->at + 16 > win->end) {
		/* Large chunks are skipped, so what is loaded behind their headers is wasted. */
		win->want = w->chunks * 4096 >= win->want || !w->chunks ? WINDOW_BYTES
		                                                        : WINDOW_SMALL;
		w->chunks = 0;
		window_load(win, w->at, w->seg->end);
		if (w->at + 16 > win->end)
			return false;
	}
	memcpy(&w->word, win->data + (w->at + 8 - win->start), 8);
	if (!w->word && window_page(win, w->at) == WINDOW_SWAPPED && window_swap_in(win, w->at))
		memcpy(&w->word, win->data + (w->at + 8 - win->start), 8);
	return true;
}

/* Chunk after chunk while they make sense; stops at a header that does not, or at top. */
static int stride(struct walk *w)
{
	const uint32_t arena = w->seg->arena;
	const uint64_t top = w->g->arenas[arena].top, end = w->seg->end;
	const uint64_t bad = 8 | CHUNK_MMAPPED | (arena ? 0 : CHUNK_NON_MAIN);

	while (w->at < end && header(w)) {
		const struct window *win = &w->g->window;
		const uint8_t *data = win->data + 8;
		const uint64_t start = win->start;
		const uint64_t last = win->end - 16;
		uint64_t at = w->at, word = w->word, size;
		int r;

		for (;;) {
			size = word & ~(uint64_t)CHUNK_FLAGS;
			if (at == top || word & bad || size < CHUNK_MIN || size > end - at) {
				w->at = at;
				w->word = word;
				return 1;
			}
			r = settle(w, word);
			if (r < 0)
				return r;
			w->pending = at;
			w->pending_size = size;
			w->chunks++;
			at += size;
			if (at > last)
				break;
			memcpy(&word, data + (at - start), 8);
			if (!word)
				break; /* perhaps only not loaded: header() knows */
		}
		w->at = at;
	}
	return 0;
}

/* The next place where chunks follow each other, or the segment's end. */
static uint64_t resync(struct walk *w, uint64_t at)
{
	struct glibc *g = w->g;
	uint64_t page = g->img->page_size;

	for (at = (at + 15) & ~15ull; at + CHUNK_MIN <= w->seg->end; at += 16) {
		struct window *win = &g->window;
		uint64_t word;

		if (at < win->start || at + 16 > win->end) {
			win->want = WINDOW_BYTES;
			window_load(win, at, w->seg->end);
		}
		if (at % page == 0 && window_page(win, at) != WINDOW_PRESENT &&
		    window_page(win, at) != WINDOW_SWAPPED) {
			at += page - 16;
			continue;
		}
		memcpy(&word, win->data + (at + 8 - win->start), 8);
		if (word & CHUNK_PREV_INUSE &&
		    glibc_chunk_sane(w->seg->arena, at, word, w->seg->end) &&
		    glibc_in_step(g, w->seg->arena, at, w->seg->end))
			return at;
	}
	return w->seg->end;
}

/* What is behind the chain's end at w->at: 1 go on, 0 the segment is done. */
static int after_break(struct walk *w)
{
	struct heap *h = w->g->out->heap;
	uint64_t from = w->at, size = w->word & ~(uint64_t)CHUNK_FLAGS;
	int r;

	if (w->at == w->g->arenas[w->seg->arena].top) {
		r = settle(w, w->word);
		if (r >= 0)
			r = heap_add_free(w->g->out, w->at, w->seg->end - w->at, w->seg->arena,
			                  HEAP_FREE_TOP);
		w->g->arenas[w->seg->arena].top_met = true;
		w->at = w->seg->end;
		return r;
	}
	if (size == CHUNK_FENCE && !(w->word & CHUNK_MMAPPED)) {
		r = settle(w, w->word);
		if (r < 0 || !w->seg->gaps) {
			w->at = w->seg->end;
			return r;
		}
		/* a pair of fenceposts, sometimes a third */
		for (int i = 0; i < 3 && size == CHUNK_FENCE && w->at + 32 <= w->seg->end; i++) {
			w->at += CHUNK_FENCE;
			if (!header(w))
				break;
			size = w->word & ~(uint64_t)CHUNK_FLAGS;
		}
		from = w->at;
		w->at = resync(w, w->at);
		r = heap_add_range(w->g->out, w->run, from);
		if (r >= 0)
			r = heap_add_piece(w->g->out, w->run, from, w->seg->arena, false);
		w->run = w->at;
		return r < 0 ? r : w->at < w->seg->end;
	}
	/* The one before may be what is damaged; nobody says that it is in use. */
	if (w->pending) {
		from = w->pending;
		w->pending = 0;
	}
	w->at = resync(w, w->at + 16);
	h->resyncs++;
	h->skipped_bytes += w->at - from;
	return w->at < w->seg->end;
}

static int walk_segment(struct glibc *g, const struct segment *seg)
{
	struct walk w = { .g = g,
		          .seg = seg,
		          .sum = &g->out->heap->arenas[seg->arena],
		          .at = seg->first,
		          .run = seg->range };
	int r = 1;

	g->window.start = g->window.end = 0;
	while (r > 0) {
		r = stride(&w);
		if (r > 0)
			r = after_break(&w);
		else if (!r && w.at < seg->end) {
			/* unreadable to its end */
			g->out->heap->skipped_bytes += seg->end - w.at;
		}
	}
	/* Up to the end without top or fencepost: the last chunk reaches exactly there, and nobody told of it. */
	if (r >= 0 && w.pending) {
		w.pending_size -= 8; /* there is no next header to reach into */
		r = settle(&w, CHUNK_PREV_INUSE);
	}
	if (r >= 0)
		r = heap_add_piece(g->out, w.run, seg->end, seg->arena, false);
	return r < 0 ? r : heap_add_range(g->out, w.run, seg->end);
}

static int add_mmapped(struct glibc *g, const struct mmapped *m)
{
	/* From 2.43 on mapped chunks end like others, with what would be the next one's header. */
	uint64_t usable = m->map + m->total - m->chunk - (g->bins == 24 ? 24 : 16);
	int r = heap_add_block(g->out, m->chunk + 16, usable, BLOCK_IMPRECISE | BLOCK_MMAPPED);

	if (r >= 0)
		r = heap_add_piece(g->out, m->map, m->map + m->total, 0, true);
	return r < 0 ? r : heap_add_range(g->out, m->map, m->map + m->total);
}

int glibc_walk_segments(struct glibc *g)
{
	size_t next = 0;
	int r = 0;

	for (size_t i = 0; i < g->nsegments && r >= 0; i++) {
		for (; next < g->nmmapped && g->mmapped[next].map < g->segments[i].first && r >= 0;
		     next++)
			r = add_mmapped(g, &g->mmapped[next]);
		if (r >= 0)
			r = walk_segment(g, &g->segments[i]);
	}
	for (; next < g->nmmapped && r >= 0; next++)
		r = add_mmapped(g, &g->mmapped[next]);
	return r;
}
