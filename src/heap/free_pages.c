/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which whole pages lie inside free chunks, and whether anything is in them.
 *
 * A page that was given back, or never written to, is free in the allocator's books only; what counts is what the
 * kernel has there.  Runs are cut to what is there, from the first such page to the last: a top that was trimmed yesterday
 * and grew by a page since is a run of one page, not of a gigabyte.
 */
#include "heap/free_pages.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "heap/heap.h"
#include "heap/heap_private.h"
#include "proc/image.h"

#define GLIBC_HEADER 48u /* size fields and list pointers of a chunk in a bin */
#define MUSL_FOOTER 4u
#define LOOK 65536u /* pages asked about at once */

struct finder {
	const struct image *img;
	const struct heap *heap;
	const struct heap_range *leave;
	size_t nleave, next_leave;
	struct free_pages *out;
	size_t room;
	uint8_t *state; /* of LOOK pages */
};

static bool add_run(struct finder *f, const struct free_run *run)
{
	struct free_pages *out = f->out;

	if (out->nruns == f->room) {
		size_t room = f->room ? f->room * 2 : 256;
		struct free_run *grown = realloc(out->runs, room * sizeof(*grown));

		if (!grown)
			return false;
		out->runs = grown;
		f->room = room;
	}
	out->runs[out->nruns++] = *run;
	return true;
}

static uint32_t kind_of(const struct heap *h, const struct heap_free *c)
{
	switch (c->kind) {
	case HEAP_FREE_BIN:
		return FREE_PAGES_BIN;
	case HEAP_FREE_TOP:
		return h->arenas[c->arena].main ? FREE_PAGES_MAIN_TOP : FREE_PAGES_THREAD_TOP;
	case HEAP_FREE_SLOT:
		return FREE_PAGES_SLOT;
	default:
		return FREE_PAGES_NKINDS;
	}
}

bool heap_can_drop(const struct image *img, uint64_t start, uint64_t end)
{
	for (size_t i = image_map_after(img, start); i < img->nmaps && start < end; i++) {
		const struct image_map *m = &img->maps[i];

		if (m->start > start || !heap_is_anonymous(m) ||
		    !strncmp(m->path, "/anon_hugepage", 14))
			return false;
		start = m->end;
	}
	return start >= end;
}

/* None that is to be left out, too. */
static bool fits(struct finder *f, uint64_t start, uint64_t end)
{
	while (f->next_leave < f->nleave && f->leave[f->next_leave].end <= start)
		f->next_leave++;
	if (f->next_leave < f->nleave && f->leave[f->next_leave].start < end)
		return false;
	return heap_can_drop(f->img, start, end);
}

static void add_sum(struct free_sum *s, uint64_t bytes, uint64_t resident, uint64_t swapped)
{
	s->chunks++;
	s->bytes += bytes;
	s->resident += resident;
	s->swapped += swapped;
	s->returned += bytes - resident - swapped;
}

/* Counts what is in the pages [run->start, + npages), cuts them to it, and adds what is left. */
static bool take_pages(struct finder *f, struct free_run *run)
{
	uint64_t page = f->img->page_size, n = run->npages, first = n, last = 0;
	struct free_pages *out = f->out;

	for (uint64_t at = 0; at < n; at += LOOK) {
		uint64_t k = n - at < LOOK ? n - at : LOOK;

		image_resident(f->img, run->start + at * page, k, f->state);
		for (uint64_t i = 0; i < k; i++) {
			if (!f->state[i])
				continue;
			run->resident += f->state[i] == 1;
			run->swapped += f->state[i] == 2;
			last = at + i;
			if (first == n)
				first = at + i;
		}
	}
	add_sum(&out->kinds[run->kind], n * page, run->resident * page, run->swapped * page);
	add_sum(&out->total, n * page, run->resident * page, run->swapped * page);
	add_sum(&out->arenas[run->arena], n * page, run->resident * page, run->swapped * page);
	if (first == n)
		return true;
	run->start += first * page;
	run->npages = last - first + 1;
	return add_run(f, run);
}

static bool take_chunk(struct finder *f, const struct heap_free *c, uint32_t slots)
{
	uint64_t page = f->img->page_size, start, end;
	struct free_run run = { .slots = slots,
		                .chunk = c->address,
		                .size = c->size,
		                .owner = c->owner,
		                .owner_bits = c->owner_bits,
		                .arena = c->arena };

	if (c->arena >= f->heap->narenas || c->address + c->size < c->address)
		return true;
	run.kind = kind_of(f->heap, c);
	if (run.kind == FREE_PAGES_NKINDS)
		return true;
	start = run.kind == FREE_PAGES_SLOT ? c->address : c->address + GLIBC_HEADER;
	end = c->address + c->size;
	if (run.kind == FREE_PAGES_SLOT)
		end -= MUSL_FOOTER;
	start = (start + page - 1) & ~(page - 1);
	end &= ~(page - 1);
	if (start >= end || start < c->address)
		return true;
	if (!fits(f, start, end)) {
		f->out->unfit += end - start;
		return true;
	}
	run.start = start;
	run.npages = (end - start) / page;
	return take_pages(f, &run);
}

/* Is it the next slot of the same group? */
static bool follows(const struct heap_free *c, uint32_t slots, const struct heap_free *next)
{
	return next->kind == HEAP_FREE_SLOT && next->owner == c->owner &&
	       next->address == c->address + c->size && next->size == c->size / slots;
}

struct seep_error *free_pages_find(const struct image *img, const struct heap *h,
                                   const struct heap_range *leave, size_t nleave,
                                   struct free_pages *ret)
{
	struct finder f = { .img = img, .heap = h, .leave = leave, .nleave = nleave, .out = ret };
	bool fine;

	*ret = (struct free_pages){ .narenas = h->narenas };
	ret->arenas = calloc(h->narenas + 1, sizeof(*ret->arenas));
	f.state = malloc(LOOK);
	fine = ret->arenas && f.state;
	for (size_t i = 0; i < h->nfree && fine;) {
		struct heap_free c = h->free[i++];
		uint32_t slots = 1;

		for (; c.kind == HEAP_FREE_SLOT && i < h->nfree && follows(&c, slots, &h->free[i]);
		     i++) {
			c.size += h->free[i].size;
			slots++;
		}
		fine = take_chunk(&f, &c, slots);
	}
	free(f.state);
	return fine ? NULL : &seep_error_nomem;
}

void free_pages_release(struct free_pages *f)
{
	free(f->runs);
	free(f->arenas);
	*f = (struct free_pages){ 0 };
}
