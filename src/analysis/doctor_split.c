/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split: every resident byte goes to one class.
 *
 * Anonymous pages are known one by one (pagemap of the image, so all of the same moment).  Who they belong to is asked in
 * this order: a piece of the walked heap, a thread's stack, the tracker; else the mapping says it.  Pages of files
 * and of shared memory are the kernel's sums for each mapping: a clone does not have them.
 *
 * Inside a piece of heap the unit is the byte:
 *
 *     page      |  in use  |      free chunk                             |  in use  |
 *               |xxxxxxxxxx|......|                     |                |xxxxxxxxxx|
 *     class      in use     pinned  free, to be returned  pinned           in use
 *
 * A free chunk's first words are its bin's; a page that has none of them, and nothing else, can be given back.  What is
 * free on the other pages is pinned by what is in use there.  What is neither a block nor free is the allocator's own: headers, alignment.
 */
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor_private.h"
#include "analysis/names.h"
#include "analysis/reach.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/tracker_name.h"
#include "heap/heap.h"

#define BIN_WORDS 48u    /* fd, bk, fd_nextsize, bk_nextsize behind the header */
#define TOP_WORDS 16u    /* a header */
#define SLOT_END 4u      /* musl: a slot's last bytes */
#define STRETCH 65536u   /* free memory worth asking who keeps it */
#define PINNED_PAGE 512u /* free bytes of a page worth asking who keeps them */
#define MAX_HOLDERS 4194304u
#define MAX_PAGES (1ull << 30)
#define CHUNK_PAGES 65536u

enum owner_kind { OWNER_PIECE, OWNER_STACK, OWNER_ENDED, OWNER_TRACKER };

struct owner {
	uint64_t start, end;
	enum owner_kind kind;
	size_t index;
};

struct splitter {
	struct doctor_look *look;
	struct owner *owners;
	size_t nowners, cap_owners;
	uint8_t *chunk; /* CHUNK_PAGES */
	uint64_t page;
	size_t block, free; /* the first that the next piece may have */
};

/* The pages of a piece. */
struct sheet {
	uint64_t start, npages, page;
	uint8_t *of;
	uint16_t *free, *blocks; /* of each page: pinned free bytes, blocks in use */
};

struct tally {
	uint64_t resident, swapped, huge;
};

static void add_fact(struct doctor *d, enum doctor_fact f, uint64_t n)
{
	d->facts[f] = (d->facts[f] == DOCTOR_UNKNOWN_FACT ? 0 : d->facts[f]) + n;
}

/* ---- owners ------------------------------------------------------------------- */

static void add_owner(struct splitter *s, uint64_t start, uint64_t end, enum owner_kind kind,
                      size_t index)
{
	uint64_t page = s->page;

	start &= ~(page - 1);
	end = (end + page - 1) & ~(page - 1);
	if (start >= end)
		return;
	if (array_grow((void **)&s->owners, s->nowners, &s->cap_owners, sizeof(*s->owners)) < 0) {
		s->look->failed = true;
		return;
	}
	s->owners[s->nowners++] =
		(struct owner){ .start = start, .end = end, .kind = kind, .index = index };
}

static int owner_order(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->kind > y->kind) - (x->kind < y->kind);
}

static void find_owners(struct splitter *s)
{
	const struct check_input *in = s->look->in;
	size_t n = 0;

	for (size_t i = 0; i < in->heap->npieces; i++)
		add_owner(s, in->heap->pieces[i].start, in->heap->pieces[i].end, OWNER_PIECE, i);
	for (size_t i = 0; i < in->roots.nstacks; i++)
		add_owner(s, in->roots.stacks[i].start, in->roots.stacks[i].end,
		          in->roots.stacks[i].tid ? OWNER_STACK : OWNER_ENDED, i);
	for (size_t i = 0; i < in->marks.ntracker; i++)
		add_owner(s, in->marks.tracker[i].start, in->marks.tracker[i].end, OWNER_TRACKER, i);
	if (!s->nowners)
		return;
	qsort(s->owners, s->nowners, sizeof(*s->owners), owner_order);
	/* A page has one owner: the first to begin. */
	for (size_t i = 0; i < s->nowners; i++) {
		struct owner o = s->owners[i];

		if (n && o.start < s->owners[n - 1].end)
			o.start = s->owners[n - 1].end;
		if (o.start < o.end)
			s->owners[n++] = o;
	}
	s->nowners = n;
}

/* ---- pages ---------------------------------------------------------------------- */

static bool is_hugetlb(const struct image_map *m)
{
	return !strncmp(m->path, "/anon_hugepage", 14);
}

/* Pages of the process's own: present ones that are copies of nothing. */
static bool is_own(uint8_t page)
{
	return (page & (IMAGE_PAGE_PRESENT | IMAGE_PAGE_FILE)) == IMAGE_PAGE_PRESENT;
}

static struct tally tally(const struct sheet *s, uint64_t from, uint64_t to)
{
	uint64_t page = s->page, end = s->start + s->npages * page;
	struct tally t = { 0 };

	if (from < s->start)
		from = s->start;
	if (to > end)
		to = end;
	while (from < to) {
		uint64_t at = (from - s->start) / page, next = s->start + (at + 1) * page;
		uint64_t n = (next < to ? next : to) - from;
		uint8_t of = s->of[at];

		if (is_own(of)) {
			t.resident += n;
			t.huge += of & IMAGE_PAGE_HUGE ? n : 0;
		} else if (of & IMAGE_PAGE_SWAPPED) {
			t.swapped += n;
		}
		from += n;
	}
	return t;
}

static bool sheet_load(struct splitter *s, const struct owner *o, struct sheet *ret)
{
	struct doctor_look *l = s->look;
	struct sheet sh = { .start = o->start,
		            .npages = (o->end - o->start) / s->page,
		            .page = s->page };
	const struct image_map *m = image_map_of(l->img, o->start);

	if (sh.npages > MAX_PAGES) {
		doctor_note(l->d, "a heap of %llu pages is more than can be gone through",
		            (unsigned long long)sh.npages);
		return false;
	}
	sh.of = calloc(sh.npages, 1);
	if (!sh.of) {
		l->failed = true;
		return false;
	}
	if (!m || !is_hugetlb(m)) /* those are not in RSS */
		doctor_pages_get(l->pages, sh.start, sh.npages, sh.of);
	*ret = sh;
	return true;
}

/* ---- the heap --------------------------------------------------------------------- */

struct piece {
	const struct heap_piece *of;
	struct doctor_arena *arena; /* NULL: a block that is a mapping */
	struct sheet sheet;
	size_t block, nblocks; /* those in it */
	size_t free, nfree;
};

static enum doctor_class class_of(const struct block *b, bool mapped)
{
	enum reach_class c = block_class(b);

	if (b->flags & BLOCK_INTERNAL)
		return DOCTOR_OVERHEAD;
	if (c == REACH_DEFINITE || c == REACH_INDIRECT)
		return mapped ? DOCTOR_MAPPED_LEAKED : DOCTOR_LEAKED;
	return mapped ? DOCTOR_MAPPED_REACHABLE : DOCTOR_REACHABLE;
}

static uint64_t split_blocks(struct splitter *s, struct piece *p)
{
	const struct heap *h = s->look->in->heap;
	struct doctor *d = s->look->d;
	uint64_t sum = 0;

	for (size_t i = p->block; i < p->block + p->nblocks; i++) {
		const struct block *b = &h->blocks[i];
		uint64_t end = b->address + b->size;
		enum doctor_class c = class_of(b, p->of->mapped);
		struct tally t;

		/* Sizes of a ledger are no better than the ledger. */
		if (i + 1 < h->nblocks && end > h->blocks[i + 1].address)
			end = h->blocks[i + 1].address;
		t = tally(&p->sheet, b->address, end);
		d->classes[c] += t.resident;
		sum += t.resident;
		if (p->arena && c != DOCTOR_OVERHEAD)
			p->arena->live += t.resident;
	}
	return sum;
}

/* The page-aligned inside of a free chunk that nobody would miss. */
static void interior(const struct heap_free *f, uint64_t page, uint64_t *from, uint64_t *to)
{
	uint64_t head = f->kind == HEAP_FREE_BIN   ? BIN_WORDS
	                : f->kind == HEAP_FREE_TOP ? TOP_WORDS
	                                           : 0;

	*from = (f->address + head + page - 1) & ~(page - 1);
	*to = (f->address + f->size - (f->kind == HEAP_FREE_SLOT ? SLOT_END : 0)) & ~(page - 1);
	if (*to < *from)
		*to = *from;
}

static void note_pinned(struct piece *p, uint64_t from, uint64_t to)
{
	struct sheet *sh = &p->sheet;

	while (from < to) {
		uint64_t at = (from - sh->start) / sh->page, next = sh->start + (at + 1) * sh->page;
		uint64_t n = (next < to ? next : to) - from;

		if (at >= sh->npages)
			return;
		if (is_own(sh->of[at]))
			sh->free[at] = (uint16_t)(sh->free[at] + n);
		from += n;
	}
}

static uint64_t split_free(struct splitter *s, struct piece *p)
{
	const struct heap *h = s->look->in->heap;
	struct doctor *d = s->look->d;
	uint64_t sum = 0;

	for (size_t i = p->free; i < p->free + p->nfree; i++) {
		const struct heap_free *f = &h->free[i];
		struct tally all = tally(&p->sheet, f->address, f->address + f->size), in = { 0 };
		uint64_t from, to;

		sum += all.resident;
		if (f->kind == HEAP_FREE_FAST || f->kind == HEAP_FREE_TCACHE) {
			d->classes[DOCTOR_CACHED] += all.resident;
			add_fact(d, f->kind == HEAP_FREE_FAST ? FACT_FASTBINS : FACT_TCACHE,
			         all.resident);
			if (p->arena)
				p->arena->cached += all.resident;
			continue;
		}
		interior(f, s->page, &from, &to);
		in = tally(&p->sheet, from, to);
		add_fact(d, FACT_FREE_LISTED, f->size);
		add_fact(d, FACT_SWAP_FREE, in.swapped);
		add_fact(d, FACT_HUGE_WASTE, in.huge);
		if (f->kind == HEAP_FREE_TOP) {
			d->classes[p->arena && !p->arena->main ? DOCTOR_TOP_THREADS : DOCTOR_TOP_MAIN] +=
				in.resident;
			if (p->arena)
				p->arena->top += in.resident;
		} else {
			d->classes[DOCTOR_BINS] += in.resident;
			/* Swapped memory is not read: that would bring it back. */
			if (f->kind == HEAP_FREE_BIN && in.resident && !in.swapped &&
			    doctor_was_large(s->look, f->address, f->size))
				add_fact(d, FACT_FREE_LARGE, in.resident);
			if (in.resident > d->facts[FACT_FREE_LARGEST])
				d->facts[FACT_FREE_LARGEST] = in.resident;
			if (p->arena)
				p->arena->bins += in.resident;
		}
		d->classes[DOCTOR_PINNED] += all.resident - in.resident;
		if (p->arena)
			p->arena->pinned += all.resident - in.resident;
		if (p->sheet.free && f->kind != HEAP_FREE_TOP) {
			note_pinned(p, f->address,
			            from < f->address + f->size ? from : f->address + f->size);
			if (to > from)
				note_pinned(p, to, f->address + f->size);
		}
	}
	return sum;
}

static void add_holder(struct doctor_look *l, size_t block, uint64_t holds, uint64_t back)
{
	if (l->nholders >= MAX_HOLDERS || (!holds && !back))
		return;
	if (l->nholders && l->holders[l->nholders - 1].block == block) {
		l->holders[l->nholders - 1].holds += (uint32_t)holds;
		l->holders[l->nholders - 1].back += back;
		return;
	}
	if (array_grow((void **)&l->holders, l->nholders, &l->holders_room, sizeof(*l->holders)) <
	    0) {
		l->failed = true;
		return;
	}
	l->holders[l->nholders++] = (struct doctor_holder){ .block = (uint32_t)block,
		                                            .holds = (uint32_t)holds,
		                                            .back = back };
}

/* A block's first and last page: those between are all its own. */
static void page_ends(const struct sheet *sh, const struct block *b, uint64_t ret[2])
{
	uint64_t last = b->address + (b->size ? b->size - 1 : 0);

	ret[0] = b->address < sh->start ? 0 : (b->address - sh->start) / sh->page;
	ret[1] = last < sh->start ? 0 : (last - sh->start) / sh->page;
	if (ret[0] >= sh->npages)
		ret[0] = sh->npages - 1;
	if (ret[1] >= sh->npages)
		ret[1] = sh->npages - 1;
}

/* Who pins: free bytes of a page go to the blocks on it in equal shares, a free stretch to the block right above. */
static void find_holders(struct splitter *s, struct piece *p)
{
	const struct heap *h = s->look->in->heap;
	struct sheet *sh = &p->sheet;
	size_t f = p->free;
	uint64_t ends[2];

	for (size_t i = p->block; i < p->block + p->nblocks; i++) {
		page_ends(sh, &h->blocks[i], ends);
		for (int k = 0; k < 2; k++)
			if ((!k || ends[1] != ends[0]) && sh->blocks[ends[k]] < UINT16_MAX)
				sh->blocks[ends[k]]++;
	}
	for (size_t i = p->block; i < p->block + p->nblocks && !s->look->failed; i++) {
		uint64_t holds = 0, back = 0;

		page_ends(sh, &h->blocks[i], ends);
		for (int k = 0; k < 2; k++)
			if ((!k || ends[1] != ends[0]) && sh->free[ends[k]] >= PINNED_PAGE)
				holds += sh->free[ends[k]] / sh->blocks[ends[k]];
		for (; f < p->free + p->nfree && h->free[f].address < h->blocks[i].address; f++) {
			uint64_t from, to;

			if ((h->free[f].kind != HEAP_FREE_BIN && h->free[f].kind != HEAP_FREE_SLOT) ||
			    h->free[f].size < STRETCH)
				continue;
			interior(&h->free[f], s->page, &from, &to);
			back += tally(sh, from, to).resident;
		}
		add_holder(s->look, i, holds, back);
	}
}

/* What of the ordered arrays lies in [start, end): a piece is gone through once, pieces ascend. */
static void slice(struct splitter *s, struct piece *p)
{
	const struct heap *h = s->look->in->heap;

	while (s->block < h->nblocks && h->blocks[s->block].address < p->of->start)
		s->block++;
	p->block = s->block;
	while (s->block < h->nblocks && h->blocks[s->block].address < p->of->end)
		s->block++;
	p->nblocks = s->block - p->block;
	while (s->free < h->nfree && h->free[s->free].address < p->of->start)
		s->free++;
	p->free = s->free;
	while (s->free < h->nfree && h->free[s->free].address < p->of->end)
		s->free++;
	p->nfree = s->free - p->free;
}

static void split_piece(struct splitter *s, const struct owner *o)
{
	const struct heap *h = s->look->in->heap;
	struct doctor *d = s->look->d;
	struct piece p = { .of = &h->pieces[o->index] };
	uint64_t sum, own;
	struct tally all;

	slice(s, &p);
	if (!sheet_load(s, o, &p.sheet))
		return;
	if (!p.of->mapped && p.of->arena < d->narenas) {
		p.arena = &d->arenas[p.of->arena];
		p.sheet.free = calloc(p.sheet.npages, sizeof(uint16_t));
		p.sheet.blocks = calloc(p.sheet.npages, sizeof(uint16_t));
		if (!p.sheet.free || !p.sheet.blocks)
			s->look->failed = true;
	}
	if (!s->look->failed) {
		all = tally(&p.sheet, o->start, o->end);
		sum = split_blocks(s, &p) + split_free(s, &p);
		own = all.resident > sum ? all.resident - sum : 0;
		d->classes[DOCTOR_OVERHEAD] += own;
		add_fact(d, FACT_ANON, all.resident);
		if (p.arena) {
			p.arena->bytes += o->end - o->start;
			p.arena->resident += all.resident;
			find_holders(s, &p);
		}
	}
	free(p.sheet.of);
	free(p.sheet.free);
	free(p.sheet.blocks);
}

/* Sums over the arenas, for the rules. */
static void arena_facts(struct doctor *d)
{
	for (size_t i = 0; i < d->narenas; i++) {
		struct doctor_arena *a = &d->arenas[i];
		uint64_t known = a->live + a->bins + a->top + a->pinned + a->cached;

		a->overhead = a->resident > known ? a->resident - known : 0;
		add_fact(d, FACT_HEAP_RESIDENT, a->resident);
		add_fact(d, FACT_HEAP_BYTES, a->bytes);
		if (a->main)
			continue;
		add_fact(d, FACT_ARENAS_RESIDENT, a->resident);
		add_fact(d, FACT_ARENAS_LIVE, a->live);
		add_fact(d, FACT_ARENAS_FREE, a->bins + a->top);
		if (a->attached)
			continue;
		add_fact(d, FACT_ARENAS_DETACHED, 1);
		add_fact(d, FACT_DETACHED_FREE, a->bins + a->top);
		add_fact(d, FACT_DETACHED_TOPS, a->top);
	}
}

static void heap_facts(struct doctor *d, const struct heap *h)
{
	static const enum doctor_fact zero[] = {
		FACT_LEAKED_BLOCKS,   FACT_LEAKED_BYTES, FACT_POSSIBLE_BYTES, FACT_HEAP_RESIDENT,
		FACT_HEAP_BYTES,      FACT_FREE_LISTED,  FACT_FREE_LARGE,     FACT_ARENAS_DETACHED,
		FACT_ARENAS_RESIDENT, FACT_ARENAS_LIVE,  FACT_ARENAS_FREE,    FACT_TCACHE,
		FACT_FASTBINS,        FACT_SWAP_FREE,    FACT_HUGE_WASTE,     FACT_MAPPED_BLOCKS,
		FACT_BLOCKS,          FACT_IN_USE,       FACT_FREE_LARGEST,   FACT_DETACHED_FREE,
		FACT_DETACHED_TOPS
	};

	for (size_t i = 0; i < ARRAY_SIZE(zero); i++)
		d->facts[zero[i]] = 0;
	d->facts[FACT_ARENAS] = h->narenas;
	if (h->params.address) {
		d->facts[FACT_TRIM_THRESHOLD] = h->params.trim_threshold;
		d->facts[FACT_MMAP_THRESHOLD] = h->params.mmap_threshold;
	}
	for (size_t i = 0; i < h->nblocks; i++) {
		const struct block *b = &h->blocks[i];
		enum reach_class c = block_class(b);

		if (b->flags & BLOCK_INTERNAL)
			continue;
		d->facts[FACT_BLOCKS]++;
		d->facts[FACT_IN_USE] += b->size;
		d->facts[FACT_MAPPED_BLOCKS] += b->flags & BLOCK_MMAPPED ? 1 : 0;
		if (c == REACH_DEFINITE || c == REACH_INDIRECT) {
			d->facts[FACT_LEAKED_BLOCKS]++;
			d->facts[FACT_LEAKED_BYTES] += b->size;
		} else if (c == REACH_POSSIBLE) {
			d->facts[FACT_POSSIBLE_BYTES] += b->size;
		}
	}
}

/* ---- everything else ---------------------------------------------------------------- */

static bool is_ledger(const char *path)
{
	const char *end = strstr(path, ".ledger");

	return path[0] == '/' && end && (!end[7] || !strcmp(end + 7, " (deleted)"));
}

static bool is_shared_memory(const char *path)
{
	return !path[0] || !strncmp(path, "/dev/zero", 9) || !strncmp(path, "/dev/shm/", 9) ||
	       !strncmp(path, "/memfd:", 7) || !strncmp(path, "/SYSV", 5) ||
	       !strncmp(path, "[anon_shmem", 11);
}

static enum doctor_class default_class(const struct image *img, const struct image_map *m)
{
	const struct image_module *mod = image_module_of(img, m->start);

	if (!strncmp(m->path, "[stack", 6))
		return DOCTOR_STACKS;
	if (mod && module_is_tracker(mod->path))
		return DOCTOR_SEEP;
	if (mod || (m->path[0] == '/' && strncmp(m->path, "/dev/zero", 9) != 0))
		return DOCTOR_DATA;
	return DOCTOR_ANONYMOUS;
}

static struct tally tally_pages(struct splitter *s, uint64_t from, uint64_t to)
{
	struct tally t = { 0 };

	while ((from = doctor_pages_next(s->look->pages, from)) < to) {
		uint64_t n = (to - from) / s->page;

		if (n > CHUNK_PAGES)
			n = CHUNK_PAGES;
		if (!n)
			break;
		doctor_pages_get(s->look->pages, from, n, s->chunk);
		for (uint64_t i = 0; i < n; i++) {
			if (is_own(s->chunk[i]))
				t.resident++;
			else
				t.swapped += s->chunk[i] & IMAGE_PAGE_SWAPPED ? 1 : 0;
		}
		from += n * s->page;
	}
	t.resident *= s->page;
	t.swapped *= s->page;
	return t;
}

/* What of the mapping m nobody owns. */
static void split_rest(struct splitter *s, const struct image_map *m, uint64_t from, uint64_t to,
                       uint64_t *resident)
{
	struct doctor *d = s->look->d;
	enum doctor_class c = default_class(s->look->img, m);
	struct tally t = tally_pages(s, from, to);

	d->classes[c] += t.resident;
	add_fact(d, FACT_ANON, t.resident);
	if (c == DOCTOR_ANONYMOUS) {
		*resident += t.resident;
		if (m->flags & IMAGE_EXEC)
			add_fact(d, FACT_JIT, t.resident);
		add_fact(d, FACT_HUGE_ZEROS, doctor_zeros_in_huge(s->look, from, to));
	}
}

static void split_map(struct splitter *s, const struct image_map *m, size_t *owner)
{
	struct doctor *d = s->look->d;
	uint64_t at = m->start, resident = 0, unowned = 0;

	if (m->flags & IMAGE_SHARED || is_hugetlb(m) || !strncmp(m->path, "[v", 2))
		return;
	if (m->flags & IMAGE_ABSENT) {
		const struct memory_map *k = s->look->maps ? memory_map_of(s->look->maps, m->start)
		                                           : NULL;

		if (k && k->start == m->start && k->anonymous != MEMORY_UNKNOWN) {
			d->classes[DOCTOR_ANONYMOUS] += k->anonymous;
			add_fact(d, FACT_ANON, k->anonymous);
			doctor_mapping_add(s->look, m->start, m->end, k->anonymous,
			                   DOCTOR_ANONYMOUS, "MADV_DONTFORK");
		}
		return;
	}
	while (*owner < s->nowners && s->owners[*owner].end <= m->start)
		(*owner)++;
	for (size_t i = *owner; i < s->nowners && s->owners[i].start < m->end; i++) {
		if (s->owners[i].start > at) {
			split_rest(s, m, at, s->owners[i].start, &resident);
			unowned += s->owners[i].start - at;
		}
		at = s->owners[i].end;
	}
	if (at < m->end) {
		split_rest(s, m, at, m->end, &resident);
		unowned += m->end - at;
	}
	if (unowned && default_class(s->look->img, m) == DOCTOR_ANONYMOUS && m->flags & IMAGE_WRITE) {
		add_fact(d, FACT_ANON_MAPS, 1);
		add_fact(d, FACT_ANON_MAPS_BYTES, unowned);
	}
	if (resident)
		doctor_mapping_add(s->look, m->start, m->end, resident, DOCTOR_ANONYMOUS,
		                   m->flags & IMAGE_ASIDE ? "MADV_DONTFORK" : m->path);
}

/* Pages of files and of shared memory, as the kernel sums them up. */
static void split_files(struct doctor_look *l)
{
	struct doctor *d = l->d;

	for (size_t i = 0; l->maps && i < l->maps->n; i++) {
		const struct memory_map *m = &l->maps->items[i];
		enum doctor_class c = DOCTOR_FILE;
		uint64_t bytes;

		if (m->rss == MEMORY_UNKNOWN || m->anonymous == MEMORY_UNKNOWN ||
		    m->rss <= m->anonymous)
			continue;
		bytes = m->rss - m->anonymous;
		if (is_ledger(m->path) || module_is_tracker(m->path))
			c = DOCTOR_SEEP;
		else if (m->shared && is_shared_memory(m->path))
			c = DOCTOR_SHMEM;
		d->classes[c] += bytes;
		if (c != DOCTOR_SEEP)
			doctor_mapping_add(l, m->start, m->end, bytes, c, m->path);
	}
}

/* Without an image: what smaps says of each mapping, and no more. */
static void split_maps(struct doctor_look *l)
{
	struct doctor *d = l->d;

	for (size_t i = 0; i < l->maps->n; i++) {
		const struct memory_map *m = &l->maps->items[i];
		enum doctor_class c = DOCTOR_ANONYMOUS;

		if (m->anonymous == MEMORY_UNKNOWN || !m->anonymous)
			continue;
		if (!strncmp(m->path, "[stack", 6))
			c = DOCTOR_STACKS;
		else if (module_is_tracker(m->path))
			c = DOCTOR_SEEP;
		else if (m->path[0] == '/')
			c = DOCTOR_DATA;
		else if (!strcmp(m->path, "[heap]"))
			c = DOCTOR_UNCLASSIFIED; /* malloc's, but nobody looked into it */
		d->classes[c] += m->anonymous;
		add_fact(d, FACT_ANON, m->anonymous);
		if (c == DOCTOR_ANONYMOUS) {
			add_fact(d, FACT_ANON_MAPS, 1);
			add_fact(d, FACT_ANON_MAPS_BYTES, m->end - m->start);
			doctor_mapping_add(l, m->start, m->end, m->anonymous, c, m->path);
		}
	}
}

static void stack_facts(struct doctor *d, const struct roots *r)
{
	d->facts[FACT_STACKS_LIVE] = d->facts[FACT_STACKS_DEAD] = 0;
	d->facts[FACT_STACKS_UNJOINED] = 0;
	for (size_t i = 0; i < r->nstacks; i++) {
		d->facts[r->stacks[i].tid ? FACT_STACKS_LIVE : FACT_STACKS_DEAD]++;
		d->facts[FACT_STACKS_UNJOINED] += r->stacks[i].unjoined;
	}
}

/* Blocks that only a ledger knows: in the memory of an allocator without a walker. */
static uint64_t split_foreign(struct splitter *s)
{
	const struct heap *h = s->look->in->heap;
	struct doctor *d = s->look->d;
	uint64_t sum = 0;
	size_t piece = 0;

	for (size_t i = 0; i < h->nblocks; i++) {
		const struct block *b = &h->blocks[i];
		uint64_t end = b->address + b->size, at = b->address, resident = 0;

		while (piece < h->npieces && h->pieces[piece].end <= at)
			piece++;
		if (piece < h->npieces && h->pieces[piece].start <= at)
			continue;
		if (i + 1 < h->nblocks && end > h->blocks[i + 1].address)
			end = h->blocks[i + 1].address;
		while (at < end) {
			uint64_t page = at & ~(s->page - 1);
			uint64_t n = (end - page + s->page - 1) / s->page;

			n = n < CHUNK_PAGES ? n : CHUNK_PAGES;
			doctor_pages_get(s->look->pages, page, n, s->chunk);
			for (uint64_t k = 0; k < n && at < end; k++) {
				uint64_t next = page + (k + 1) * s->page,
					 to = next < end ? next : end;

				resident += is_own(s->chunk[k]) ? to - at : 0;
				at = to;
			}
		}
		if (resident > d->classes[DOCTOR_ANONYMOUS])
			resident = d->classes[DOCTOR_ANONYMOUS];
		d->classes[DOCTOR_ANONYMOUS] -= resident;
		d->classes[class_of(b, false)] += resident;
		sum += resident;
	}
	return sum;
}

static struct seep_error *split_image(struct splitter *s)
{
	struct doctor_look *l = s->look;
	const struct heap *h = l->in->heap;
	struct doctor *d = l->d;
	size_t owner = 0;

	s->page = l->img->page_size;
	s->chunk = malloc(CHUNK_PAGES);
	d->arenas = calloc(h->narenas + 1, sizeof(*d->arenas));
	if (!s->chunk || !d->arenas)
		return &seep_error_nomem;
	d->narenas = h->narenas;
	for (size_t i = 0; i < h->narenas; i++)
		d->arenas[i] = (struct doctor_arena){ .address = h->arenas[i].address,
			                              .main = h->arenas[i].main,
			                              .attached = h->arenas[i].attached_threads,
			                              .heaps = h->arenas[i].heaps };
	d->facts[FACT_ANON_MAPS] = d->facts[FACT_ANON_MAPS_BYTES] = d->facts[FACT_JIT] =
		d->facts[FACT_HUGE_ZEROS] = 0;
	heap_facts(d, h);
	stack_facts(d, &l->in->roots);
	find_owners(s);
	for (size_t i = 0; i < s->nowners && !l->failed; i++) {
		const struct owner *o = &s->owners[i];
		struct tally t;

		if (o->kind == OWNER_PIECE) {
			split_piece(s, o);
			continue;
		}
		t = tally_pages(s, o->start, o->end);
		d->classes[o->kind == OWNER_STACK   ? DOCTOR_STACKS
		           : o->kind == OWNER_ENDED ? DOCTOR_STACKS_ENDED
		                                    : DOCTOR_SEEP] += t.resident;
		add_fact(d, FACT_ANON, t.resident);
	}
	for (size_t i = 0; i < l->img->nmaps && !l->failed; i++)
		split_map(s, &l->img->maps[i], &owner);
	doctor_carve(d, split_foreign(s));
	arena_facts(d);
	return l->failed ? &seep_error_nomem : NULL;
}

struct seep_error *doctor_split(struct doctor_look *l)
{
	struct splitter s = { .look = l };
	struct seep_error *err = NULL;
	struct doctor *d = l->d;
	uint64_t sum = 0;

	if (l->img)
		err = split_image(&s);
	else if (l->maps)
		split_maps(l);
	split_files(l);
	free(s.owners);
	free(s.chunk);
	if (err)
		return err;
	for (int i = 0; i < DOCTOR_NCLASSES; i++)
		sum += d->classes[i];
	if (doctor_knows(d, FACT_RSS_KERNEL) && d->facts[FACT_RSS_KERNEL] > sum) {
		d->classes[DOCTOR_UNCLASSIFIED] += d->facts[FACT_RSS_KERNEL] - sum;
		sum = d->facts[FACT_RSS_KERNEL];
	}
	d->facts[FACT_RSS] = sum;
	return l->failed ? &seep_error_nomem : NULL;
}
