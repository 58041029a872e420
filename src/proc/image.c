/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all kinds of images have in common: finding mappings and modules by address, notes, the end.
 */
#include "proc/image.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

size_t image_map_after(const struct image *img, uint64_t addr)
{
	size_t lo = 0, hi = img->nmaps;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (img->maps[mid].end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

const struct image_map *image_map_of(const struct image *img, uint64_t addr)
{
	size_t i = image_map_after(img, addr);

	return i < img->nmaps && img->maps[i].start <= addr ? &img->maps[i] : NULL;
}

const struct image_module *image_module_of(const struct image *img, uint64_t addr)
{
	size_t lo = 0, hi = img->nmodules;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (img->modules[mid].end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo < img->nmodules && img->modules[lo].start <= addr ? &img->modules[lo] : NULL;
}

void image_pages(const struct image *img, uint64_t start, uint64_t npages, uint8_t *ret)
{
	if (img->ops->pages)
		img->ops->pages(img, start, npages, ret);
	else
		img->ops->resident(img, start, npages, ret); /* the same bits */
}

uint64_t image_skip(const struct image *img, uint64_t start, uint64_t end)
{
	return img->ops->skip && start < end ? img->ops->skip(img, start, end) : start;
}

void image_note(struct image *img, const char *fmt, ...)
{
	char **grown = realloc(img->notes, (img->nnotes + 1) * sizeof(*grown)), *text;
	va_list ap;
	int n;

	if (!grown)
		return;
	img->notes = grown;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n >= 0)
		img->notes[img->nnotes++] = text;
}

struct seep_error *image_resume(struct image *img)
{
	return img->ops->resume ? img->ops->resume(img) : NULL;
}

void image_free(struct image *img)
{
	if (!img)
		return;
	for (size_t i = 0; i < img->nnotes; i++)
		free(img->notes[i]);
	free(img->notes);
	img->ops->release(img); /* frees what the kind made, and img itself */
}
