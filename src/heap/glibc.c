/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glibc's heap: what is done in which order, and the sums.
 *
 * arenas -> mp_ -> segments -> caches and fastbins (what is free though its neighbour says used) -> mapped blocks -> the walk.
 * mallinfo2() is not added up from the blocks but as glibc does it, from system_mem and what is free; that both
 * agree is what the tests hold against the program's own answer.
 */
#include "heap/glibc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BUDGET (1ull << 26)

void glibc_release(struct glibc *g)
{
	for (size_t i = 0; i < g->nsegments; i++)
		glibc_forget_marks(&g->segments[i]);
	free(g->segments);
	free(g->arenas);
	free(g->mmapped);
	free(g->tcaches);
	free(g->suspects);
	heap_reader_release(&g->reader);
	window_release(&g->window);
}

static void add_up(struct glibc *g)
{
	struct heap_mallinfo *info = &g->out->heap->info;

	for (uint32_t i = 0; i < g->narenas; i++) {
		struct heap_arena *a = &g->out->heap->arenas[i];
		uint64_t free_bytes = a->top_size + a->bin_bytes + a->fast_bytes;

		info->arena += a->system_bytes;
		info->ordblks += a->bin_chunks + 1; /* top counts, even if there is none */
		info->smblks += a->fast_chunks;
		info->fsmblks += a->fast_bytes;
		info->fordblks += free_bytes;
		info->uordblks += a->system_bytes - free_bytes;
	}
	info->keepcost = g->arenas[0].top_size;
	info->hblks = g->mp.found ? g->mp.n_mmaps : g->nmmapped;
	info->hblkhd = g->mp.mmapped_mem;
	for (size_t i = 0; i < g->nmmapped && !g->mp.found; i++)
		info->hblkhd += g->mmapped[i].total;
}

static void describe(struct glibc *g)
{
	struct heap *h = g->out->heap;

	snprintf(h->allocator, sizeof(h->allocator), "glibc");
	if (!h->layout[0])
		snprintf(h->layout, sizeof(h->layout), "glibc %s",
		         g->bins == 24    ? "2.43 or later"
		         : g->bins == 112 ? "2.27-2.42"
		                          : "2.17-2.26");
	if (!g->mp.found)
		heap_note(h, "malloc's parameters were not found: mapped blocks may be missing");
	if (h->resyncs)
		heap_note(h,
		          "the chain of blocks was broken in %llu places, %llu bytes were skipped",
		          (unsigned long long)h->resyncs, (unsigned long long)h->skipped_bytes);
	else if (h->skipped_bytes)
		heap_note(h, "%llu bytes of heap could not be read",
		          (unsigned long long)h->skipped_bytes);
	if (g->window.swapped_in)
		heap_note(h, "%llu swapped pages were brought back to read block headers",
		          (unsigned long long)g->window.swapped_in);
}

static int walk(struct glibc *g)
{
	struct heap *h = g->out->heap;
	int r;

	g->reader.careful = true;
	r = glibc_find_arenas(g);
	if (r < 0)
		return r;
	h->arenas = calloc(g->narenas, sizeof(*h->arenas));
	if (!h->arenas)
		return -ENOMEM;
	h->narenas = g->narenas;
	glibc_find_params(g);
	h->bins_at = g->bins;
	if (g->out->params_only) {
		describe(g);
		return 0;
	}
	r = glibc_find_segments(g);
	if (r >= 0)
		r = glibc_find_tcaches(g);
	g->reader.careful = false;
	if (r >= 0)
		r = glibc_mark_fastbins(g);
	if (r >= 0)
		r = glibc_find_mmapped(g);
	if (r >= 0)
		r = glibc_walk_segments(g);
	if (r >= 0 && g->suspects)
		r = glibc_settle_suspects(g);
	if (r >= 0)
		r = heap_add_range(g->out, g->arenas[0].address,
		                   g->arenas[0].address + g->state_bytes);
	if (r >= 0 && g->mp.found)
		r = heap_add_range(g->out, g->mp.address, g->mp.address + g->mp.size);
	if (r < 0)
		return r;
	glibc_mark_internal(g);
	for (uint32_t i = 0; i < g->narenas; i++) {
		const struct arena *a = &g->arenas[i];
		struct heap_arena *out = &h->arenas[i];

		out->address = a->address;
		out->main = i == 0;
		out->system_bytes = a->system;
		out->top = a->top_size ? a->top : 0;
		out->top_size = a->top_size;
		out->attached_threads = (uint32_t)a->attached;
		out->heaps = a->heaps;
		out->heap_bytes = a->heap_bytes;
	}
	add_up(g);
	describe(g);
	return 0;
}

int glibc_walk(const struct image *img, struct heap_builder *b)
{
	struct glibc g = { .img = img, .out = b, .budget = BUDGET };
	int r = heap_reader_init(&g.reader, img);

	if (!r)
		r = window_init(&g.window, img);
	if (!r)
		r = walk(&g);
	glibc_release(&g);
	return r;
}
