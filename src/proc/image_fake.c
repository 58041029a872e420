/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image of a test's own bytes.  Mappings are kept sorted; a read goes from mapping to mapping for
 * as long as they adjoin, as a real one does.
 */
#include "proc/image_fake.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct fake {
	uint8_t **bytes; /* of each map */
};

static size_t fake_read(const struct image *img, uint64_t addr, void *buf, size_t len)
{
	const struct fake *f = img->priv;
	size_t done = 0;

	while (done < len) {
		const struct image_map *m = image_map_of(img, addr + done);
		uint64_t n;

		if (!m || !(m->flags & IMAGE_READ) || (m->flags & IMAGE_ABSENT))
			break;
		n = m->end - (addr + done);
		if (n > len - done)
			n = len - done;
		memcpy((char *)buf + done, f->bytes[m - img->maps] + (addr + done - m->start), n);
		done += n;
	}
	return done;
}

static void fake_resident(const struct image *img, uint64_t start, uint64_t npages, uint8_t *ret)
{
	for (uint64_t i = 0; i < npages; i++)
		ret[i] = image_map_of(img, start + i * img->page_size) != NULL;
}

static void fake_release(struct image *img)
{
	struct fake *f = img->priv;

	for (size_t i = 0; i < img->nmaps; i++) {
		free(f->bytes[i]);
		free((char *)img->maps[i].path);
	}
	for (size_t i = 0; i < img->nmodules; i++)
		free((char *)img->modules[i].path);
	for (size_t i = 0; i < img->nthreads; i++)
		free((void *)img->threads[i].words);
	free(f->bytes);
	free(f);
	free(img->maps);
	free(img->modules);
	free(img->threads);
	free(img);
}

static const struct image_ops fake_ops = {
	.read = fake_read,
	.resident = fake_resident,
	.release = fake_release,
};

struct image *image_fake_new(void)
{
	struct image *img = calloc(1, sizeof(*img));
	struct fake *f = calloc(1, sizeof(*f));

	if (!img || !f) {
		free(img);
		free(f);
		return NULL;
	}
	img->kind = IMAGE_FAKE;
	img->pid = 1;
	img->exe = img->command = "";
	img->page_size = 4096;
	img->ops = &fake_ops;
	img->priv = f;
	return img;
}

/* Room for one more item at index `at` of an array of n; NULL: out of memory. */
static void *insert(void *items, size_t n, size_t at, size_t size)
{
	char *p = realloc(items, (n + 1) * size);

	if (!p)
		return NULL;
	memmove(p + (at + 1) * size, p + at * size, (n - at) * size);
	memset(p + at * size, 0, size);
	return p;
}

void *image_fake_map(struct image *img, uint64_t addr, uint64_t len, uint32_t flags,
                     const char *path)
{
	struct fake *f = img->priv;
	size_t at = image_map_after(img, addr);
	uint8_t *bytes;
	char *name;
	void *p;

	if (!len || addr % img->page_size || len % img->page_size ||
	    (at < img->nmaps && img->maps[at].start < addr + len))
		return NULL;
	bytes = calloc(1, len);
	name = strdup(path ? path : "");
	p = bytes && name ? insert(img->maps, img->nmaps, at, sizeof(*img->maps)) : NULL;
	if (p) {
		img->maps = p;
		p = insert(f->bytes, img->nmaps, at, sizeof(*f->bytes));
	}
	if (!p) {
		free(bytes);
		free(name);
		return NULL;
	}
	f->bytes = p;
	f->bytes[at] = bytes;
	img->maps[at] =
		(struct image_map){ .start = addr, .end = addr + len, .flags = flags, .path = name };
	img->nmaps++;
	return bytes;
}

struct image_module *image_fake_module(struct image *img, const char *path, uint64_t start,
                                       uint64_t end)
{
	size_t at = 0;
	void *p;

	while (at < img->nmodules && img->modules[at].start < start)
		at++;
	p = insert(img->modules, img->nmodules, at, sizeof(*img->modules));
	if (!p)
		return NULL;
	img->modules = p;
	img->modules[at].path = strdup(path);
	img->modules[at].start = img->modules[at].bias = start;
	img->modules[at].end = end;
	img->nmodules++;
	return &img->modules[at];
}

struct image_thread *image_fake_thread(struct image *img, pid_t tid, uint64_t sp, uint64_t tls,
                                       const uint64_t *words, size_t nwords)
{
	uint64_t *copy = calloc(nwords + 1, sizeof(*copy));
	void *p = copy ? insert(img->threads, img->nthreads, img->nthreads, sizeof(*img->threads))
	               : NULL;

	if (!p) {
		free(copy);
		return NULL;
	}
	if (nwords)
		memcpy(copy, words, nwords * sizeof(*copy));
	img->threads = p;
	img->threads[img->nthreads] = (struct image_thread){ .tid = tid,
		                                             .sp = sp,
		                                             .tls = tls,
		                                             .words = copy,
		                                             .nwords = nwords,
		                                             .ngeneral = (uint32_t)nwords };
	return &img->threads[img->nthreads++];
}

bool image_fake_poke(struct image *img, uint64_t addr, uint64_t value)
{
	struct fake *f = img->priv;
	const struct image_map *m = image_map_of(img, addr);

	if (!m || m->end - addr < sizeof(value))
		return false;
	memcpy(f->bytes[m - img->maps] + (addr - m->start), &value, sizeof(value));
	return true;
}
