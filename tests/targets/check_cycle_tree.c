/* SPDX-License-Identifier: Apache-2.0 */
/* A lost tree whose nodes know their parents: all of it is one cycle. */
#include "leaktruth.h"

struct node {
	struct node *parent, *left, *right;
};

NOINLINE static struct node *make_node(struct node *parent, int depth)
{
	struct node *n = leak_new(sizeof(*n));

	LEAK(n, sizeof(*n), parent ? INDIRECT : DEFINITE);
	n->parent = parent;
	if (depth) {
		n->left = make_node(n, depth - 1);
		n->right = make_node(n, depth - 1);
	}
	return n;
}

int main(int argc, char **argv)
{
	ESCAPE(make_node(NULL, 9));
	leak_cycles = 1;
	leak_ready("check_cycle_tree", argc, argv);
}
