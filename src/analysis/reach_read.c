/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A read of a window is one read of the image when all its pages are there, which segments remember
 * so that small windows do not ask twice.  A page that is not there is zero, unless it lies in no
 * readable mapping (or in a core, where only reading tells): then it is a hole.
 */
#include "analysis/reach_read.h"

#include <errno.h>
#include <stdlib.h>

#include "analysis/reach_index.h"
#include "proc/image.h"

#define PAGE UINT64_C(4096)

int reader_init(struct reader *r, const struct image *img, size_t cap)
{
	*r = (struct reader){ .img = img, .cap = cap };
	r->buf = malloc(cap + cap / PAGE + 2);
	if (!r->buf)
		return -ENOMEM;
	r->pages = r->buf + cap;
	return 0;
}

void reader_release(struct reader *r)
{
	free(r->buf);
	*r = (struct reader){ 0 };
}

/* An image's page may be larger than PAGE, which asks about parts of it; it never is smaller. */
static void look(const struct image *img, uint64_t start, uint64_t n, uint8_t *ret)
{
	uint64_t page = img->page_size, first = start & ~(page - 1);

	if (page <= PAGE) {
		image_resident(img, start, n, ret);
		return;
	}
	for (uint64_t i = 0; i < n; i++) {
		uint64_t a = start + i * PAGE;

		if (i && a & (page - 1)) {
			ret[i] = ret[i - 1];
			continue;
		}
		first = a & ~(page - 1);
		image_resident(img, first, 1, &ret[i]);
	}
}

void segment_look(struct segment *s, struct reader *r)
{
	uint8_t pages[SEGMENT_PAGES];

	if (s->looked)
		return;
	look(r->img, s->number << SEGMENT_SHIFT, SEGMENT_PAGES, pages);
	for (unsigned int i = 0; i < SEGMENT_PAGES; i++) {
		if (pages[i])
			s->resident[i / 64] |= UINT64_C(1) << i % 64;
		if (pages[i] == 2)
			r->swapped += PAGE;
	}
	s->looked = true;
}

static void hole_add(struct reader *r, uint64_t start, uint64_t end)
{
	if (r->nholes && r->holes[r->nholes - 1].end == start)
		r->holes[r->nholes - 1].end = end;
	else if (r->nholes < READER_HOLES) {
		r->holes[r->nholes].start = start;
		r->holes[r->nholes++].end = end;
	}
}

static void read_run(struct reader *r, uint64_t start, uint64_t end)
{
	while (start < end) {
		uint8_t *to = r->buf + (start - r->start);
		size_t n = image_read(r->img, start, to, end - start);
		uint64_t next;

		start += n;
		if (start >= end)
			return;
		next = (start & ~(PAGE - 1)) + PAGE;
		if (next > end)
			next = end;
		memset(to + n, 0, next - start);
		hole_add(r, start, next);
		start = next;
	}
}

static void absent_run(struct reader *r, uint64_t start, uint64_t end)
{
	memset(r->buf + (start - r->start), 0, end - start);
	while (start < end) {
		size_t i = image_map_after(r->img, start);
		const struct image_map *m = i < r->img->nmaps ? &r->img->maps[i] : NULL;
		uint64_t to = end;

		if (m && m->start > start) {
			to = m->start < end ? m->start : end;
			m = NULL;
		} else if (m && m->end < end) {
			to = m->end;
		}
		if (!m || !(m->flags & IMAGE_READ) || m->flags & IMAGE_ABSENT)
			hole_add(r, start, to);
		start = to;
	}
}

void reader_fill(struct reader *r, uint64_t start, uint64_t end, const struct segment *s)
{
	uint64_t page = start & ~(PAGE - 1), n, known = 0;

	if (end - start > r->cap)
		end = start + r->cap;
	r->start = start;
	r->end = end;
	r->nholes = 0;
	r->data = image_peek(r->img, start, end - start);
	if (r->data)
		return;
	r->data = r->buf;
	n = (end - page + PAGE - 1) / PAGE;
	if (s && s->looked && start >> SEGMENT_SHIFT == s->number) {
		uint64_t at = page / PAGE % SEGMENT_PAGES;

		for (; known < n && at + known < SEGMENT_PAGES; known++)
			r->pages[known] = s->resident[(at + known) / 64] >> (at + known) % 64 & 1;
	}
	if (known < n)
		look(r->img, page + known * PAGE, n - known, r->pages + known);
	for (uint64_t i = 0; i < n;) {
		uint64_t j = i + 1, from = page + i * PAGE, to;

		while (j < n && !r->pages[j] == !r->pages[i])
			j++;
		to = page + j * PAGE;
		if (from < start)
			from = start;
		if (to > end)
			to = end;
		if (r->pages[i] || r->img->kind == IMAGE_CORE)
			read_run(r, from, to);
		else
			absent_run(r, from, to);
		i = j;
	}
}

uint64_t reader_unreadable(const struct reader *r, uint64_t start, uint64_t end)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < r->nholes; i++) {
		uint64_t from = r->holes[i].start > start ? r->holes[i].start : start;
		uint64_t to = r->holes[i].end < end ? r->holes[i].end : end;

		if (from < to)
			sum += to - from;
	}
	return sum;
}
