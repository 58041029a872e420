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

/* ---- reports of blocks, each a record with a head and then its stack ------------- */

struct trace_record {
	bool open;
	const char *root; /* the outermost frame, for the class of leak; NULL: none */
	struct prof_value value;
	struct trace trace;
};

void trace_record_open(struct trace_record *r, const char *root, const struct prof_value *value);
/* What was open is in use at its stack; nothing is open afterwards. */
void trace_record_close(struct builder *b, struct trace_record *r);

/* A reader whose work is all in `read_records`, which opens and closes the one record. */
struct seep_error *trace_records_read(struct format_input *in, const char *format_title,
                                      struct seep_error *(*read_records)(struct format_input *,
                                                                         struct builder *,
                                                                         struct trace_record *),
                                      struct profile **ret_profile);

#endif
