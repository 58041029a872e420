/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of allocators.h share: the table of kinds, and what each can be asked to do. */
#ifndef SEEP_HEAP_ALLOCATORS_PRIVATE_H
#define SEEP_HEAP_ALLOCATORS_PRIVATE_H

#include "heap/allocators.h"
#include "heap/remote.h"

/* Indices of allocator.functions, for each kind; the names are in allocators_find.c. */
enum { JE_MALLCTL, JE_STATS_PRINT };
enum {
	GP_GET,
	GP_SET,
	GP_RELEASE_ALL,
	GP_RELEASE,
	GP_STATS,
	GP_VERSION,
	GP_SET_RATE, /* from 2.14 */
	GP_GET_RATE,
	GP_INSTANCE,   /* the C++ object whose methods there were before */
	GP_SET_METHOD, /* linked into the program: the method itself */
	GP_GET_METHOD,
	GP_BASE_SET, /* the base class's, by which the slot in the table is found */
	GP_BASE_GET,
	GP_TABLE,
	GP_SET_SLOT, /* offset in the table; not a function */
	GP_GET_SLOT,
};
enum {
	TC_GET,
	TC_RELEASE,
	TC_STATS_TEXT,
	TC_SET_RATE,
	TC_GET_RATE,
	TC_SET_CACHE,
	TC_GET_CACHE,
	TC_GET_CPU_CACHE,
	TC_SET_CPU_CACHE,
	TC_BACKGROUND,
};
enum {
	MI_VERSION,
	MI_COLLECT,
	MI_PROCESS_INFO,
	MI_STATS_PRINT_OUT,
	MI_OPTION_GET,
	MI_OPTION_SET,
	MI_OPTION_GET_CLAMP,
	MI_STATS_MERGE,
	MI_STATS_GET,
};

/* What one kind can do.  NULL: cannot. */
struct allocator_way {
	struct seep_error *(*ask)(struct allocators *as, struct allocator *a,
	                          struct allocator_stats *ret, struct allocator_details *details,
	                          struct allocator_visit *visit);
	struct seep_error *(*text)(struct allocators *as, struct allocator *a, const char *opts,
	                           size_t room, struct remote *r, struct remote_arg *ret_text);
	struct seep_error *(*release)(struct allocators *as, struct allocator *a, uint64_t bytes,
	                              uint64_t *ret_bytes, struct allocator_visit *visit);
	struct seep_error *(*get)(struct allocators *as, struct allocator *a,
	                          struct allocator_value *ret, struct allocator_visit *visit);
	struct seep_error *(*set)(struct allocators *as, struct allocator *a,
	                          enum allocator_option o, double value,
	                          struct allocator_value *ret_old, struct allocator_value *ret_new,
	                          struct allocator_visit *visit);
};

extern const struct allocator_way allocator_jemalloc, allocator_gperftools, allocator_tcmalloc,
	allocator_mimalloc;

/* All fields unknown. */
void allocator_stats_clear(struct allocator_stats *s);
/* Lines of "name", "text" for details; a failure loses the line. */
void allocator_fact(struct allocator_details *d, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
struct seep_error *allocator_no_option(const struct allocator *a, enum allocator_option o);
struct seep_error *allocator_refused(const struct allocator *a, const char *what, int code);
struct seep_error *allocator_lacks(const struct allocator *a, const char *function);
/* Copies a string of the target's, cut to fit, with nothing in it that a terminal would obey. */
void allocator_clean(char *to, size_t room, const char *from, size_t len);

#endif
