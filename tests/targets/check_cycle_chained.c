/* SPDX-License-Identifier: Apache-2.0 */
/* A lost ring that holds another ring: only the first leads. */
#include "leaktruth.h"

struct node {
	struct node *other;
	long value;
	struct node *next;
};

NOINLINE static struct node *make_ring(int length, struct node *other, enum leak_class leader)
{
	struct node *first = leak_new(40), *last = first;

	LEAK(first, 40, leader);
	for (int i = 1; i < length; i++) {
		last->next = leak_new(40);
		last = last->next;
		LEAK(last, 40, INDIRECT);
	}
	last->next = first;
	last->other = other;
	return first;
}

int main(int argc, char **argv)
{
	ESCAPE(make_ring(3, make_ring(4, make_ring(5, NULL, INDIRECT), INDIRECT), DEFINITE));
	leak_cycles = 1;
	leak_ready("check_cycle_chained", argc, argv);
}
