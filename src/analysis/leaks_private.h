/* SPDX-License-Identifier: Apache-2.0 */
/* What leaks.c (records) and leaks_content.c (what a block is) share. */
#ifndef SEEP_ANALYSIS_LEAKS_PRIVATE_H
#define SEEP_ANALYSIS_LEAKS_PRIVATE_H

#include "analysis/leaks.h"

struct content_reader;

struct content {
	enum leak_content kind;
	const char *what; /* VTABLE: as long as the reader; TEXT: until the next call; else NULL */
};

struct content_reader *content_reader_new(const struct image *img, const char *const *debug_dirs);
void content_reader_free(struct content_reader *c);
/* What the block's first bytes show.  An error is lack of memory. */
struct seep_error *content_of(struct content_reader *c, uint64_t address, uint64_t size,
                              struct content *ret_content);

#endif
