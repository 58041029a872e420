/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every reader builds its profile with: arrays that grow, and things that are there once.
 *
 * Out of memory, or more things than an index can name, sets `failed`; later calls then return 0 or
 * NULL and builder_finish() says so, which lets a reader check once at its end.
 */
#ifndef SEEP_FORMAT_BUILDER_H
#define SEEP_FORMAT_BUILDER_H

#include "format/private.h"
#include "profile/profile.h"

#include "base/idmap.h"

struct builder {
	struct profile *p; /* its head may be filled in directly */
	struct idmap modules, frames, symbols, sites, threads, cells;
	size_t cap_modules, cap_frames, cap_symbols, cap_sites, cap_cells, cap_threads, cap_points;
	uint64_t names;   /* bytes of strings */
	uint32_t unknown; /* the symbol that says "nobody knows" */
	bool failed;
};

struct seep_error *builder_init(struct builder *b, const struct format_input *in,
                                const char *format_title);
void builder_release(struct builder *b);
/* Room for as many, where a file says beforehand how many there will be. */
void builder_reserve(struct builder *b, size_t frames, size_t symbols, size_t sites);
#define _cleanup_builder_ __attribute__((cleanup(builder_release)))

/* The child of `parent` with these properties; made when it is not there yet. */
uint32_t builder_frame(struct builder *b, uint32_t parent, uint64_t pc, uint32_t module,
                       uint32_t symbol);
/* Lines innermost first; copied.  n = 0: symbol 0, "not symbolized". */
uint32_t builder_symbol(struct builder *b, const struct prof_line *lines, uint32_t n);
/* One line; any of them may be NULL or "". */
uint32_t builder_name(struct builder *b, const char *function, const char *file, uint32_t line);
/* A symbol that keeps src/sym away: the format's own tool could not tell, and the address would mislead. */
uint32_t builder_unknown(struct builder *b);
/* A module that is known by name only; PROF_NO_MODULE for NULL and "". */
uint32_t builder_module(struct builder *b, const char *path);
/* A module with all that is known of it; its path is copied. */
uint32_t builder_mapped(struct builder *b, const struct prof_module *m);
/* Valid until the next call. */
struct prof_site *builder_site(struct builder *b, uint32_t stack, uint8_t kind);
uint32_t builder_site_number(const struct builder *b, const struct prof_site *s);
/* Threads are told apart by tid and name. */
uint32_t builder_thread(struct builder *b, int32_t tid, const char *name);
void builder_cell(struct builder *b, uint32_t site, uint32_t thread, const struct prof_value *v);
/* Points that go back in time are left out. */
void builder_point(struct builder *b, const struct prof_point *point);
void builder_string(struct builder *b, char **field,
                    const char *s); /* replaces a string of the profile */

/* A stack of addresses, leaf first, as most formats have it. */
struct pc_list {
	uint64_t *pcs;
	size_t n, cap;
};

void pc_list_add(struct builder *b, struct pc_list *l, uint64_t pc);
/* The frame of the leaf; frames get modules and symbols later. */
uint32_t builder_stack(struct builder *b, const struct pc_list *l);

/* Sums, checks and hands the profile over; b is to be released all the same. */
struct seep_error *builder_finish(struct builder *b, struct profile **ret_profile);

#endif
