/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks as people read them: the lines of valgrind's tools and of the sanitizers, shared by the readers of
 * massif, memcheck and LeakSanitizer.
 */
#ifndef SEEP_FORMAT_TRACE_H
#define SEEP_FORMAT_TRACE_H

#include "format/builder.h"

struct trace_frame {
	uint64_t pc;
	uint32_t module, symbol;
};

/* A stack under construction, leaf first. */
struct trace {
	struct trace_frame *frames;
	size_t n, cap;
};

/* "0x109161: leaky (t.c:4)", "0x4C: malloc (in /lib/libc.so.6)", "0x1: ???"; false: it is none. */
bool trace_valgrind(struct builder *b, char *text, struct trace_frame *ret_frame);
/* "#0 0x7f7e in leaky /src/t.c:4:3", "#1 0x5646 in f (/bin/a+0x12) (BuildId: 12ab)", "#2 0x1 (/bin/a+0x1)" */
bool trace_sanitizer(struct builder *b, char *text, struct trace_frame *ret_frame);

void trace_add(struct builder *b, struct trace *t, const struct trace_frame *f);
/* The leaf's frame, below an outermost frame named `root` (NULL: none). */
uint32_t trace_stack(struct builder *b, const struct trace *t, const char *root);

#endif
