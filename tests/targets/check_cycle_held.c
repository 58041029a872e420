/* SPDX-License-Identifier: Apache-2.0 */
/* A lost chain that leads into a ring: its head is what leads, the ring hangs on it and is none that leads. */
#include "leaktruth.h"

struct node {
	long value[2];
	struct node *next;
};

NOINLINE static struct node *make_held(void)
{
	struct node *n = leak_new(sizeof(*n));

	LEAK(n, sizeof(*n), INDIRECT);
	return n;
}

NOINLINE static struct node *make_ring(int length)
{
	struct node *first = make_held(), *last = first;

	for (int i = 1; i < length; i++) {
		last->next = make_held();
		last = last->next;
	}
	last->next = first;
	return last;
}

/* The ring is older than the chain: what leads is not what comes first in memory. */
NOINLINE static void make_chain(void)
{
	struct node *n = make_ring(50);

	for (int i = 0; i < 5; i++) {
		struct node *before = make_held();

		before->next = n;
		n = before;
	}
	struct node *head = leak_new(40);

	head->next = n;
	LEAK(head, 40, DEFINITE);
}

int main(int argc, char **argv)
{
	make_chain();
	make_chain();
	leak_ready("check_cycle_held", argc, argv);
}
