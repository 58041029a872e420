/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking again, at chunks.  recheck_threads.c looks at threads.
 *
 * Why four words are enough for a chunk.  Its size field and the one behind it change when it is joined with a neighbour
 * or split, the bit in its neighbour when it is handed out, and the lists do not lead to it any more as soon as it is in none.
 * What is left of a chunk that is no longer one may still look like a header; but then nothing in the lists points
 * there.
 */
#include "heap/recheck.h"

#include <string.h>
#include <time.h>

#include "heap/glibc.h"
#include "heap/recheck_private.h"

#define FREE_HEADER 48u /* size, prev_size, fd, bk and the two of large chunks */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- glibc ------------------------------------------------------------------------- */

/* Does the heap that a chunk of a thread's arena lies in still belong to it? */
static bool heap_holds(const struct image *img, const struct heap_arena *a, uint64_t chunk,
                       uint64_t end, uint64_t *ret_end)
{
	uint64_t info[3], heap = a->heap_bytes ? chunk & ~(a->heap_bytes - 1) : 0;

	if (!heap || !image_read_all(img, heap, info, sizeof(info)) || info[0] != a->address ||
	    info[2] > a->heap_bytes)
		return false;
	*ret_end = heap + info[2];
	return end <= *ret_end;
}

static bool chunk_holds(const struct image *img, const struct heap_arena *a,
                        const struct free_run *run)
{
	uint64_t head[4], next[2], end = run->chunk + run->size, heap_end, back;

	if (!image_read_all(img, run->chunk, head, sizeof(head)) ||
	    !image_read_all(img, end, next, sizeof(next)))
		return false;
	/* Free chunks say nothing of their arena; one that says "another" was handed out by a thread's. */
	if ((head[1] & ~(uint64_t)CHUNK_FLAGS) != run->size || head[1] & CHUNK_MMAPPED ||
	    (a->main && head[1] & CHUNK_NON_MAIN) || next[0] != run->size ||
	    next[1] & (CHUNK_PREV_INUSE | CHUNK_MMAPPED))
		return false;
	if (!a->main && !heap_holds(img, a, run->chunk, end, &heap_end))
		return false;
	return image_read_u64(img, head[2] + 24, &back) && back == run->chunk &&
	       image_read_u64(img, head[3] + 16, &back) && back == run->chunk;
}

/* Where the arena's top is now, if everything about it fits together. */
static bool top_of(const struct image *img, const struct heap *h, const struct heap_arena *a,
                   uint64_t *ret_top, uint64_t *ret_end)
{
	uint64_t top, size, end, heap_end;

	if (!image_read_u64(img, a->address + h->bins_at - 16, &top) || top % 16 ||
	    !image_read_u64(img, top + 8, &size) || !(size & CHUNK_PREV_INUSE))
		return false;
	end = top + (size & ~(uint64_t)CHUNK_FLAGS);
	if (end <= top || end % img->page_size)
		return false;
	if (!a->main && (!heap_holds(img, a, top, end, &heap_end) || heap_end != end))
		return false;
	*ret_top = top;
	*ret_end = end;
	return true;
}

static bool glibc_run(const struct image *img, const struct heap *h, const struct free_run *run,
                      struct recheck_range *ret)
{
	const struct heap_arena *a = &h->arenas[run->arena];
	uint64_t start = run->start, end = start + run->npages * img->page_size, top, top_end, page;

	if (run->kind == FREE_PAGES_BIN) {
		if (!chunk_holds(img, a, run))
			return false;
	} else {
		if (!top_of(img, h, a, &top, &top_end))
			return false;
		page = (top + FREE_HEADER + img->page_size - 1) & ~(img->page_size - 1);
		if (start < page)
			start = page;
		if (end > top_end)
			end = top_end;
	}
	if (start >= end)
		return false;
	ret->start = start;
	ret->len = end - start;
	return true;
}

/* ---- musl -------------------------------------------------------------------------- */

static bool musl_run(const struct image *img, const struct free_run *run, struct recheck_range *ret)
{
	struct {
		uint64_t prev, next, mem;
		uint32_t avail, freed;
		uint64_t bits;
	} meta;
	uint64_t owner, first, storage, stride = run->slots ? run->size / run->slots : 0, all;

	/* The group's first word is its meta, the meta has the group's address. */
	if (!run->owner || !image_read_all(img, run->owner, &meta, sizeof(meta)) || !meta.mem ||
	    !image_read_u64(img, meta.mem, &owner) || owner != run->owner)
		return false;
	storage = meta.mem + 16;
	if (!stride || run->chunk < storage || (run->chunk - storage) % stride || run->slots > 32)
		return false;
	first = (run->chunk - storage) / stride;
	all = ((1ull << run->slots) - 1) << (first & 31);
	/* The size class and with it the stride: as it was when the slots were counted. */
	if (first + run->slots > (meta.bits & 31) + 1 || meta.bits != run->owner_bits ||
	    ((meta.avail | meta.freed) & all) != all)
		return false;
	ret->start = run->start;
	ret->len = run->npages * img->page_size;
	return true;
}

/* ---- all --------------------------------------------------------------------------- */

static bool is_locked(const struct image *img, const struct heap_arena *a)
{
	uint64_t word;

	return !image_read_u64(img, a->address, &word) || (uint32_t)word;
}

void recheck_runs(const struct image *now, const struct heap *then, const struct heap_range *code,
                  const struct free_run *runs, size_t nruns, uint64_t until_ns,
                  struct recheck *ret_result, struct recheck_range *ret, uint8_t *ret_state)
{
	struct recheck r = { 0 };
	bool glibc = then->bins_at != 0;
	uint32_t known = UINT32_MAX;
	bool locked = false;

	memset(ret_state, RECHECK_NOT_LOOKED, nruns);
	if (glibc)
		r.refusal = recheck_threads(now, code, &r.tid);
	for (size_t i = 0; i < nruns && !r.refusal; i++) {
		const struct free_run *run = &runs[i];
		bool holds;

		if (i % 64 == 63 && now_ns() >= until_ns)
			break;
		r.looked++;
		if (glibc && run->arena != known) {
			locked = is_locked(now, &then->arenas[run->arena]);
			known = run->arena;
		}
		if (glibc && locked) {
			r.locked++;
			ret_state[i] = RECHECK_IS_LOCKED;
			continue;
		}
		ret[r.n].run = i;
		holds = (glibc ? glibc_run(now, then, run, &ret[r.n])
		               : musl_run(now, run, &ret[r.n])) &&
		        heap_can_drop(now, ret[r.n].start, ret[r.n].start + ret[r.n].len);
		ret_state[i] = holds ? RECHECK_HOLDS : RECHECK_IS_CHANGED;
		if (holds)
			r.n++;
		else
			r.changed++;
	}
	if (!r.refusal && !r.n && nruns)
		r.refusal = r.locked ? RECHECK_LOCKED : RECHECK_CHANGED;
	*ret_result = r;
}
