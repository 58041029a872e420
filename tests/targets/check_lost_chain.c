/* SPDX-License-Identifier: Apache-2.0 */
/* A lost list of a hundred thousand nodes: its head is definite, all else hangs on it. */
#include "leaktruth.h"

struct node {
	struct node *next;
	long value[2];
};

/* Built from its end, so that no pointer to an inner node is ever stored elsewhere. */
NOINLINE static struct node *push(struct node *next, enum leak_class class)
{
	struct node *n = leak_new(sizeof(*n));

	n->next = next;
	LEAK(n, sizeof(*n), class);
	return n;
}

NOINLINE static void make_list(int length)
{
	struct node *n = NULL;

	for (int i = 1; i < length; i++)
		n = push(n, INDIRECT);
	ESCAPE(push(n, DEFINITE));
}

int main(int argc, char **argv)
{
	make_list(100000);
	leak_ready("check_lost_chain", argc, argv);
}
