/* SPDX-License-Identifier: Apache-2.0 */
/* What `seep heap` shows of each allocator, as text or JSON. */
#ifndef SEEP_CLI_HEAP_PRINT_H
#define SEEP_CLI_HEAP_PRINT_H

#include "heap/allocators.h"

struct emit;
struct heap;
struct malloc_info;

struct heap_print {
	uint64_t top; /* rows of a table in text; 0: all */
	bool json;
};

/* An allocator that was asked; why: it could not be (then the rest is NULL). */
struct heap_answer {
	const struct allocator *allocator;
	const char *why, *hint;
	const struct allocator_stats *stats;
	const struct allocator_details *details;
	const struct allocator_value *options;
	const struct allocator_visit *visit;
};
void heap_print_answer(struct emit *e, const struct heap_print *p, const struct heap_answer *a);

/* A heap that was walked; info: glibc's, else NULL.  a: NULL: not found by its functions. */
void heap_print_walked(struct emit *e, const struct heap_print *p, const struct allocator *a,
                       const struct heap *h, const struct malloc_info *info);

#endif
