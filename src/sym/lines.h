/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DWARF: file addresses → source lines with their inlined functions.
 *
 * Made for many addresses at once: hand lines_resolve() all addresses of a file
 * together.  What it puts into the queries lives as long as the `names` pool and
 * the file.  One thread at a time.
 */
#ifndef SEEP_SYM_LINES_H
#define SEEP_SYM_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lines;
struct names;
struct seep_error;
struct symfile;
struct warnings;

#define LINES_MAX_INLINES 128 /* per address; what is deeper is left out */
#define LINES_MAX_DEPTH 256   /* nesting of DIEs followed */

/* A function, or one inlined copy of a function. */
struct lines_func {
	const struct lines_func *outer; /* inlined into this one; NULL: a real function */
	const char *name;               /* NULL unknown */
	const char *linkage;            /* mangled; NULL: none; as long as the file */
	const char *call_file;          /* where `outer` calls this copy; NULL unknown */
	uint32_t call_line;             /* 0 unknown */
	uint32_t depth;                 /* number of outer functions */
	bool is_partial; /* C++ or Rust, but no linkage name: `name` lacks its scopes */
};

struct lines_query {
	uint64_t addr;                 /* file address */
	const struct lines_func *func; /* innermost; NULL unknown */
	const char *file;              /* of addr itself; NULL unknown */
	uint32_t line;                 /* 0 unknown */
	uint32_t user;                 /* the caller's */
};

/*
 * *ret_lines is NULL when the file has no DWARF.  `alt` is its supplementary file (dwz), or NULL.
 * What is damaged is left out with a warning; an error means out of memory.  Both files and
 * `names` must outlive the result.
 */
struct seep_error *lines_open(const struct symfile *f, const struct symfile *alt,
                              struct names *names, struct warnings *warn, struct lines **ret_lines);

/*
 * Fills q[0..n), sorted by addr.  `done` is called with the number of addresses dealt with
 * after each compilation unit; may be NULL.
 */
struct seep_error *lines_resolve(struct lines *l, struct lines_query *q, size_t n,
                                 void (*done)(void *arg, size_t n), void *done_arg);

void lines_close(struct lines *l); /* NULL is fine */

#endif
