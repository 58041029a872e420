/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Call trees over one measure: root first (from main downwards: who called what)
 * or leaf first (from the allocating function upwards: who is responsible).
 *
 * A node's value is the sum over all stacks that begin, seen from the tree's top,
 * with the path to it.  Subtrees below `min` and, with `max_children`, all but the
 * largest children are cut; what was cut from a node is summed up in it.
 */
#ifndef SEEP_ANALYSIS_TREE_H
#define SEEP_ANALYSIS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/group.h"

enum tree_direction { TREE_ROOT_FIRST, TREE_LEAF_FIRST };

struct tree_cut {
	uint64_t min;        /* in the measure's unit; 0: nothing is cut */
	size_t max_children; /* 0: all */
};

/* Nodes in display order: a node is followed by its subtree, children largest first. */
struct tree_node {
	uint32_t location; /* in view.locations; UINT32_MAX: stack unknown (and the tree's top) */
	uint32_t depth;    /* 0: the tree's top, which stands for everything */
	struct prof_value value, self; /* self: stacks that end here */
	uint64_t cut_value;            /* in the measure's unit: children that are not shown */
	uint32_t cut_children;
};

struct tree {
	struct tree_node *nodes; /* [0] is the top */
	size_t n;
};

struct seep_error *tree_make(const struct view *v, enum tree_direction direction,
                             struct measure measure, struct tree_cut cut, struct tree *ret_tree);
void tree_release(struct tree *t);
#define _cleanup_tree_ __attribute__((cleanup(tree_release)))

#endif
