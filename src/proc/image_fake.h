/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image made by a test: mappings with bytes of its own, modules, threads.
 */
#ifndef SEEP_PROC_IMAGE_FAKE_H
#define SEEP_PROC_IMAGE_FAKE_H

#include "proc/image.h"

struct image *image_fake_new(void); /* NULL: out of memory; image_free() releases it */

/*
 * A mapping of len bytes at addr (both page-aligned); returns its zeroed bytes, which the test fills and
 * the image owns.  Mappings may come in any order; pointers stay valid.  NULL: overlaps, or out of memory.
 */
void *image_fake_map(struct image *img, uint64_t addr, uint64_t len, uint32_t flags,
                     const char *path);
/* A module over mappings made before. */
struct image_module *image_fake_module(struct image *img, const char *path, uint64_t start,
                                       uint64_t end);
/* A thread with these register words; words are copied. */
struct image_thread *image_fake_thread(struct image *img, pid_t tid, uint64_t sp, uint64_t tls,
                                       const uint64_t *words, size_t nwords);
/* Writes a word; false outside all mappings. */
bool image_fake_poke(struct image *img, uint64_t addr, uint64_t value);

#endif
