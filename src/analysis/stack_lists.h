/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glibc's lists of thread stacks, as they stand in a process: which of the stacks without a thread wait for a
 * pthread_join(), and which are only kept for later.
 */
#ifndef SEEP_ANALYSIS_STACK_LISTS_H
#define SEEP_ANALYSIS_STACK_LISTS_H

#include "base/idmap.h"
#include "proc/image.h"

struct stack_node {
	uint64_t at, head; /* a TCB's node, and the list it is in; 0: none that can be told */
};

/* Zeros, but for img, which it borrows; released with stack_lists_release(). */
struct stack_lists {
	const struct image *img;
	struct idmap index; /* of nodes by address */
	struct stack_node *nodes;
	size_t n, cap;
	bool failed; /* out of memory */
};

/* The thread whose TCB that is has ended, but was not joined yet: its result is for who will join it. */
bool stack_lists_unjoined(struct stack_lists *l, uint64_t tcb);
void stack_lists_release(struct stack_lists *l);

#endif
