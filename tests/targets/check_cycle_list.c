/* SPDX-License-Identifier: Apache-2.0 */
/* Lost doubly linked lists: every node is held by its neighbours, so one of them leads each list. */
#include "leaktruth.h"

struct node {
	struct node *before, *after;
	long value;
};

NOINLINE static void make_list(int length)
{
	struct node *last = NULL;

	for (int i = 0; i < length; i++) {
		struct node *n = leak_new(sizeof(*n));

		n->before = last;
		if (last)
			last->after = n;
		last = n;
		LEAK(n, sizeof(*n), i ? INDIRECT : DEFINITE);
	}
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 4; i++)
		make_list(500);
	leak_cycles = 4;
	leak_ready("check_cycle_list", argc, argv);
}
