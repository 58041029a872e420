/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading heaps.
 *
 * A word of another process costs a system call unless it was read together with others.  Free lists jump about, but
 * within pages that were freed together; so single words come from a small direct-mapped cache of pages.  A
 * heap as a whole is read in windows of a megabyte, which stay in the processor's cache while they are walked:
 * nothing of the heap is kept.
 */
#include "heap/reader.h"

#include <errno.h>
#include <stdlib.h>

int heap_reader_init(struct heap_reader *r, const struct image *img)
{
	r->img = img;
	r->tags = calloc(READER_LINES, sizeof(*r->tags));
	r->lines = malloc((size_t)READER_LINES * READER_LINE);
	if (r->tags && r->lines)
		return 0;
	heap_reader_release(r);
	return -ENOMEM;
}

void heap_reader_release(struct heap_reader *r)
{
	free(r->tags);
	free(r->lines);
	r->tags = NULL;
	r->lines = NULL;
}

const uint8_t *heap_reader_line(struct heap_reader *r, uint64_t line)
{
	size_t slot = (line / READER_LINE ^ line / READER_LINE / READER_LINES) % READER_LINES;
	uint8_t *bytes = r->lines + slot * READER_LINE;

	if (r->tags[slot] == line + 1)
		return bytes;
	r->tags[slot] = 0;
	if (r->careful) {
		uint8_t resident = 0;

		/* Reading a page that was never written makes it look present. */
		image_resident(r->img, line & ~(r->img->page_size - 1), 1, &resident);
		if (!resident)
			return NULL;
	}
	if (!image_read_all(r->img, line, bytes, READER_LINE))
		return NULL;
	r->tags[slot] = line + 1;
	return bytes;
}

bool heap_reader_words(struct heap_reader *r, uint64_t addr, uint64_t *ret, size_t n)
{
	if (n > 8 * READER_LINE / sizeof(*ret))
		return !(addr % 8) && image_read_all(r->img, addr, ret, n * sizeof(*ret));
	for (size_t i = 0; i < n; i++)
		if (!heap_reader_word(r, addr + i * sizeof(*ret), &ret[i]))
			return false;
	return true;
}

int window_init(struct window *w, const struct image *img)
{
	memset(w, 0, sizeof(*w));
	w->img = img;
	w->want = WINDOW_BYTES;
	w->buf = malloc(WINDOW_BYTES);
	w->status = calloc(WINDOW_BYTES / 4096, 1);
	if (w->buf && w->status)
		return 0;
	window_release(w);
	return -ENOMEM;
}

void window_release(struct window *w)
{
	free(w->buf);
	free(w->status);
	w->buf = w->status = NULL;
}

void window_load(struct window *w, uint64_t addr, uint64_t limit)
{
	uint64_t page = w->img->page_size, npages;

	w->start = addr & ~(page - 1);
	limit = (limit + page - 1) & ~(page - 1);
	if (limit <= w->start)
		limit = w->start + page;
	w->end = limit - w->start > w->want ? w->start + w->want : limit;
	if (w->end < w->start + page)
		w->end = w->start + page;
	npages = (w->end - w->start) / page;
	w->data = image_peek(w->img, w->start, w->end - w->start);
	if (w->data) {
		memset(w->status, WINDOW_PRESENT, npages);
		return;
	}
	w->data = w->buf;
	image_resident(w->img, w->start, npages, w->status);
	for (uint64_t i = 0, n; i < npages; i += n) {
		size_t got, whole;

		for (n = 1; i + n < npages && (w->status[i + n] == WINDOW_PRESENT) ==
		                                      (w->status[i] == WINDOW_PRESENT);
		     n++)
			;
		if (w->status[i] != WINDOW_PRESENT) {
			memset(w->buf + i * page, 0, n * page);
			continue;
		}
		got = image_read(w->img, w->start + i * page, w->buf + i * page, n * page);
		whole = got / page;
		memset(w->buf + i * page + whole * page, 0, (n - whole) * page);
		memset(w->status + i + whole, WINDOW_FAILED, n - whole);
		/* One bad page (poisoned memory, a hole in a core) must not hide those behind it. */
		if (whole < n)
			n = whole + 1;
	}
}

enum window_page window_page(const struct window *w, uint64_t addr)
{
	return w->status[(addr - w->start) / w->img->page_size];
}

bool window_swap_in(struct window *w, uint64_t addr)
{
	uint64_t page = w->img->page_size, i = (addr - w->start) / page;

	if (!image_read_all(w->img, w->start + i * page, w->buf + i * page, page)) {
		memset(w->buf + i * page, 0, page);
		w->status[i] = WINDOW_FAILED;
		return false;
	}
	w->status[i] = WINDOW_PRESENT;
	w->swapped_in++;
	return true;
}
