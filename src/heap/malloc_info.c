/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free lists counted as malloc_info() counts them.
 *
 * The walkers find arenas, mp_ and how links are mangled; then each fastbin and each bin is followed.  Where glibc's own
 * output is odd it is odd here: sizes in bins carry the PREV_INUSE bit, top counts as a block of the rest even when
 * there is none, and only arenas other than the main one have subheaps.  People's scripts expect just that.
 */
#include "heap/malloc_info.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/error.h"
#include "heap/glibc.h"

#define BUDGET (1ull << 27)
#define BINS_PER_ARENA 127u
#define HEAP_PREV 8u
#define HEAP_SIZE 16u
#define HEAP_MPROTECT 24u

static bool word(struct glibc *g, uint64_t at, uint64_t *ret)
{
	return glibc_spend(g) && heap_reader_word(&g->reader, at, ret);
}

static void count_fast(struct glibc *g, const struct arena *a, struct malloc_info_arena *out)
{
	for (uint32_t i = 0; i < g->nfast && i < MALLOC_INFO_FAST; i++) {
		struct malloc_info_sizes *s = &out->fast[i];
		uint64_t at = 0, size, fd;

		word(g, a->address + g->fast + 8 * i, &at);
		while (at) {
			/* As many of them as there is room for, or it is a circle. */
			if (!glibc_segment_of(g, at) || !word(g, at + 8, &size) ||
			    !word(g, at + 16, &fd) || s->count > a->system / CHUNK_MIN) {
				out->damaged = true;
				break;
			}
			if (!s->count) {
				s->to = size & ~(uint64_t)CHUNK_FLAGS;
				s->from = s->to - 15;
			}
			s->count++;
			at = glibc_reveal(g->safe_linking, at + 16, fd);
		}
		s->total = s->count * s->to;
		out->fast_count += s->count;
		out->fast_bytes += s->total;
	}
}

static void count_bin(struct glibc *g, const struct arena *a, uint64_t bin,
                      struct malloc_info_sizes *s, struct malloc_info_arena *sum)
{
	uint64_t at = 0, size;

	*s = (struct malloc_info_sizes){ .from = UINT64_MAX };
	if (!word(g, bin + 16, &at))
		sum->damaged = true;
	while (at && at != bin) {
		if (!glibc_segment_of(g, at) || !word(g, at + 8, &size) ||
		    s->count > a->system / CHUNK_MIN) {
			sum->damaged = true;
			break;
		}
		s->count++;
		s->total += size;
		sum->free_bytes += size & ~(uint64_t)CHUNK_FLAGS;
		s->from = size < s->from ? size : s->from;
		s->to = size > s->to ? size : s->to;
		if (!word(g, at + 16, &at)) {
			sum->damaged = true;
			break;
		}
	}
	if (!s->count)
		s->from = 0;
}

static void count_heaps(struct glibc *g, const struct arena *a, struct malloc_info_arena *out)
{
	uint64_t heap = a->heap_bytes ? a->top & ~(a->heap_bytes - 1) : 0, size, protect;

	while (heap && out->subheaps < MAX_SEGMENTS) {
		if (!word(g, heap + HEAP_SIZE, &size) || !word(g, heap + HEAP_MPROTECT, &protect)) {
			out->damaged = true;
			return;
		}
		out->aspace += size;
		out->mprotect += protect;
		out->subheaps++;
		if (!word(g, heap + HEAP_PREV, &heap))
			return;
	}
}

static void count_arena(struct glibc *g, const struct arena *a, bool main,
                        struct malloc_info_arena *out)
{
	uint64_t first = a->address + g->bins - 16; /* bin_at(1): fd at +16 */

	out->address = a->address;
	out->system = a->system;
	out->max_system = a->max_system;
	out->top_bytes = a->top_size;
	count_fast(g, a, out);
	out->free_bytes = out->top_bytes + out->fast_bytes;
	count_bin(g, a, first, &out->unsorted, out);
	for (uint32_t i = 0; i < MALLOC_INFO_BINS; i++)
		count_bin(g, a, first + 16 * (i + 1), &out->bins[i], out);
	out->rest_count = 1 + out->unsorted.count;
	out->rest_bytes = out->top_bytes + out->unsorted.total;
	for (uint32_t i = 0; i < MALLOC_INFO_BINS; i++) {
		out->rest_count += out->bins[i].count;
		out->rest_bytes += out->bins[i].total;
	}
	if (main)
		out->aspace = out->mprotect = a->system;
	else
		count_heaps(g, a, out);
}

static int count_all(struct glibc *g, struct malloc_info *m)
{
	int r = glibc_find_arenas(g);

	if (r < 0)
		return r;
	/* The sums of tcaches go there. */
	g->out->heap->arenas = calloc(g->narenas, sizeof(*g->out->heap->arenas));
	g->out->heap->narenas = g->narenas;
	m->arenas = calloc(g->narenas, sizeof(*m->arenas));
	if (!m->arenas || !g->out->heap->arenas)
		return -ENOMEM;
	glibc_find_params(g);
	r = glibc_find_segments(g);
	if (r >= 0)
		r = glibc_find_tcaches(g); /* tells whether links are mangled */
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < g->narenas; i++)
		count_arena(g, &g->arenas[i], i == 0, &m->arenas[i]);
	m->narenas = g->narenas;
	m->has_subheaps = g->bins != 104;
	m->has_fast = g->nfast != 0;
	m->mmap_count = g->mp.n_mmaps;
	m->mmap_bytes = g->mp.mmapped_mem;
	m->max_mmap_count = g->mp.max_n_mmaps;
	m->max_mmap_bytes = g->mp.max_mmapped_mem;
	return 0;
}

struct seep_error *malloc_info_read(const struct image *img, struct malloc_info **ret)
{
	struct heap_builder b = { .heap = calloc(1, sizeof(struct heap)) };
	struct malloc_info *m = calloc(1, sizeof(*m));
	struct glibc g = { .img = img, .out = &b, .budget = BUDGET };
	int r = b.heap && m ? heap_reader_init(&g.reader, img) : -ENOMEM;

	if (!r)
		r = window_init(&g.window, img);
	if (!r)
		r = count_all(&g, m);
	glibc_release(&g);
	heap_free(b.heap);
	if (r == -ENOENT) {
		malloc_info_free(m);
		*ret = NULL;
		return NULL;
	}
	if (r < 0) {
		malloc_info_free(m);
		return &seep_error_nomem;
	}
	*ret = m;
	return NULL;
}

void malloc_info_free(struct malloc_info *m)
{
	if (!m)
		return;
	free(m->arenas);
	free(m);
}

/* ---- as malloc_info() prints it ---------------------------------------------------------------- */

static void xml_sizes(struct buf *out, const char *tag, const struct malloc_info_sizes *s)
{
	if (s->count)
		buf_printf(out,
		           "  <%s from=\"%" PRIu64 "\" to=\"%" PRIu64 "\" total=\"%" PRIu64
		           "\" count=\"%" PRIu64 "\"/>\n",
		           tag, s->from, s->to, s->total, s->count);
}

static void xml_totals(struct buf *out, bool fast, uint64_t fast_count, uint64_t fast_bytes,
                       uint64_t rest_count, uint64_t rest_bytes)
{
	if (fast)
		buf_printf(out,
		           "<total type=\"fast\" count=\"%" PRIu64 "\" size=\"%" PRIu64 "\"/>\n",
		           fast_count, fast_bytes);
	buf_printf(out, "<total type=\"rest\" count=\"%" PRIu64 "\" size=\"%" PRIu64 "\"/>\n",
	           rest_count, rest_bytes);
}

static void xml_system(struct buf *out, uint64_t system, uint64_t max, uint64_t aspace,
                       uint64_t protect)
{
	buf_printf(out,
	           "<system type=\"current\" size=\"%" PRIu64 "\"/>\n"
	           "<system type=\"max\" size=\"%" PRIu64 "\"/>\n"
	           "<aspace type=\"total\" size=\"%" PRIu64 "\"/>\n"
	           "<aspace type=\"mprotect\" size=\"%" PRIu64 "\"/>\n",
	           system, max, aspace, protect);
}

void malloc_info_xml(const struct malloc_info *m, struct buf *out)
{
	struct malloc_info_arena sum = { 0 };

	buf_puts(out, "<malloc version=\"1\">\n");
	for (size_t i = 0; i < m->narenas; i++) {
		const struct malloc_info_arena *a = &m->arenas[i];

		buf_printf(out, "<heap nr=\"%zu\">\n<sizes>\n", i);
		for (size_t k = 0; k < MALLOC_INFO_FAST; k++)
			xml_sizes(out, "size", &a->fast[k]);
		for (size_t k = 0; k < MALLOC_INFO_BINS; k++)
			xml_sizes(out, "size", &a->bins[k]);
		xml_sizes(out, "unsorted", &a->unsorted);
		buf_puts(out, "</sizes>\n");
		xml_totals(out, m->has_fast, a->fast_count, a->fast_bytes, a->rest_count,
		           a->rest_bytes);
		xml_system(out, a->system, a->max_system, a->aspace, a->mprotect);
		if (i && m->has_subheaps)
			buf_printf(out, "<aspace type=\"subheaps\" size=\"%" PRIu64 "\"/>\n",
			           a->subheaps);
		buf_puts(out, "</heap>\n");
		sum.fast_count += a->fast_count;
		sum.fast_bytes += a->fast_bytes;
		sum.rest_count += a->rest_count;
		sum.rest_bytes += a->rest_bytes;
		sum.system += a->system;
		sum.max_system += a->max_system;
		sum.aspace += a->aspace;
		sum.mprotect += a->mprotect;
	}
	xml_totals(out, m->has_fast, sum.fast_count, sum.fast_bytes, sum.rest_count, sum.rest_bytes);
	buf_printf(out, "<total type=\"mmap\" count=\"%" PRIu64 "\" size=\"%" PRIu64 "\"/>\n",
	           m->mmap_count, m->mmap_bytes);
	xml_system(out, sum.system, sum.max_system, sum.aspace, sum.mprotect);
	buf_puts(out, "</malloc>\n");
}

/* ---- as malloc_stats() prints it ------------------------------------------------------------------ */

static uint64_t in_use(const struct malloc_info_arena *a)
{
	return a->system - a->free_bytes;
}

void malloc_info_stats(const struct malloc_info *m, struct buf *out)
{
	uint64_t system = m->mmap_bytes, used = m->mmap_bytes;

	for (size_t i = 0; i < m->narenas; i++) {
		const struct malloc_info_arena *a = &m->arenas[i];

		buf_printf(out,
		           "Arena %zu:\nsystem bytes     = %10" PRIu64
		           "\nin use bytes     = %10" PRIu64 "\n",
		           i, a->system, in_use(a));
		system += a->system;
		used += in_use(a);
	}
	buf_printf(out,
	           "Total (incl. mmap):\nsystem bytes     = %10" PRIu64
	           "\nin use bytes     = %10" PRIu64 "\nmax mmap regions = %10" PRIu64
	           "\nmax mmap bytes   = %10" PRIu64 "\n",
	           system, used, m->max_mmap_count, m->max_mmap_bytes);
}
