/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sorted array: programs have few mappings of their own, and the rare one with a hundred thousand
 * pays a memmove for each.
 */
#include "capture/bpf/regions.h"

#include <stdlib.h>
#include <string.h>

/* The first region that ends after addr. */
static size_t after(const struct regions *rs, uint64_t addr)
{
	size_t lo = 0, hi = rs->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (rs->items[mid].addr + rs->items[mid].len <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool regions_add(struct regions *rs, const struct region *r)
{
	size_t at = after(rs, r->addr);

	if (!r->len || r->addr + r->len < r->addr)
		return false;
	if (rs->n == rs->cap) {
		size_t cap = rs->cap ? rs->cap * 2 : 64;
		struct region *p = reallocarray(rs->items, cap, sizeof(*p));

		if (!p)
			return false;
		rs->items = p;
		rs->cap = cap;
	}
	memmove(&rs->items[at + 1], &rs->items[at], (rs->n - at) * sizeof(*r));
	rs->items[at] = *r;
	rs->n++;
	return true;
}

size_t regions_remove(struct regions *rs, uint64_t addr, uint64_t len, uint64_t now)
{
	uint64_t end = addr + len;
	size_t touched = 0;

	if (end < addr)
		return 0;
	for (size_t i = after(rs, addr); i < rs->n && rs->items[i].addr < end; touched++) {
		struct region cut = rs->items[i];
		uint64_t cut_end = cut.addr + cut.len;
		struct region before = cut, behind = cut;

		memmove(&rs->items[i], &rs->items[i + 1], (rs->n - i - 1) * sizeof(cut));
		rs->n--;
		rs->gone(rs->arg, cut.addr, now);
		if (cut.addr < addr) {
			before.len = addr - cut.addr;
			if (regions_add(rs, &before)) {
				rs->left(rs->arg, &cut, before.addr, before.len, now);
				i++;
			}
		}
		if (cut_end > end) {
			behind.addr = end;
			behind.len = cut_end - end;
			if (regions_add(rs, &behind))
				rs->left(rs->arg, &cut, behind.addr, behind.len, now);
			return touched + 1;
		}
	}
	return touched;
}

void regions_release(struct regions *rs)
{
	free(rs->items);
	rs->items = NULL;
	rs->n = rs->cap = 0;
}
