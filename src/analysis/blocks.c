/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A merge of two sorted sequences: the walker's blocks, an array, and the ledger's records, a stream.
 *
 * The ledger goes on being written while it is read, and the image does not; so a record can be of a
 * block born at that address later, or a block's record can be gone.  Births tell the first (records
 * younger than the image are dropped), and of the second nothing worse comes than a block without a
 * stack.
 */
#include "analysis/blocks.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/names.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/tracker_name.h"
#include "capture/blocks.h"
#include "proc/image.h"
#include "profile/profile.h"

#define MAX_SIZE ((1ull << 40) - 1)
#define MAX_ADDRESS ((1ull << 48) - 1)

struct meeting {
	const struct image *img;
	struct heap *heap;
	const struct profile *p;
	const struct ledger_facts *facts;
	uint8_t *internal; /* by site: 0 not looked at, 1 no, 2 yes */
	size_t at;         /* walker blocks below are met */
	struct block *foreign;
	size_t nforeign, cap_foreign;
	struct blocks_result result;
};

/* ---- whose is a site? --------------------------------------------------------------- */

static bool is_loader(const char *path)
{
	const char *base = path_base(path);

	return !strncmp(base, "ld-linux", 8) || !strncmp(base, "ld-musl", 7) ||
	       !strncmp(base, "ld-2.", 5) || !strncmp(base, "ld.so", 5);
}

/* Allocated by the dynamic loader for itself: link maps, dynamic thread vectors, TLS blocks. */
static bool is_internal(struct meeting *m, uint32_t site)
{
	const struct profile *p = m->p;
	uint32_t frame;

	if (site >= p->nsites)
		return false;
	if (m->internal[site])
		return m->internal[site] == 2;
	m->internal[site] = 1;
	for (frame = p->sites[site].stack; frame; frame = p->frames[frame].parent) {
		uint32_t module = p->frames[frame].module;
		const char *path = module == PROF_NO_MODULE ? "" : p->modules[module].path;

		if (module_is_tracker(path) || module_is_allocator(path))
			continue;
		m->internal[site] = is_loader(path) ? 2 : 1;
		break;
	}
	return m->internal[site] == 2;
}

/* ---- one record ------------------------------------------------------------------------ */

static bool in_ranges(const struct heap *h, uint64_t address)
{
	size_t lo = 0, hi = h->nranges;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (h->ranges[mid].end <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < h->nranges && h->ranges[lo].start <= address;
}

static unsigned int flags_of(struct meeting *m, const struct ledger_live_block *r)
{
	return BLOCK_RECORDED | (r->ignored ? BLOCK_IGNORED : 0) |
	       (is_internal(m, r->site) ? BLOCK_INTERNAL : 0);
}

static int add_foreign(struct meeting *m, const struct ledger_live_block *r)
{
	const struct image_map *map = image_map_of(m->img, r->address);
	uint64_t size = r->size < MAX_SIZE ? r->size : MAX_SIZE;

	if (!map || !(map->flags & IMAGE_WRITE)) {
		m->result.vanished++;
		return 0;
	}
	if (m->nforeign &&
	    m->foreign[m->nforeign - 1].address + m->foreign[m->nforeign - 1].size > r->address)
		return 0; /* overlapping records contradict each other: the first stands */
	if (m->nforeign == m->cap_foreign) {
		size_t cap = m->cap_foreign ? 2 * m->cap_foreign : 1024;
		struct block *grown = realloc(m->foreign, cap * sizeof(*grown));

		if (!grown)
			return -1;
		m->foreign = grown;
		m->cap_foreign = cap;
	}
	m->foreign[m->nforeign++] = (struct block){ .address = r->address & MAX_ADDRESS,
		                                    .flags = (uint16_t)flags_of(m, r),
		                                    .size = size,
		                                    .site = r->site & 0xffffff };
	m->result.foreign++;
	return 0;
}

static int meet(void *arg, const struct ledger_live_block *r)
{
	struct meeting *m = arg;
	struct heap *h = m->heap;
	struct block *b;

	if (m->img->stop_mono_ns && ledger_birth_ns(m->facts, r->birth) > m->img->stop_mono_ns) {
		m->result.vanished++;
		return 0;
	}
	while (m->at < h->nblocks && h->blocks[m->at].address < r->address)
		m->at++;
	b = m->at < h->nblocks ? &h->blocks[m->at] : NULL;
	if (!b || b->address != r->address) {
		if (!in_ranges(h, r->address))
			return add_foreign(m, r);
		m->result.vanished++;
		return 0;
	}
	if (r->size > b->size) {
		m->result.vanished++; /* of an earlier block at this address */
		return 0;
	}
	b->size = r->size;
	b->site = r->site & 0xffffff;
	b->flags = (uint16_t)((b->flags & ~BLOCK_IMPRECISE) | flags_of(m, r));
	m->result.recorded++;
	return 0;
}

/* ---- blocks that only the ledger knows ----------------------------------------------------- */

static int by_start(const void *a, const void *b)
{
	const struct heap_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/*
 * Anonymous memory in which an unknown allocator keeps its blocks is its own, not the program's, if the ledger has every block:
 * what lies between them is free, or the allocator's.  A ledger that was sampled, attached to a running process or
 * inherited has but some; then the others lie between, hold what the known ones are pointed to from, and only the known
 * ones are no roots.
 */
static struct seep_error *claim_mappings(struct meeting *m)
{
	struct heap *h = m->heap;
	size_t n = h->nranges, kept = 0, cap = n;
	bool whole = !m->facts->partial;

	for (size_t i = 0; i < m->nforeign; i++) {
		const struct block *b = &m->foreign[i];
		const struct image_map *map = image_map_of(m->img, b->address);

		if (!map || map->inode || (map->path[0] && map->path[0] != '['))
			continue;
		if (whole && n > h->nranges && h->ranges[n - 1].start == map->start)
			continue;
		if (array_grow((void **)&h->ranges, n, &cap, sizeof(*h->ranges)) < 0)
			return &seep_error_nomem;
		h->ranges[n++] = whole ? (struct heap_range){ map->start, map->end }
		                       : (struct heap_range){ b->address,
			                                      b->address + (b->size ? b->size : 1) };
	}
	qsort(h->ranges, n, sizeof(*h->ranges), by_start);
	for (size_t i = 0; i < n; i++) {
		if (kept && h->ranges[i].start <= h->ranges[kept - 1].end) {
			if (h->ranges[i].end > h->ranges[kept - 1].end)
				h->ranges[kept - 1].end = h->ranges[i].end;
		} else {
			h->ranges[kept++] = h->ranges[i];
		}
	}
	h->nranges = kept;
	return NULL;
}

static struct seep_error *add_blocks(struct meeting *m)
{
	struct heap *h = m->heap;
	size_t a = h->nblocks, b = m->nforeign, to = a + b;
	struct block *grown;

	if (!b)
		return NULL;
	grown = realloc(h->blocks, to * sizeof(*grown));
	if (!grown)
		return &seep_error_nomem;
	h->blocks = grown;
	h->nblocks = to;
	while (b) { /* from the end, so that nothing is overwritten before it has moved */
		if (a && grown[a - 1].address > m->foreign[b - 1].address)
			grown[--to] = grown[--a];
		else
			grown[--to] = m->foreign[--b];
	}
	return claim_mappings(m);
}

/* ---- the whole -------------------------------------------------------------------------------- */

struct seep_error *blocks_meet_ledger(const struct image *img, struct heap *heap, const char *ledger,
                                      const struct profile *p, struct blocks_result *ret_result)
{
	struct ledger_facts facts = { 0 };
	struct meeting m = { .img = img, .heap = heap, .p = p, .facts = &facts };
	int stopped = 0;
	struct seep_error *err = ledger_facts_read(ledger, &facts);

	m.internal = calloc(p->nsites + 1, 1);
	if (!err && !m.internal)
		err = &seep_error_nomem;
	if (!err)
		err = ledger_blocks_read(ledger, meet, &m, NULL, NULL, &stopped);
	if (!err && stopped < 0)
		err = &seep_error_nomem;
	if (!err)
		err = add_blocks(&m);
	if (!err) {
		m.result.forked = facts.forked;
		m.result.some = facts.partial && m.result.foreign;
		m.result.sampled = facts.sampled;
		m.result.full = !facts.partial && !m.result.foreign;
		for (size_t i = 0; m.result.forked && i < heap->nblocks; i++)
			if (!(heap->blocks[i].flags & BLOCK_RECORDED))
				heap->blocks[i].flags |= BLOCK_INHERITED;
		*ret_result = m.result;
	}
	free(m.internal);
	free(m.foreign);
	return err;
}
