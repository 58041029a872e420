/* SPDX-License-Identifier: Apache-2.0 */
/* tune.c: all together.  tune_glibc.c: words of mp_.  tune_others.c: through functions.  tune_state.c: what was before. */
#ifndef SEEP_ANALYSIS_TUNE_PRIVATE_H
#define SEEP_ANALYSIS_TUNE_PRIVATE_H

#include "analysis/tune.h"

struct buf;

/* A wish that names a row there is; value as it is to be. */
struct tune_order {
	struct tune_row *row;
	struct tune_value value;
};

struct tune_row *tune_add_row(struct tune *t); /* NULL: out of memory */
void tune_note(struct tune *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tune_environment(struct tune *t, const char *line);
bool tune_row_is(const struct tune_row *r, const char *allocator, const char *name);
double tune_real(const struct tune_row *r, const struct tune_value *v);

/* Rows of glibc's malloc; none when it is not there. */
struct seep_error *tune_glibc_read(struct tune *t);
/* Is the value one that this parameter can have? */
struct seep_error *tune_glibc_check(const struct tune *t, const struct tune_order *o);
/* All orders for glibc's rows, in one stop. */
struct seep_error *tune_glibc_write(struct tune *t, const struct tune_order *orders, size_t n);
void tune_glibc_environment(struct tune *t);

struct allocators;
struct seep_error *tune_others_read(struct tune *t, struct allocators *as);
struct seep_error *tune_others_write(struct tune *t, struct allocators *as,
                                     const struct tune_order *o);

/* ---- what was before ----------------------------------------------------------------- */

struct tune_kept {
	char allocator[32], name[32];
	uint64_t number;
	double real;
};

struct tune_state {
	char *path;
	struct tune_kept *items;
	size_t n;
};

/* Of this process (pid and start time); empty when there is none.  Files of processes that have ended are removed. */
struct seep_error *tune_state_read(pid_t pid, struct tune_state *ret);
bool tune_state_has(const struct tune_state *s, const char *allocator, const char *name);
/* Adds what is not there yet; tune_state_write() keeps it, or removes the file when there is nothing. */
struct seep_error *tune_state_add(struct tune_state *s, const struct tune_kept *k);
struct seep_error *tune_state_write(const struct tune_state *s);
void tune_state_release(struct tune_state *s);

#endif
