/* SPDX-License-Identifier: Apache-2.0 */
/* What the files flame*.c share; nobody else includes it. */
#ifndef SEEP_OUTPUT_FLAME_PRIVATE_H
#define SEEP_OUTPUT_FLAME_PRIVATE_H

#include "output/flame.h"
#include "output/picture.h"

/* nodes[0] is the root, which stands for everything; parents come before children. */
struct flame_node {
	uint32_t parent, location; /* UINT32_MAX: root, and what has no stack */
	uint32_t depth;
	struct node_pair self, total;
	double heaviest; /* of the view's nodes that fell together here */
	double width;    /* all weights below without their signs */
};

struct flame {
	struct picture pic;
	struct flame_node *nodes;
	size_t n;
	size_t folded; /* nodes that were too small: flame_options.most */
};

struct seep_error *flame_make(const struct view *v, const struct flame_options *o, struct flame *f);
void flame_release(struct flame *f);
#define _cleanup_flame_ __attribute__((cleanup(flame_release)))

/* The page, from flame.html at build time. */
extern const char flame_page[];
extern const size_t flame_page_len;

#endif
