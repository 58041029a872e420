/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters of the allocators of a running process: what they are, what they mean, changing them, and putting back what
 * they were.
 *
 * glibc's are words of mp_ (heap_params), written while the process stands.  The others' are set by their own functions
 * (heap/allocators.h).  What a parameter was before seep changed it for the first time is kept in a file of
 * the user's own (tune_state.h), so that tune_undo() finds it, also days later.
 */
#ifndef SEEP_ANALYSIS_TUNE_H
#define SEEP_ANALYSIS_TUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct seep_error;

enum tune_unit {
	TUNE_BYTES,
	TUNE_COUNT,
	TUNE_MS,     /* -1: never */
	TUNE_SWITCH, /* 0, 1 */
	TUNE_RATE,
};

#define TUNE_NEVER UINT64_MAX /* of bytes: as good as infinite */

/* A value as seep has it: bytes, counts and switches in number; TUNE_MS and TUNE_RATE in real. */
struct tune_value {
	bool known;
	uint64_t number;
	double real;
};

struct tune_row {
	char allocator[32];
	const char *name;
	enum tune_unit unit;
	const char *meaning;
	struct tune_value now, standard; /* standard: what it is when nobody sets anything */
	double lowest, highest;          /* of the arenas there are (jemalloc); else equal */
	bool changed;                    /* in this call */
	struct tune_value before;        /* ... from this */
	bool kept;                       /* undo has something to put back */
	char *note;                      /* what to know about its value here, or NULL */
};

struct tune {
	pid_t pid;
	char *exe;
	char layout[64];
	struct tune_row *rows;
	size_t nrows;
	uint64_t narenas; /* glibc's */
	uint64_t stopped_ns;
	size_t nchanged;
	char **environment; /* "GLIBC_TUNABLES=...": how to make what was changed permanent */
	size_t nenvironment;
	char **notes;
	size_t nnotes;
};

/* name=value; '-' and '_' are the same.  Values: 128K, 10, on, off, never, auto. */
struct tune_wish {
	const char *name, *value;
};

/* What there is.  allocator: only this one; NULL: all. */
struct seep_error *tune_read(pid_t pid, const char *allocator, struct tune **ret_tune);
/* Sets all of them or, if one of them is wrong, none; then as tune_read(). */
struct seep_error *tune_set(pid_t pid, const char *allocator, const struct tune_wish *wishes,
                            size_t n, struct tune **ret_tune);
/* Puts back everything seep has changed in this process. */
struct seep_error *tune_undo(pid_t pid, struct tune **ret_tune);
void tune_free(struct tune *t);

static inline void tune_freep(struct tune **t)
{
	tune_free(*t);
}
#define _cleanup_tune_ __attribute__((cleanup(tune_freep)))

#endif
