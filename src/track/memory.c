/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private memory of the tracker: a bump allocator over mmap that never gives
 * anything back.  What needs freeing is sized in powers of two by its owner and
 * reused there; nothing here is on an event's fast path.
 *
 * All of it is marked in the ledger as the tracker's own: it is full of copies of stack words, which a
 * leak check must not take for pointers of the program.
 */
#include "track/track.h"

#define SLAB ((size_t)1 << 18)

static struct lock mem_lock;
static uint8_t *slab, *slab_end;

void mem_forked(void)
{
	/* Another thread of the parent may have held it; the slab it was cutting from stays with it. */
	mem_lock.word = 0;
	slab = slab_end = NULL;
}

bool lock_wait(struct lock *l)
{
	uint32_t zero;

	/* About a second on an idle machine; far longer than any holder needs. */
	for (int i = 0; i < 20000; i++) {
		for (int j = 0; j < 64; j++) {
			cpu_relax();
			zero = 0;
			if (!load_relaxed(&l->word) &&
			    __atomic_compare_exchange_n(&l->word, &zero, 1, false, __ATOMIC_ACQUIRE,
			                                __ATOMIC_RELAXED))
				return true;
		}
		sys_yield();
	}
	loss(LOSS_CONTENDED);
	return false;
}

static void *pages(size_t size)
{
	void *p = sys_mmap(NULL, size, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return sys_failed((long)p) ? NULL : p;
}

void *mem_reserve(size_t size)
{
	void *p;

	size = (size + 4095) & ~(size_t)4095;
	p = pages(size);
	if (p)
		mark_add(MARK_TRACKER, (uint64_t)p, size);
	return p;
}

void mem_count(int64_t bytes)
{
	uint64_t now = __atomic_add_fetch(&g.private_bytes, (uint64_t)bytes, __ATOMIC_RELAXED);

	if (g.hdr)
		store_relaxed(&g.hdr->private_bytes, now);
}

void *mem_map_roots(size_t size)
{
	void *p;

	size = (size + 4095) & ~(size_t)4095;
	p = pages(size);
	if (p)
		mem_count((int64_t)size);
	return p;
}

void *mem_map(size_t size)
{
	void *p;

	size = (size + 4095) & ~(size_t)4095;
	p = mem_reserve(size);
	if (p)
		mem_count((int64_t)size);
	return p;
}

void mem_unmap(void *p, size_t size)
{
	size = (size + 4095) & ~(size_t)4095;
	/* Before it goes: once gone, the program may map the same place. */
	mark_add(MARK_UNTRACKER, (uint64_t)p, size);
	sys_munmap(p, size);
	mem_count(-(int64_t)size);
}

void *mem_alloc(size_t size)
{
	uint8_t *p = NULL;

	size = (size + 15) & ~(size_t)15;
	if (size > SLAB / 4)
		return mem_map(size);
	if (!lock_take(&mem_lock))
		return NULL;
	if (!slab || size > (size_t)(slab_end - slab)) {
		slab = mem_map(SLAB);
		slab_end = slab ? slab + SLAB : NULL;
	}
	if (slab) {
		p = slab;
		slab += size;
	}
	lock_give(&mem_lock);
	return p;
}
