/* SPDX-License-Identifier: Apache-2.0 */
/* Lost rings of two thousand nodes. */
#include "leaktruth.h"

struct node {
	long value[2];
	struct node *next;
};

NOINLINE static void make_ring(int length)
{
	struct node *first = leak_new(sizeof(*first)), *last = first;

	LEAK(first, sizeof(*first), DEFINITE);
	for (int i = 1; i < length; i++) {
		last->next = leak_new(sizeof(*last));
		last = last->next;
		LEAK(last, sizeof(*last), INDIRECT);
	}
	last->next = first;
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 3; i++)
		make_ring(2000);
	leak_cycles = 3;
	leak_ready("check_cycle_ring", argc, argv);
}
