/* SPDX-License-Identifier: Apache-2.0 */
/* A lost ring with a chain hanging on it: the ring has the leader. */
#include "leaktruth.h"

struct node {
	struct node *tail;
	long value;
	struct node *next;
};

/* The tail is older than the ring, again so that order in memory says nothing. */
NOINLINE static struct node *make_tail(int length)
{
	struct node *n = NULL;

	while (length--) {
		struct node *before = leak_new(sizeof(*n));

		before->tail = n;
		n = before;
		LEAK(n, sizeof(*n), INDIRECT);
	}
	return n;
}

NOINLINE static void make_ring(int length)
{
	struct node *tail = make_tail(10), *first = leak_new(40), *last = first;

	LEAK(first, 40, DEFINITE);
	for (int i = 1; i < length; i++) {
		last->next = leak_new(40);
		last = last->next;
		LEAK(last, 40, INDIRECT);
	}
	last->next = first;
	last->tail = tail;
}

int main(int argc, char **argv)
{
	make_ring(7);
	make_ring(1);
	leak_cycles = 2;
	leak_ready("check_cycle_tail", argc, argv);
}
