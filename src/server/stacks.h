/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks as the API sends them: a table of strings, a table of frames whose columns are places in it, and trees whose
 * nodes are places in that.  Every frame and every string is said once, and only if something shown needs it.
 */
#ifndef SEEP_SERVER_STACKS_H
#define SEEP_SERVER_STACKS_H

#include "base/idmap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jsonw;
struct look;
struct seep_error;
struct view;

/* ---- frames ------------------------------------------------------------------------------------- */

struct frames {
	const struct view *v;
	uint32_t *number;    /* by location of the view; 0: not taken yet */
	uint32_t *locations; /* by number; [0]: everything */
	uint32_t n;
	struct idmap names;
	const char **strings; /* borrowed from the view */
	size_t nstrings, cap_strings;
	bool failed;
};

#define FRAMES_NO_LOCATION UINT32_MAX /* is frame 0 */

struct seep_error *stacks_frames_init(struct frames *f, const struct view *v);
void stacks_frames_release(struct frames *f);
uint32_t stacks_frame(struct frames *f, uint32_t location); /* its number; taken in when it is new */
uint32_t stacks_string(struct frames *f, const char *s);
/* "frames" and "strings", after everything has been taken in. */
void stacks_put_frames(struct frames *f, struct jsonw *j);

/* ---- trees ----------------------------------------------------------------------------------------- */

struct leaf_value { /* what ends at a node of the view */
	uint64_t value, base;
};

/* By node of the view; malloc'ed. */
struct seep_error *stacks_values(const struct look *l, struct leaf_value **ret_values);

struct tree_builder {
	const struct view *v;
	bool lines; /* lines of one function are nodes of their own */
	struct grown_node *nodes;
	size_t n, cap;
	struct idmap map;
	size_t cut_nodes;
	uint64_t cut_value;
	bool summed; /* nodes have what is below them already */
	bool failed;
};

struct grown_node {
	uint32_t parent, location;
	uint64_t value, base; /* of the stacks that end here; after grow_finish() with all below */
	uint64_t heaviest;    /* of what gave it its location */
};

/* Node 0 has that location. */
void grow_init(struct tree_builder *t, const struct look *l, bool lines, uint32_t location);
void grow_release(struct tree_builder *t);
uint32_t grow_child(struct tree_builder *t, uint32_t parent, uint32_t location,
                    const struct leaf_value *weight);
void grow_add(struct tree_builder *t, uint32_t node, const struct leaf_value *v);
/* The whole of it: from roots to leaves, or from leaves to roots.  The values are used up. */
void grow_all(struct tree_builder *t, struct leaf_value *values, bool leaf_first);
/* Sums up, keeps the `most` widest, puts them into the order they are sent in. */
void grow_finish(struct tree_builder *t, size_t most);
/* Columns; takes its frames in. */
void grow_put(const struct tree_builder *t, struct frames *f, bool diff, struct jsonw *j,
              const char *key);

#endif
