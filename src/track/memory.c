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
#define WAIT_NS 1000000000ull /* far longer than any holder needs */

static struct lock mem_lock;
static uint8_t *slab, *slab_end;

void mem_forked(void)
{
	/* Another thread of the parent may have held it; the slab it was cutting from stays with it. */
	mem_lock.word = 0;
	slab = slab_end = NULL;
}

/*
 * By the clock: 20,000 yields were 40 ms here, and a holder may be without a processor for longer.  One that a debugger keeps
 * would take a second of each event, so who gave up once is less patient for a while.
 */
bool wait_on(struct wait *w)
{
	static uint64_t impatient_until;
	struct timespec ts;
	uint64_t now;

	if (w->rounds++ < 16)
		return true;
	sys_yield();
	if (w->rounds % 64)
		return true;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	if (!w->until_ns)
		w->until_ns = now + (now < load_relaxed(&impatient_until) ? WAIT_NS / 100 : WAIT_NS);
	if (now < w->until_ns)
		return true;
	store_relaxed(&impatient_until, now + 10 * WAIT_NS);
	loss(LOSS_CONTENDED);
	return false;
}

bool lock_wait(struct lock *l)
{
	struct wait w = { 0 };

	do {
		for (int j = 0; j < 64; j++) {
			cpu_relax();
			if (!load_relaxed(&l->word) && lock_try(l))
				return true;
		}
	} while (wait_on(&w));
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
