/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live blocks of a raw heaptrack file: a hash table with linear probing.  Blocks come and go by the
 * million, so a removal closes the gap it leaves (entries behind it move up unless that would take them away
 * from where a search begins) instead of leaving a mark that searches would have to step over for ever.
 */
#include "format/heaptrack.h"

#include <errno.h>
#include <stdlib.h>

#include "base/large.h"

static size_t home(const struct live_blocks *l, uint64_t address)
{
	return (size_t)hash_mix(address, 0) & (l->cap - 1);
}

static size_t find(const struct live_blocks *l, uint64_t address)
{
	size_t at = home(l, address);

	while (l->slots[at].used && l->slots[at].address != address)
		at = (at + 1) & (l->cap - 1);
	return at;
}

static int grow(struct live_blocks *l)
{
	struct live_blocks bigger = { .cap = l->cap ? l->cap * 2 : 1024, .n = l->n };

	bigger.slots = large_zero(bigger.cap * sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < l->cap; i++)
		if (l->slots[i].used)
			bigger.slots[find(&bigger, l->slots[i].address)] = l->slots[i];
	free(l->slots);
	*l = bigger;
	return 0;
}

int live_blocks_put(struct live_blocks *l, uint64_t address, uint64_t size, uint32_t site)
{
	struct live_block *slot;

	if (l->n >= l->cap / 2 && grow(l) < 0)
		return -ENOMEM;
	slot = &l->slots[find(l, address)];
	l->n += !slot->used;
	*slot = (struct live_block){ address, size, site, true };
	return 0;
}

bool live_blocks_take(struct live_blocks *l, uint64_t address, uint64_t *ret_size,
                      uint32_t *ret_site)
{
	size_t mask = l->cap - 1, gap, at;

	if (!l->cap)
		return false;
	gap = find(l, address);
	if (!l->slots[gap].used)
		return false;
	*ret_size = l->slots[gap].size;
	*ret_site = l->slots[gap].site;
	for (at = (gap + 1) & mask; l->slots[at].used; at = (at + 1) & mask) {
		size_t start = home(l, l->slots[at].address);

		/* between the gap and where it is, a search for it would still find it */
		if (((at - start) & mask) < ((at - gap) & mask))
			continue;
		l->slots[gap] = l->slots[at];
		gap = at;
	}
	l->slots[gap].used = false;
	l->n--;
	return true;
}

void live_blocks_release(struct live_blocks *l)
{
	free(l->slots);
	*l = (struct live_blocks){ 0 };
}
