/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages were there when the look began.
 *
 * Reading memory changes what is resident: a page that was never written is made by being looked at, in the clone or,
 * where there is none, in the process.  So residency is taken down first, for everything at once, as runs of
 * pages of one kind, and the split goes by that however much was read since.
 */
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor_private.h"
#include "base/array.h"
#include "base/error.h"
#include "proc/memory.h"

#define CHUNK_PAGES 65536u

struct page_run {
	uint64_t start, npages;
	uint8_t kind; /* IMAGE_PAGE_*, not 0 */
};

struct doctor_pages {
	struct page_run *runs; /* ascending */
	size_t nruns, cap_runs;
	uint64_t page;
};

void doctor_pages_free(struct doctor_pages *p)
{
	if (!p)
		return;
	free(p->runs);
	free(p);
}

static int add_page(struct doctor_pages *p, uint64_t at, uint8_t kind)
{
	struct page_run *last = p->nruns ? &p->runs[p->nruns - 1] : NULL;

	if (last && last->kind == kind && last->start + last->npages * p->page == at) {
		last->npages++;
		return 0;
	}
	if (array_grow((void **)&p->runs, p->nruns, &p->cap_runs, sizeof(*p->runs)) < 0)
		return -1;
	p->runs[p->nruns++] = (struct page_run){ .start = at, .npages = 1, .kind = kind };
	return 0;
}

/* A reservation of terabytes, of which nothing is used. */
static bool is_empty(const struct memory_maps *maps, const struct image_map *m)
{
	const struct memory_map *k = maps ? memory_map_of(maps, m->start) : NULL;

	return k && k->start <= m->start && k->end >= m->end && !k->rss && !k->swap;
}

struct seep_error *doctor_pages_take(const struct image *img, const struct memory_maps *maps,
                                     struct doctor_pages **ret)
{
	struct doctor_pages *p = calloc(1, sizeof(*p));
	uint8_t *chunk = malloc(CHUNK_PAGES);
	int r = p && chunk ? 0 : -1;

	if (p)
		p->page = img->page_size;
	for (size_t i = 0; i < img->nmaps && !r; i++) {
		const struct image_map *m = &img->maps[i];

		if (m->flags & (IMAGE_ABSENT | IMAGE_SHARED) || is_empty(maps, m))
			continue;
		for (uint64_t at = m->start; at < m->end && !r;) {
			uint64_t n;

			at = image_skip(img, at, m->end);
			n = (m->end - at) / p->page;
			n = n < CHUNK_PAGES ? n : CHUNK_PAGES;
			if (!n)
				break;
			image_pages(img, at, n, chunk);
			for (uint64_t k = 0; k < n && !r; k++)
				if (chunk[k])
					r = add_page(p, at + k * p->page, chunk[k]);
			at += n * p->page;
		}
	}
	free(chunk);
	if (r) {
		doctor_pages_free(p);
		return &seep_error_nomem;
	}
	*ret = p;
	return NULL;
}

/* The first run that ends behind start. */
static size_t run_after(const struct doctor_pages *p, uint64_t start)
{
	size_t lo = 0, hi = p->nruns;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->runs[mid].start + p->runs[mid].npages * p->page > start)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

uint64_t doctor_pages_next(const struct doctor_pages *p, uint64_t start)
{
	size_t i = run_after(p, start);

	if (i == p->nruns)
		return UINT64_MAX;
	return p->runs[i].start > start ? p->runs[i].start : start;
}

void doctor_pages_get(const struct doctor_pages *p, uint64_t start, uint64_t npages, uint8_t *ret)
{
	uint64_t end = start + npages * p->page;

	memset(ret, 0, npages);
	for (size_t lo = run_after(p, start); lo < p->nruns && p->runs[lo].start < end; lo++) {
		const struct page_run *r = &p->runs[lo];
		uint64_t from = r->start > start ? r->start : start;
		uint64_t to = r->start + r->npages * p->page;

		if (to > end)
			to = end;
		memset(ret + (from - start) / p->page, r->kind, (to - from) / p->page);
	}
}
