/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heaps in a file: what a walk needs of a process, small enough to be a fuzzer's seed, and back into a fake image.
 *
 *     u32 nmaps, nthreads; u64 at_random
 *     map     u64 start; u32 pages, stored; u8 flags, name; u16 0; then `stored` pages
 *     page    u32 index, words; then `words` pairs of u16 place, u64 value: a page's words that are not 0
 *     thread  u64 thread pointer
 *
 * Reading takes any bytes: what makes no sense ends it, what came before stands.
 */
#ifndef TESTS_HEAP_SEED_H
#define TESTS_HEAP_SEED_H

#include "heap/heap.h"
#include "proc/image.h"

int heap_seed_dump(const struct image *img, const struct heap *h, const char *path);
struct image *heap_seed_load(const uint8_t *data, size_t size);

#endif
