/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arenas, found by what they look like.
 *
 * A malloc_state holds 127 list heads, one for each bin, and the head of an empty bin points to itself as if it were a chunk: 16
 * bytes before its own address, twice.  Hardly anything else in a program's data does.  From such a pair on
 * every position it can have among the 127 is tried with every layout there has been, and the one is right whose
 * `next` leads through the other arenas, each just behind a heap_info that points back to it, and home again:
 *
 *      ...| top | last_remainder | fd bk | fd bk | ... 127 pairs | binmap | next | next_free | ...
 *         ^ bins-16              ^ bins                          ^ +2032  ^ +2048
 *
 * A malloc_state that was never used is all zero but for `next`, which points to its start.
 */
#include "heap/glibc.h"

#include <errno.h>
#include <stdlib.h>

/* Offsets in malloc_state, newest first.  Which glibc they belong to is docs/HEAP-WALK.md's. */
static const struct layout {
	uint32_t bins, fast, nfast;
} layouts[] = {
	{ .bins = 112, .fast = 16, .nfast = 10 },
	{ .bins = 24, .fast = 0, .nfast = 0 },
	{ .bins = 104, .fast = 8, .nfast = 10 },
};
#define NLAYOUTS (sizeof(layouts) / sizeof(layouts[0]))

#define STATE_TAIL 2088u  /* from the bins to the end of malloc_state */
#define MAX_FAILURES 1024 /* positions of one mapping that looked like a bin and were none */

static uint64_t word(struct glibc *g, uint64_t addr)
{
	uint64_t v = 0;

	heap_reader_word(&g->reader, addr, &v);
	return v;
}

/* The heap_info before a non-main arena; its size differs. */
bool glibc_heap_of(struct glibc *g, uint64_t arena, uint64_t *ret_header)
{
	static const uint32_t headers[] = { 0x30, 0x20 };

	for (size_t i = 0; i < 2; i++) {
		uint64_t heap = arena - headers[i];

		if (arena > headers[i] && !(heap & 0xfffff) && word(g, heap) == arena) {
			*ret_header = headers[i];
			return true;
		}
	}
	return false;
}

/* Does `next` lead through heaps' arenas back to `state`?  Counts the arenas. */
static bool chain_closes(struct glibc *g, uint64_t state, uint32_t bins, uint32_t *ret_n)
{
	uint64_t at = state, header;

	for (uint32_t n = 1; n <= MAX_ARENAS; n++) {
		uint64_t next = word(g, at + bins + STATE_NEXT);

		if (!glibc_spend(g))
			return false;
		if (next == state) {
			*ret_n = n;
			return true;
		}
		if (!next || next % 16 || !glibc_heap_of(g, next, &header))
			return false;
		at = next;
	}
	return false;
}

/* All 127 pairs: empty, or the ends of a list that points back.  A thread may be at work on one or two. */
static bool bins_hold(struct glibc *g, uint64_t bins)
{
	unsigned int loose = 0;

	for (uint32_t i = 0; i < NPAIRS; i++) {
		uint64_t me = bins + 16 * i - 16;
		uint64_t fd = word(g, bins + 16 * i), bk = word(g, bins + 16 * i + 8);

		if (!glibc_spend(g))
			return false;
		if (fd == me && bk == me)
			continue;
		if (!fd || !bk || fd % 16 || bk % 16)
			return false;
		if (word(g, fd + 24) != me || word(g, bk + 16) != me)
			if (++loose > 2)
				return false;
	}
	return true;
}

static int add_arenas(struct glibc *g, uint64_t state, const struct layout *l, uint32_t n)
{
	uint64_t at = state;

	g->arenas = calloc(n, sizeof(*g->arenas));
	if (!g->arenas)
		return -ENOMEM;
	g->narenas = n;
	g->bins = l->bins;
	g->fast = l->fast;
	g->nfast = l->nfast;
	for (uint32_t i = 0; i < n; i++) {
		g->arenas[i].address = at;
		at = word(g, at + l->bins + STATE_NEXT);
	}
	return 0;
}

/* A pair that looks like an empty bin: is there a malloc_state around it? */
static int try_hit(struct glibc *g, uint64_t hit)
{
	for (size_t l = 0; l < NLAYOUTS; l++)
		for (uint32_t k = 0; k < NPAIRS; k++) {
			uint64_t bins = hit - 16 * k, state = bins - layouts[l].bins, next;
			uint32_t n;

			if (bins > hit || state > bins ||
			    !heap_reader_word(&g->reader, bins + STATE_NEXT, &next))
				continue;
			/* cheap before dear: home at once, or just behind something well aligned */
			if (next != state && (next & 0xfffff) != 0x20 && (next & 0xfffff) != 0x30)
				continue;
			if (chain_closes(g, state, layouts[l].bins, &n) && bins_hold(g, bins))
				return add_arenas(g, state, &layouts[l], n);
		}
	return -ENOENT;
}

/* A word that would be `next` of a malloc_state which is otherwise zero, but for attached_threads. */
static bool is_untouched(struct glibc *g, uint64_t addr, uint64_t state)
{
	for (uint64_t at = state; at < addr; at += 8)
		if (word(g, at))
			return false;
	/* next_free; attached_threads, 1 if there is one; system_mem; max_system_mem */
	return !word(g, addr + 8) && word(g, addr + 16) <= 1 && !word(g, addr + 24) &&
	       !word(g, addr + 32);
}

/* 0 found, -ENOENT, -ENOMEM.  An untouched malloc_state is remembered: another map may have a better one. */
static int scan(struct glibc *g, const struct image_map *m, uint64_t *ret_untouched,
                const struct layout **ret_layout)
{
	unsigned int failures = 0;

	g->window.want = WINDOW_BYTES;
	for (uint64_t at = m->start; at < m->end; at = g->window.end) {
		struct window *w = &g->window;
		uint64_t n;

		window_load(w, at, m->end);
		n = (w->end - w->start) / 8;
		for (uint64_t i = 0; i + 1 < n; i++) {
			uint64_t v, next, addr = w->start + 8 * i;

			memcpy(&v, w->data + 8 * i, 8);
			if (v == addr - 16) {
				int r;

				memcpy(&next, w->data + 8 * i + 8, 8);
				if (next != v)
					continue;
				r = try_hit(g, addr);
				if (r != -ENOENT)
					return r;
				if (++failures > MAX_FAILURES)
					return -ENOENT;
				continue;
			}
			for (size_t l = 0; l < NLAYOUTS && !*ret_untouched; l++)
				if (addr - v == layouts[l].bins + STATE_NEXT && v &&
				    is_untouched(g, addr, v)) {
					*ret_untouched = v;
					*ret_layout = &layouts[l];
				}
		}
	}
	return -ENOENT;
}

/* Private mappings of devices are not to be read; programs run from /dev/shm all the same. */
static bool is_device(const char *path)
{
	return !strncmp(path, "/dev/", 5) && strncmp(path, "/dev/shm/", 9);
}

/* Where a program's own data lies: its files' writable parts and the bss behind them. */
static bool is_data(const struct image *img, size_t i)
{
	const uint32_t rw = IMAGE_READ | IMAGE_WRITE;
	const struct image_map *m = &img->maps[i];
	const struct image_map *before = i ? &img->maps[i - 1] : NULL;

	if ((m->flags & rw) != rw || (m->flags & (IMAGE_SHARED | IMAGE_ABSENT)))
		return false;
	if (!strncmp(m->path, "[stack", 6) || !strncmp(m->path, "[v", 2) ||
	    !strcmp(m->path, "[heap]") || is_device(m->path) ||
	    !strncmp(m->path, "/anon_hugepage", 14))
		return false;
	if (m->inode || m->path[0] == '/' || image_module_of(img, m->start))
		return true;
	return before && before->end == m->start && (before->inode || before->path[0] == '/');
}

static bool is_libc(const struct image *img, uint64_t addr)
{
	const struct image_module *m = image_module_of(img, addr);
	const char *name = m ? strrchr(m->path, '/') : NULL;

	return name && (!strncmp(name, "/libc.so.6", 10) || !strncmp(name, "/libc-2.", 8));
}

static void read_fields(struct glibc *g)
{
	const struct arena *main = &g->arenas[0];
	uint64_t tail = main->address + g->bins + STATE_NEXT + 16;
	uint64_t a = word(g, tail), b = word(g, tail + 8);

	/* Before attached_threads there was: system_mem (of whole pages), max_system_mem. */
	g->attached_threads = !(a && a % 4096 == 0 && b >= a && b % 4096 == 0);
	g->state_bytes = g->bins + STATE_TAIL - (g->attached_threads ? 0 : 8);
	for (uint32_t i = 0; i < g->narenas; i++) {
		struct arena *ar = &g->arenas[i];
		uint64_t at = ar->address + g->bins, size = 0;

		ar->flags = (uint32_t)(word(g, ar->address) >> 32);
		ar->top = word(g, at - 16);
		tail = at + STATE_NEXT + 16;
		if (g->attached_threads) {
			ar->attached = word(g, tail);
			tail += 8;
		}
		ar->system = word(g, tail);
		ar->max_system = word(g, tail + 8);
		/* Before the first chunk, top points to the bins: what is found there is its size, 0. */
		heap_reader_word(&g->reader, ar->top + 8, &size);
		ar->top_size = size & ~(uint64_t)CHUNK_FLAGS;
		if (i)
			glibc_heap_of(g, ar->address, &ar->header);
	}
}

int glibc_find_arenas(struct glibc *g)
{
	const struct layout *layout = NULL;
	uint64_t untouched = 0;
	int r = -ENOENT;

	for (int libc = 1; libc >= 0 && r == -ENOENT; libc--)
		for (size_t i = 0; i < g->img->nmaps && r == -ENOENT; i++) {
			const struct image_map *m = &g->img->maps[i];

			if (is_data(g->img, i) && is_libc(g->img, m->start) == (bool)libc)
				r = scan(g, m, &untouched, &layout);
		}
	if (r == -ENOENT && untouched) {
		r = add_arenas(g, untouched, layout, 1);
		g->uninitialised = true;
	}
	if (!r)
		read_fields(g);
	return r;
}
