/* SPDX-License-Identifier: Apache-2.0 */
/* See heap_seed.h. */
#include "heap_seed.h"

#include "proc/image_fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096, WORDS = PAGE / 8, MAX_PAGES = 65536 };

static const char *const names[] = { "",
	                             "[heap]",
	                             "/lib/libc.so.6",
	                             "/lib/ld-musl-x86_64.so.1",
	                             "/bin/program",
	                             "[stack]",
	                             "/anon_hugepage (deleted)",
	                             "[anon: glibc: malloc]" };
#define NNAMES (sizeof(names) / sizeof(names[0]))

static unsigned int name_of(const struct image_map *m)
{
	for (unsigned int i = 0; i < NNAMES; i++)
		if (!strcmp(m->path, names[i]))
			return i;
	if (strstr(m->path, "/libc.so.6"))
		return 2;
	if (strstr(m->path, "/ld-musl") || strstr(m->path, "-linux-musl/libc.so"))
		return 3;
	return m->path[0] == '/' ? 4 : 0;
}

/* Does the walk need the page: the allocator's own, or a thread's variables? */
static bool needed(const struct image *img, const struct heap *h, uint64_t page)
{
	for (size_t i = 0; h && i < h->nranges; i++)
		if (page < h->ranges[i].end && page + PAGE > h->ranges[i].start)
			return true;
	for (size_t i = 0; i < img->nthreads; i++)
		if (page + PAGE > img->threads[i].tls - 1024 && page < img->threads[i].tls + 64)
			return true;
	return img->at_random && img->at_random / PAGE == page / PAGE;
}

static uint32_t words_of(const uint64_t *words)
{
	uint32_t n = 0;

	for (int i = 0; i < WORDS; i++)
		n += words[i] != 0;
	return n;
}

static bool load_page(const struct image *img, const struct heap *h, uint64_t page, uint64_t *words)
{
	uint8_t resident = 0;

	image_resident(img, page, 1, &resident);
	return needed(img, h, page) && resident == 1 && image_read_all(img, page, words, PAGE) &&
	       words_of(words);
}

int heap_seed_dump(const struct image *img, const struct heap *h, const char *path)
{
	const uint32_t rw = IMAGE_READ | IMAGE_WRITE;
	uint32_t head[2] = { 0, (uint32_t)img->nthreads };
	uint64_t words[WORDS];
	FILE *f = fopen(path, "w");
	bool bad;

	if (!f)
		return -1;
	fwrite(head, sizeof(head), 1, f);
	fwrite(&img->at_random, 8, 1, f);
	for (size_t i = 0; i < img->nmaps; i++) {
		const struct image_map *m = &img->maps[i];
		uint64_t pages = (m->end - m->start) / PAGE, stored = 0;
		uint8_t tail[4] = { (uint8_t)m->flags, (uint8_t)name_of(m), 0, 0 };

		for (uint64_t k = 0; (m->flags & rw) == rw && k < pages; k++)
			stored += load_page(img, h, m->start + k * PAGE, words);
		if (!stored || pages > MAX_PAGES)
			continue;
		head[0]++;
		fwrite(&m->start, 8, 1, f);
		fwrite(&(uint32_t[]){ (uint32_t)pages, (uint32_t)stored }, 8, 1, f);
		fwrite(tail, 4, 1, f);
		for (uint64_t k = 0; k < pages; k++) {
			if (!load_page(img, h, m->start + k * PAGE, words))
				continue;
			fwrite(&(uint32_t[]){ (uint32_t)k, words_of(words) }, 8, 1, f);
			for (uint16_t w = 0; w < WORDS; w++)
				if (words[w]) {
					fwrite(&w, 2, 1, f);
					fwrite(&words[w], 8, 1, f);
				}
		}
	}
	for (size_t i = 0; i < img->nthreads; i++)
		fwrite(&img->threads[i].tls, 8, 1, f);
	rewind(f);
	fwrite(head, sizeof(head), 1, f);
	bad = ferror(f);
	return fclose(f) || bad ? -1 : 0;
}

struct in {
	const uint8_t *p, *end;
};

static bool take(struct in *in, void *ret, size_t n)
{
	if ((size_t)(in->end - in->p) < n)
		return false;
	memcpy(ret, in->p, n);
	in->p += n;
	return true;
}

static bool load_map(struct image *img, struct in *in, uint64_t *room)
{
	uint32_t counts[2], page[2];
	uint8_t tail[4], *bytes;
	uint64_t start;

	if (!take(in, &start, 8) || !take(in, counts, 8) || !take(in, tail, 4))
		return false;
	start &= 0x7ffffffff000;
	if (!counts[0] || counts[0] > *room)
		return false;
	*room -= counts[0];
	bytes = image_fake_map(img, start, (uint64_t)counts[0] * PAGE, tail[0] & 0x1f,
	                       names[tail[1] % NNAMES]);
	if (!bytes)
		return false;
	if (names[tail[1] % NNAMES][0] == '/')
		image_fake_module(img, names[tail[1] % NNAMES], start,
		                  start + (uint64_t)counts[0] * PAGE);
	for (uint32_t i = 0; i < counts[1]; i++) {
		if (!take(in, page, 8))
			return false;
		for (uint32_t k = 0; k < page[1]; k++) {
			uint64_t value;
			uint16_t at;

			if (!take(in, &at, 2) || !take(in, &value, 8))
				return false;
			memcpy(bytes + (uint64_t)(page[0] % counts[0]) * PAGE + at % WORDS * 8,
			       &value, 8);
		}
	}
	return true;
}

struct image *heap_seed_load(const uint8_t *data, size_t size)
{
	struct in in = { data, data + size };
	struct image *img = image_fake_new();
	uint64_t room = MAX_PAGES, tls;
	uint32_t head[2];

	if (!img || !take(&in, head, 8) || !take(&in, &img->at_random, 8))
		return img;
	for (uint32_t i = 0; i < head[0]; i++)
		if (!load_map(img, &in, &room))
			break;
	for (uint32_t i = 0; i < head[1] && i < 256 && take(&in, &tls, 8); i++)
		image_fake_thread(img, (pid_t)i + 1, 0, tls, NULL, 0);
	return img;
}
