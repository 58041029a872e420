/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view: a profile's stacks as a person sees them.
 *
 * Over the profile's frames (addresses) a view lays locations (function, file,
 * line), with inlined functions as frames of their own, allocator internals
 * folded away, hidden frames left out, and only the stacks the user asked for.
 * Two stacks that look the same are the same node, so sites that differ only in
 * what is not shown fall together.  All groupings and trees are made from it.
 *
 * A view borrows its strings: the profile must outlive it, unchanged.
 */
#ifndef SEEP_ANALYSIS_VIEW_H
#define SEEP_ANALYSIS_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct profile;
struct seep_error;

/*
 * POSIX extended regexes, searched in the function's name, the file's and the
 * module's path.  A stack is kept when a frame of it matches any `focus` (or none
 * is given) and none matches an `ignore`; frames that match a `hide` are left out.
 */
struct view_options {
	const char *const *focus, *const *ignore, *const *hide;
	size_t nfocus, nignore, nhide;
	bool no_fold;       /* show the allocator's own frames too */
	unsigned int kinds; /* set of PROF_KIND_BIT; 0: PROF_MEMORY, heap and mappings */
};

#define VIEW_INLINED 0x1u   /* inlined into the location of its parent node */
#define VIEW_ALLOCATOR 0x2u /* malloc, operator new…: folded at the leaf */
#define VIEW_RUNTIME 0x4u   /* library code: not the line to look at */

struct view_location {
	const char *function; /* NULL: unknown */
	const char *file;     /* NULL: unknown */
	uint32_t line;        /* 0: unknown */
	uint32_t module;      /* in profile.modules, or PROF_NO_MODULE */
	uint32_t func;        /* in view.functions */
	uint32_t flags;       /* VIEW_* */
	uint64_t address; /* in the module's file (or absolute without module); 0 when the function is known */
};

/* A function of one module; all unknown ones of a module are one. */
struct view_function {
	const char *name;
	uint32_t module;
	bool runtime;
};

/* The tree of shown stacks, root first: nodes[0] is the root, parents come before children. */
struct view_node {
	uint32_t parent, location;
};

#define VIEW_DROPPED UINT32_MAX

struct view {
	const struct profile *profile;
	struct view_location *locations;
	struct view_function *functions;
	struct view_node *nodes;
	uint32_t *site_node; /* per site: its leaf node; 0: stack unknown; or VIEW_DROPPED */
	size_t nlocations, nfunctions, nnodes;
	size_t dropped;     /* sites left out by focus and ignore */
	bool filtered;      /* focus or ignore given */
	unsigned int kinds; /* in view; sites of others are dropped, and not counted as such */
};

/* A bad regex is an error that quotes it.  The profile must have passed profile_check(). */
struct seep_error *view_new(const struct profile *p, const struct view_options *opts,
                            struct view **ret_view);
void view_free(struct view *v);

static inline void view_freep(struct view **v)
{
	view_free(*v);
}
#define _cleanup_view_ __attribute__((cleanup(view_freep)))

/* The node of the innermost frame that is the program's own, seen from leaf `node`; 0 if none is. */
uint32_t view_culprit(const struct view *v, uint32_t node);

#endif
