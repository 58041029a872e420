/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: image_open_core() over any bytes, and then everything a leak check does with an image:
 * reading, residency, look-ups at the edges of mappings and at what the registers say.
 */
#include "proc/image.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAPS 64 /* looked at of each image */

static void look(const struct image *img)
{
	uint8_t bytes[4096 + 16], resident[64];
	uint64_t word;

	for (size_t i = 0; i < img->nmaps && i < MAPS; i++) {
		const struct image_map *m = &img->maps[i];

		if (m->start >= m->end || (i && m->start < m[-1].end) || !m->path)
			abort();
		image_read(img, m->start, bytes, sizeof(bytes));
		image_read(img, m->end - 16, bytes, sizeof(bytes));
		image_resident(img, m->start - 4096, sizeof(resident), resident);
		if (image_map_of(img, m->start) != m || image_map_of(img, m->end - 1) != m)
			abort();
	}
	for (size_t i = 0; i < img->nmodules; i++)
		if (img->modules[i].start >= img->modules[i].end ||
		    image_module_of(img, img->modules[i].start) != &img->modules[i])
			abort();
	for (size_t i = 0; i < img->nthreads; i++) {
		const struct image_thread *t = &img->threads[i];

		image_read_u64(img, t->sp, &word);
		for (size_t k = 0; k < t->nwords; k++)
			word += t->words[k];
		image_map_of(img, word);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("core", MFD_CLOEXEC);
	struct image *img = NULL;
	struct seep_error *err;
	char path[64];

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = image_open_core(path, NULL, &img);
	if (!err == !img)
		abort();
	seep_error_free(err);
	if (img)
		look(img);
	image_free(img);
	close(fd);
	return 0;
}
