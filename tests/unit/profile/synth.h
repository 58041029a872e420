/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles made by hand, for tests.  Every function fails the test when memory runs out. */
#ifndef SEEP_TESTS_SYNTH_H
#define SEEP_TESTS_SYNTH_H

#include "profile/profile.h"

struct synth_line {
	const char *function, *file;
	uint32_t line;
};

struct profile *synth_new(const char *command);
uint32_t synth_module(struct profile *p, const char *path, uint64_t bias, uint8_t build_id);
/* A frame; lines innermost first, n of them (0: unknown); all but the last are inlined. */
uint32_t synth_frame_lines(struct profile *p, uint32_t parent, uint32_t module,
                           uint64_t file_address, const struct synth_line *lines, uint32_t n);
uint32_t synth_frame(struct profile *p, uint32_t parent, uint32_t module, uint64_t file_address,
                     const char *function, const char *file, uint32_t line);
/* `allocated` blocks of `size` bytes, `freed` of them freed. */
uint32_t synth_site(struct profile *p, uint32_t stack, uint8_t kind, uint64_t size,
                    uint64_t allocated, uint64_t freed);
uint32_t synth_thread(struct profile *p, int32_t tid, const char *name);
void synth_cell(struct profile *p, uint32_t site, uint32_t thread, uint64_t blocks, uint64_t bytes);
void synth_point(struct profile *p, uint64_t time, uint64_t inuse, uint64_t alloc_bytes);

/*
 * A small service: two sites that leak (one by way of operator new and an inlined function),
 * one cache, one mmap, one site without a stack; threads, timeline, losses.
 */
struct profile *synth_service(void);

#endif
