/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anonymous mappings the program made itself.  A mapping can be unmapped in pieces, from its
 * middle, or together with its neighbours, so the registry is kept in address order and a removal
 * works on ranges: what is left of a mapping stays with the site that made it.
 */
#include "track/track.h"

#include <string.h>

struct region {
	uint64_t start, end;
	uint32_t site;
};

static struct region *regions; /* sorted, disjoint */
static uint64_t count, room;
static struct lock maps_lock;

void maps_init(void)
{
	/* What a forked child inherited is its parent's to show. */
	count = 0;
	maps_lock.word = 0;
}

/* Index of the first region that ends above addr. */
static uint64_t first_above(uint64_t addr)
{
	uint64_t lo = 0, hi = count;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (regions[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool make_room(void)
{
	struct region *more;

	if (count < room)
		return true;
	more = mem_map((room ? 2 * room : 256) * sizeof(*more));
	if (!more)
		return false;
	if (regions) {
		memcpy(more, regions, count * sizeof(*more));
		mem_unmap(regions, room * sizeof(*more));
	}
	regions = more;
	room = room ? 2 * room : 256;
	return true;
}

static void insert(uint64_t at, struct region r)
{
	memmove(&regions[at + 1], &regions[at], (count - at) * sizeof(r));
	regions[at] = r;
	count++;
}

void maps_add(struct thread *t, uint64_t addr, uint64_t size, const struct origin *o)
{
	uint32_t site = event_region(t, addr, size, LEDGER_MMAP, o);

	if (!lock_take(&maps_lock))
		return;
	if (make_room())
		insert(first_above(addr), (struct region){ addr, addr + size, site });
	lock_give(&maps_lock);
}

unsigned int maps_remove(struct thread *t, uint64_t addr, uint64_t size)
{
	uint64_t end = addr + size, i;
	unsigned int touched = 0;

	if (end < addr)
		return 0;
	if (addr < g.foreign_hi && end > g.foreign_lo)
		__atomic_fetch_add(&g.unmap_epoch, 1, __ATOMIC_RELAXED);
	if (!load_relaxed(&count) || !lock_take(&maps_lock))
		return 0;
	for (i = first_above(addr); i < count && regions[i].start < end;) {
		struct region r = regions[i];

		touched++;
		event_free_region(t, r.start, LEDGER_MMAP);
		memmove(&regions[i], &regions[i + 1], (count - i - 1) * sizeof(r));
		count--;
		if (r.start < addr) {
			insert(i++, (struct region){ r.start, addr, r.site });
			event_site_alloc(t, r.start, addr - r.start, LEDGER_MMAP, r.site);
		}
		if (r.end > end) {
			if (!make_room())
				break;
			insert(i++, (struct region){ end, r.end, r.site });
			event_site_alloc(t, end, r.end - end, LEDGER_MMAP, r.site);
		}
	}
	lock_give(&maps_lock);
	return touched;
}
