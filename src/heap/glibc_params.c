/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mp_, malloc's parameters: where the main arena began (sbrk_base), how much is mmapped.
 *
 * It lies in the same module's data as the main arena.  Nothing in it is constant, tunables change everything, so it
 * is found by how its fields fit together: sbrk_base is where the main arena begins (as long as that is one piece,
 * exactly its end less system_mem), counts are not above their maxima, sums are whole pages, thresholds are
 * thresholds.  Every word is tried as sbrk_base of every variant; of those that fit the one with the most
 * values nobody has touched wins.
 */
#include "heap/glibc.h"

#include <stdio.h>

static const struct variant {
	const char *glibc;
	uint32_t bins;     /* of the layouts it comes with; 0: 104 and 112 */
	uint32_t hp_flags; /* offset; 0: has none */
	uint32_t n_mmaps;  /* then n_mmaps_max, max_n_mmaps, no_dyn_threshold, 4 bytes each */
	uint32_t mmapped;  /* then max_mmapped_mem */
	uint32_t sbrk_base;
	uint32_t tcache; /* tcache_bins, tcache_max_bytes, tcache_count; 0: has none */
	uint32_t size;
} variants[] = {
	{ "2.43 or later", 24, 64, 68, 88, 104, 112, 144 },
	{ "2.35-2.42", 112, 56, 60, 80, 96, 104, 136 },
	{ "2.26-2.34", 0, 0, 40, 56, 72, 80, 112 },
	{ "2.24-2.25", 104, 0, 40, 56, 72, 0, 80 },
	{ "2.17-2.23", 104, 0, 40, 56, 80, 0, 88 },
};
#define NVARIANTS (sizeof(variants) / sizeof(variants[0]))

/* 0: these words are no mp_; else how well they fit. */
static unsigned int fits(const struct variant *v, const uint8_t *p)
{
	uint64_t trim, mmap_threshold, arena_test, arena_max, mmapped, max_mmapped, tcache[3];
	uint32_t n, n_max, max_n, no_dyn, hp_flags;
	unsigned int score = 2;

	memcpy(&trim, p, 8);
	memcpy(&mmap_threshold, p + 16, 8);
	memcpy(&arena_test, p + 24, 8);
	memcpy(&arena_max, p + 32, 8);
	memcpy(&n, p + v->n_mmaps, 4);
	memcpy(&n_max, p + v->n_mmaps + 4, 4);
	memcpy(&max_n, p + v->n_mmaps + 8, 4);
	memcpy(&no_dyn, p + v->n_mmaps + 12, 4);
	memcpy(&mmapped, p + v->mmapped, 8);
	memcpy(&max_mmapped, p + v->mmapped + 8, 8);
	/* 2.43 takes less off than it added when an aligned block goes: its sum is not of whole pages */
	if (v->bins != 24 && (mmapped % 4096 || max_mmapped % 4096 || mmapped / 4096 < n))
		return 0;
	if (n > max_n || mmapped > max_mmapped || no_dyn > 1 || (n && !mmapped) ||
	    !max_n != !max_mmapped || arena_test > 1u << 20 || arena_max > 1u << 20 ||
	    n_max > 1u << 30)
		return 0;
	if (v->hp_flags) {
		memcpy(&hp_flags, p + v->hp_flags, 4);
		if (hp_flags & 0x3ffff) /* MAP_HUGETLB and the page's size are all there can be */
			return 0;
	}
	score += 2 * (n_max == 65536) + (arena_test == 8) + (arena_test == 2);
	score += 2 * (trim == 128 * 1024) + 2 * (mmap_threshold == 128 * 1024) +
	         (trim == 2 * mmap_threshold);
	if (v->tcache) {
		memcpy(tcache, p + v->tcache, sizeof(tcache));
		score -= !tcache[0]; /* rather one that has no caches */
		score += 2 * (tcache[0] == 64) + 2 * (tcache[1] == 1032 || tcache[1] == 1041) +
		         2 * (tcache[2] == 7 || tcache[2] == 16);
	}
	return score;
}

/* What sbrk_base must be; false: anything that can begin a heap. */
static bool known_base(const struct glibc *g, uint64_t *ret)
{
	const struct arena *main = &g->arenas[0];
	uint64_t end = main->top + main->top_size;

	if (!main->system) {
		*ret = 0;
		return true;
	}
	if (main->flags & ARENA_NONCONTIGUOUS || end < main->system)
		return false;
	*ret = end - main->system;
	return heap_is_mapped(g->img, *ret, end);
}

static bool may_be_base(const struct glibc *g, uint64_t v)
{
	const struct image_map *m = image_map_of(g->img, v);

	return m && heap_is_anonymous(m) && v % 8 == 0;
}

static void tell(struct glibc *g, const struct variant *v, const uint8_t *p)
{
	struct heap_params *out = &g->out->heap->params;
	uint32_t no_dyn;

	out->address = g->mp.address;
	out->size = v->size;
	memcpy(&out->trim_threshold, p, 8);
	memcpy(&out->mmap_threshold, p + 16, 8);
	memcpy(&out->arena_test, p + 24, 8);
	memcpy(&out->arena_max, p + 32, 8);
	out->no_dyn_threshold_at = v->n_mmaps + 12;
	memcpy(&no_dyn, p + out->no_dyn_threshold_at, 4);
	out->no_dyn_threshold = no_dyn != 0;
	out->tcache_count_at = v->tcache ? v->tcache + 16 : 0;
	/* 2.26 to 2.29 count in bytes; which of the two it is does not show in mp_. */
	out->tcache_count_most = v->hp_flags ? UINT16_MAX : INT8_MAX;
}

static void scan(struct glibc *g, const struct image_map *m, unsigned int *best)
{
	uint64_t base = 0;
	bool known = known_base(g, &base);

	g->window.want = WINDOW_BYTES;
	/* Pieces overlap by what one mp_ can need. */
	for (uint64_t at = m->start; at < m->end;) {
		struct window *w = &g->window;
		uint64_t len;

		window_load(w, at, m->end);
		len = w->end - w->start;
		for (uint64_t i = 0; i + 8 <= len; i += 8) {
			uint64_t v;

			memcpy(&v, w->data + i, 8);
			if (known ? v != base : !v || !may_be_base(g, v))
				continue;
			for (uint32_t k = 0; k < NVARIANTS; k++) {
				const struct variant *x = &variants[k];
				unsigned int score;

				if (i < x->sbrk_base || i - x->sbrk_base + x->size > len ||
				    (x->bins ? x->bins != g->bins : g->bins == 24))
					continue;
				score = fits(x, w->data + i - x->sbrk_base);
				/* With nothing but a zero to go by, the defaults must be there. */
				if (score <= *best || (known && !base && score < 8))
					continue;
				*best = score;
				g->mp.found = true;
				g->mp.address = w->start + i - x->sbrk_base;
				g->mp.size = x->size;
				g->mp.variant = k;
				g->mp.sbrk_base = v;
				memcpy(&g->mp.mmapped_mem, w->data + i - x->sbrk_base + x->mmapped,
				       8);
				g->mp.n_mmaps = 0;
				memcpy(&g->mp.n_mmaps, w->data + i - x->sbrk_base + x->n_mmaps, 4);
				g->mp.max_n_mmaps = 0;
				memcpy(&g->mp.max_n_mmaps,
				       w->data + i - x->sbrk_base + x->n_mmaps + 8, 4);
				memcpy(&g->mp.max_mmapped_mem,
				       w->data + i - x->sbrk_base + x->mmapped + 8, 8);
				tell(g, x, w->data + i - x->sbrk_base);
			}
		}
		at = w->end < m->end && w->end - w->start > g->img->page_size
		             ? w->end - g->img->page_size
		             : w->end;
	}
}

void glibc_find_params(struct glibc *g)
{
	const struct image_map *m = image_map_of(g->img, g->arenas[0].address);
	size_t at = m ? (size_t)(m - g->img->maps) : 0;
	unsigned int best = 0;

	if (!m)
		return;
	/* The data that the arena is in, and what adjoins it: .data and .bss are different mappings. */
	for (size_t i = at ? at - 1 : 0; i <= at + 1 && i < g->img->nmaps; i++) {
		const struct image_map *x = &g->img->maps[i];
		const uint32_t rw = IMAGE_READ | IMAGE_WRITE;

		if ((x->flags & rw) == rw && !(x->flags & (IMAGE_SHARED | IMAGE_ABSENT)) &&
		    strcmp(x->path, "[heap]") &&
		    (x == m || x->end == m->start || m->end == x->start))
			scan(g, x, &best);
	}
	if (g->mp.found)
		snprintf(g->out->heap->layout, sizeof(g->out->heap->layout), "glibc %s",
		         variants[g->mp.variant].glibc);
}
