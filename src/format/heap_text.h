/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What gperftools' and jemalloc's heap profiles have in common: lines of four numbers, lines of return addresses,
 * and the target's mappings at the end.
 */
#ifndef SEEP_FORMAT_HEAP_TEXT_H
#define SEEP_FORMAT_HEAP_TEXT_H

#include "format/builder.h"
#include "format/mappings.h"

struct heap_values {
	uint64_t blocks, bytes, alloc_blocks, alloc_bytes;
};

/* " 352: 16777344 [0: 0]": in use, in brackets allocated. */
bool heap_values_take(char **p, struct heap_values *ret_values);
void heap_values_add(struct heap_values *to, const struct heap_values *v);

struct heap_text {
	struct builder b;
	struct format_input *in;
	struct mappings maps;
	struct pc_list pcs;
	uint64_t period; /* 0: exact */
	bool at_maps;
};

/* "0x5f86da8 0x5f5a1dc", leaf first, to the end of the line; false: there is something else in it. */
bool heap_text_stack(struct heap_text *t, char *p, uint32_t *ret_stack);
/* The same as text, with a blank before each. */
void heap_text_put_stack(struct buf *out, const struct profile *p, uint32_t stack);
/* The period of the header: 1 and 0 are none. */
void heap_text_period(struct heap_text *t, uint64_t period);

/*
 * Gives every line to `take` until the line that `is_maps` knows, the rest to the mappings.  What makes no sense is
 * left out with a warning, and one says where a file was cut off.
 */
void heap_text_read(struct heap_text *t, bool (*is_maps)(const char *line),
                    bool (*take)(void *arg, char *line), void *arg);
void heap_text_release(struct heap_text *t);

#endif
