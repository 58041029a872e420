/* SPDX-License-Identifier: Apache-2.0 */
/* What the formats share among themselves: warnings, the rows, names of frames, scaling. */
#ifndef SEEP_FORMAT_PRIVATE_H
#define SEEP_FORMAT_PRIVATE_H

#include "format/format.h"
#include "profile/profile.h"

#include "base/buf.h"

/* One row each. */
extern const struct format format_pprof, format_gperftools, format_growth, format_jemalloc,
	format_massif, format_folded, format_dhat, format_speedscope, format_heaptrack, format_lsan,
	format_memcheck, format_memcheck_xml, format_memleak;

/* Keeps the first few; what comes after them is counted. */
void format_warn(struct format_input *in, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* "PATH is no FORMAT file: REASON at line N" */
struct seep_error *format_bad(const struct format_input *in, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), warn_unused_result));

/* ---- sampling: docs/FORMATS.md, "Scaling" ---------------------------------- */

/*
 * jemalloc's and gperftools' sampled files hold what was sampled; whoever reads them multiplies both
 * values of a stack by 1 / (1 - exp(-(bytes / blocks) / period)).  These are the two directions.
 * period 0: as it is.
 */
void scale_unbias(uint64_t blocks, uint64_t bytes, uint64_t period, struct prof_value *ret_value);
void scale_bias(const struct prof_value *v, uint64_t period, uint64_t *ret_blocks,
                uint64_t *ret_bytes);
/* The variance of estimates that came without one, as if all blocks were of average size. */
void scale_variance(uint64_t period, struct prof_value *v);
/* How many samples stand behind such an estimate. */
uint64_t scale_samples(uint64_t period, const struct prof_value *v);

/* ---- what writers make of a profile ------------------------------------------ */

bool output_has(const struct format_output *o, const struct prof_site *s); /* its kind is wanted */
/* The chosen one of a site's values. */
uint64_t output_value(const struct format_output *o, const struct prof_site *s);

/* One line of a stack as people see it: inlined functions are lines of their own. */
struct stack_line {
	uint32_t frame;
	const struct prof_line *line; /* its function may be NULL */
	bool outermost;               /* the last line of its frame: the one the code belongs to */
};

struct stack_lines {
	struct stack_line *lines;
	size_t n, cap;
};

/* The lines of a stack, leaf first; `s` is used again and again and freed once.  0 or -ENOMEM. */
int stack_lines(const struct profile *p, uint32_t stack, struct stack_lines *s);
void stack_lines_release(struct stack_lines *s);

/*
 * The name of a line for formats that have names only: the function, else "MODULE+0xADDRESS" (the
 * address in the module's file), else "0xADDRESS".  Characters of `special` and control characters are
 * written as %XX, and so is a % that would be read as one of these.
 */
void put_line_name(struct buf *out, const struct profile *p, const struct stack_line *l,
                   const char *special);
void put_escaped(struct buf *out, const char *s, const char *special);
/* Undoes put_escaped() in place. */
void unescape(char *s, const char *special);

void put_json_string(struct buf *out, const char *s); /* with its quotes; always valid UTF-8 */
void put_u64(struct buf *out, uint64_t v);            /* decimal; faster than printf */
void put_hex(struct buf *out, uint64_t v);            /* 0x… */

/* An error when a stack has frames without an address, which `what` files are made of. */
struct seep_error *need_addresses(const struct profile *p, const struct format_output *o,
                                  const char *what);

#endif
