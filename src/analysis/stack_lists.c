/* SPDX-License-Identifier: Apache-2.0 */
/* See stack_lists.h.  Source of the layout: glibc's nptl/descr.h and allocatestack.c. */
#include "analysis/stack_lists.h"

#include <stdlib.h>

#include "base/array.h"

#define TCB_LIST 0x2c0 /* struct pthread's list node: right behind its header, in all versions */
#define MAX_STACKS 100000

static bool list_known(const struct stack_lists *l, uint64_t at, uint64_t *ret_head)
{
	uint64_t hash = hash_mix(at, 0);
	size_t pos = idmap_first(&l->index, hash);
	uint32_t id;

	while (idmap_get(&l->index, &pos, hash, &id)) {
		if (l->nodes[id].at == at) {
			*ret_head = l->nodes[id].head;
			return true;
		}
	}
	return false;
}

/*
 * glibc keeps the TCBs of all stacks in lists: of those in use, of those it did not make, of those kept for later.
 * The heads lie in the loader's (before 2.34 libpthread's) data, the first two of them 16 bytes apart.
 * Returns the head of the list that the TCB is in; 0: none that can be told.  Each node is visited once, whoever asks: of a
 * program that joins none of its threads there are thousands.
 */
static uint64_t list_head(struct stack_lists *l, uint64_t tcb)
{
	const size_t first = l->n;
	uint64_t at = tcb + TCB_LIST, head = 0;

	for (int i = 0; i < MAX_STACKS && !list_known(l, at, &head); i++) {
		if (array_grow((void **)&l->nodes, l->n, &l->cap, sizeof(*l->nodes)) < 0 ||
		    idmap_add(&l->index, hash_mix(at, 0), (uint32_t)l->n) < 0) {
			l->failed = true;
			break;
		}
		l->nodes[l->n++] = (struct stack_node){ .at = at };
		if (!image_read_u64(l->img, at, &at) || at % 8)
			break;
		if (image_module_of(l->img, at)) {
			head = at;
			break;
		}
	}
	for (size_t i = first; i < l->n; i++)
		l->nodes[i].head = head;
	return head;
}

static bool is_list(const struct stack_lists *l, uint64_t at)
{
	uint64_t next, prev, after, before;

	return image_read_u64(l->img, at, &next) && image_read_u64(l->img, at + 8, &prev) &&
	       image_read_u64(l->img, next + 8, &before) && image_read_u64(l->img, prev, &after) &&
	       before == at && after == at;
}

/*
 * Before 2.34 the list that the main thread's stack is in lies apart, and the two others side by side: first that of
 * stacks in use, then that of those kept for later.
 */
static bool first_of_two(const struct stack_lists *l, uint64_t head)
{
	return is_list(l, head + 16) && !is_list(l, head - 16);
}

bool stack_lists_unjoined(struct stack_lists *l, uint64_t tcb)
{
	uint64_t head = list_head(l, tcb);

	for (size_t i = 0; head && i < l->img->nthreads; i++) {
		uint64_t other = list_head(l, l->img->threads[i].tls);

		/* The main thread's stack is not one of glibc's: its list is the second. */
		if (!other)
			continue;
		if (l->img->threads[i].tid == l->img->pid
		            ? head == other - 16 || first_of_two(l, head)
		            : head == other)
			return true;
	}
	return false;
}

void stack_lists_release(struct stack_lists *l)
{
	idmap_release(&l->index);
	free(l->nodes);
}
