/* SPDX-License-Identifier: Apache-2.0 */
/* A list of a hundred thousand nodes whose head is in a global. */
#include "leaktruth.h"

struct node {
	struct node *next;
	long value[2];
};

static struct node *head;

NOINLINE static void push(void)
{
	struct node *n = leak_new(sizeof(*n));

	n->next = head;
	head = n;
	LEAK(n, sizeof(*n), REACHABLE);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 100000; i++)
		push();
	leak_ready("check_reachable_chain", argc, argv);
}
