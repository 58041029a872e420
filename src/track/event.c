/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an event changes: the live table, the site's counters, the size classes, the totals.
 *
 * Each thread adds into a shard of its own with plain stores; a thread without one (the 64th at
 * once) shares the last shard and uses atomics.  Nothing of this is read back on the event path.
 *
 * Peak: the composition (what each site held) should be that of the moment when in use was
 * highest.  Copying at every new high would copy hundreds of times while a program grows, for
 * nothing: until in use falls again, the composition of the peak is simply what is in use.  So the
 * copy is made when in use first falls by 1/256 below a high that is not yet copied, and the
 * copy's own total is stored with it.  A process killed at its high needs no copy at all.
 */
#include "track/event.h"

#include <time.h>

#include "track/dropin.h"

/* ---- the rare halves of event.h ----------------------------------------------------- */

void event_add_shared(uint64_t *count, uint64_t *bytes, struct weighted w)
{
	__atomic_fetch_add(count, w.count, __ATOMIC_RELAXED);
	__atomic_fetch_add(bytes, w.bytes, __ATOMIC_RELAXED);
}

static void add_double(double *counter, double v)
{
	double old, sum;

	__atomic_load(counter, &old, __ATOMIC_RELAXED);
	do
		sum = old + v;
	while (!__atomic_compare_exchange(counter, &old, &sum, false, __ATOMIC_RELAXED,
	                                  __ATOMIC_RELAXED));
}

/* Rounded down: a largest weight above the weights themselves would look like mixed sizes. */
static void raise_weight(float *largest, double weight)
{
	union {
		float f;
		uint32_t bits;
	} next = { (float)weight };
	float old, w;

	__atomic_load(largest, &old, __ATOMIC_RELAXED);
	next.bits -= (double)next.f > weight; /* the float before it */
	w = next.f;
	while (w > old && !__atomic_compare_exchange(largest, &old, &w, false, __ATOMIC_RELAXED,
	                                             __ATOMIC_RELAXED))
		;
}

struct weighted event_weigh(uint64_t size, unsigned int period, struct ledger_tail *tail, bool freed)
{
	double p, w = sampler_weight(size, g.hdr->periods[period], &p);

	raise_weight(freed ? &tail->max_weight_freed : &tail->max_weight, w);
	if (!freed) {
		double var = (1 - p) / (p * p);

		add_double(&tail->var_count, var);
		add_double(&tail->var_bytes, var * (double)size * (double)size);
	}
	return (struct weighted){ (uint64_t)(w * COUNT_ONE + 0.5),
		                  (uint64_t)(w * (double)size + 0.5) };
}

uint32_t event_sampled(struct thread *t, uint64_t addr, uint64_t size, const struct origin *o)
{
	bool usable;
	uint32_t site;

	thread_now(t);
	site = unwind_site(t, o, LEDGER_HEAP, unwind_guess(t, o), &usable);
	if (t->period_index)
		filter_add(addr);
	record_alloc(t, addr, size, t->head, site, usable);
	return site;
}

/* Mappings and stacks are few: always exact. */
void event_site_alloc(struct thread *t, uint64_t addr, uint64_t size, unsigned int kind,
                      uint32_t site)
{
	/* The caller may hold a lock. */
	t->quiet = true;
	thread_now(t);
	record_alloc(t, addr, size, (t->head & ~HEAD_PERIOD) | kind << 1, site, false);
	t->quiet = false;
}

uint32_t site_here(struct thread *t, const struct origin *o, unsigned int kind)
{
	bool usable;

	return unwind_site(t, o, kind, unwind_guess(t, o), &usable);
}

uint32_t event_region(struct thread *t, uint64_t addr, uint64_t size, unsigned int kind,
                      const struct origin *o)
{
	uint32_t site = site_here(t, o, kind);

	event_site_alloc(t, addr, size, kind, site);
	return site;
}

bool event_free_region(struct thread *t, uint64_t addr, unsigned int kind)
{
	bool known;

	t->quiet = true;
	known = event_free(t, addr, kind);
	t->quiet = false;
	return known;
}

void event_untake(struct thread *t, uint64_t addr, const struct ledger_block *b)
{
	if (b->head & HEAD_PERIOD)
		filter_add(addr);
	live_put(addr, b);
}

/* ---- totals: peak and timeline ------------------------------------------------------- */

static struct lock totals_lock;
static uint64_t copy_not_before; /* ns since start: copies must not cost more than 5 % of the time */

static uint64_t now_ns(void)
{
	struct timespec ts = { 0, 0 };
	uint64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ns = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	return ns > g.mono_base ? ns - g.mono_base : 0;
}

/* Calls f(sum over shards) for one site.  Only chunks with storage may be touched; unused ones are zero. */
static void site_sum(uint32_t site, int64_t *ret_count, int64_t *ret_bytes)
{
	const struct ledger_counters *base =
		(const void *)(g.ledger + g.hdr->section[LEDGER_COUNTERS].offset);
	int64_t count = 0, bytes = 0;

	for (uint32_t s = 0; s < shards_used(); s++) {
		const struct ledger_counters *c = base + (uint64_t)s * g.max_sites + site;

		if (!shard_has(s, site))
			continue;
		count += (int64_t)(load_relaxed(&c->alloc_count) - load_relaxed(&c->free_count));
		bytes += (int64_t)(load_relaxed(&c->alloc_bytes) - load_relaxed(&c->free_bytes));
	}
	*ret_count = count > 0 ? count : 0;
	*ret_bytes = bytes > 0 ? bytes : 0;
}

static COLD void peak_copy(uint64_t peak)
{
	struct ledger_header *h = g.hdr;
	uint64_t n = load_acquire(&h->nsites), begin = now_ns(), total = 0, end;
	uint32_t which = h->peak_valid ? !h->peak_which : 0;
	struct ledger_peak *to = g.peak + (uint64_t)which * g.max_sites;
	static uint64_t have[2];

	if (n > have[which]) {
		uint64_t want = n + n / 4 > g.max_sites ? g.max_sites : n + n / 4;

		if (!ledger_ensure(to + have[which], (want - have[which]) * sizeof(*to)))
			return;
		have[which] = want;
	}
	for (uint32_t i = 0; i < n; i++) {
		int64_t count, bytes;

		site_sum(i, &count, &bytes);
		to[i].count = (uint64_t)count;
		to[i].bytes = (uint64_t)bytes;
		if (g.sites[i].kind != LEDGER_STACK)
			total += (uint64_t)bytes;
	}
	end = now_ns();
	store_relaxed(&h->peak_copy_bytes, total);
	h->peak_copy_mono_ns = g.mono_base + begin;
	h->peak_copy_sites = n;
	h->peak_which = which;
	store_release(&h->peak_valid, 1u);
	copy_not_before = end + 20 * (end - begin);
	(void)peak;
}

void totals_flush(struct thread *t)
{
	struct ledger_header *h = g.hdr;
	int64_t delta = t->inuse_delta;
	int64_t sum = __atomic_add_fetch(&g.inuse, delta, __ATOMIC_RELAXED);
	uint64_t inuse = sum > 0 ? (uint64_t)sum : 0, peak = load_relaxed(&h->peak_bytes), copied;

	t->inuse_delta = 0;
	if (inuse > peak) {
		store_relaxed(&h->peak_bytes, inuse);
		store_relaxed(&h->peak_mono_ns,
		              g.mono_base + ((uint64_t)t->now << LEDGER_TICK_SHIFT));
		return;
	}
	copied = load_relaxed(&h->peak_valid) ? load_relaxed(&h->peak_copy_bytes) : 0;
	/*
	 * Falling, and the composition now is nearer to the peak than the one copied: copy it.  Where
	 * copies cost too much to be made at every such moment, later ones come closer.
	 */
	if (LIKELY(inuse > peak - peak / 256 || inuse <= copied + copied / 100 + 4096))
		return;
	if (__atomic_exchange_n(&totals_lock.word, 1, __ATOMIC_ACQUIRE))
		return; /* someone else is at it */
	if ((uint64_t)t->now << LEDGER_TICK_SHIFT >= copy_not_before)
		peak_copy(peak);
	lock_give(&totals_lock);
}

/* Every second point goes, the interval doubles: as massif does. */
static void points_halve(struct ledger_header *h)
{
	uint64_t n = h->npoints;

	for (uint64_t i = 0; i < n / 2; i++)
		g.points[i] = g.points[2 * i + 1];
	store_release(&h->npoints, n / 2);
	h->point_interval_ns *= 2;
}

static COLD void point_add(uint64_t ns)
{
	struct ledger_header *h = g.hdr;
	const struct ledger_class *base =
		(const void *)(g.ledger + h->section[LEDGER_CLASSES].offset);
	uint64_t bytes = 0, count = 0;
	struct ledger_point *p;
	int64_t inuse = load_relaxed(&g.inuse);

	if (h->npoints == LEDGER_MAX_POINTS)
		points_halve(h);
	if (!points_room(h->npoints + 1))
		return;
	for (uint32_t s = 0; s < shards_used(); s++) {
		if (!shard_has(s, 0))
			continue;
		for (uint32_t i = 0; i < LEDGER_SIZE_CLASSES; i++) {
			bytes += load_relaxed(&base[s * LEDGER_SIZE_CLASSES + i].alloc_bytes);
			count += load_relaxed(&base[s * LEDGER_SIZE_CLASSES + i].alloc_count);
		}
	}
	p = &g.points[h->npoints];
	p->mono_ns = g.mono_base + ns;
	p->inuse_bytes = inuse > 0 ? (uint64_t)inuse : 0;
	p->alloc_bytes = bytes;
	p->alloc_count = count >> LEDGER_COUNT_SHIFT;
	store_release(&h->npoints, h->npoints + 1);
	store_relaxed(&g.point_due_ns, ns + h->point_interval_ns);
	store_relaxed(&g.next_point_ns, g.watch ? 0 : ns + h->point_interval_ns);
}

void totals_unwinds(struct thread *t)
{
	__atomic_fetch_add(&g.hdr->unwinds_fast, t->unwinds_fast, __ATOMIC_RELAXED);
	__atomic_fetch_add(&g.hdr->unwinds_slow, t->unwinds_slow, __ATOMIC_RELAXED);
	t->unwinds_fast = t->unwinds_slow = 0;
}

void totals_tick(struct thread *t, uint64_t ns)
{
	if (t->inuse_delta)
		totals_flush(t);
	if (LIKELY(ns < load_relaxed(&g.next_point_ns)))
		return;
	if (load_relaxed(&g.watch)) {
		dropin_look(t, ns);
		if (ns < load_relaxed(&g.point_due_ns))
			return;
	}
	totals_unwinds(t);
	if (__atomic_exchange_n(&totals_lock.word, 1, __ATOMIC_ACQUIRE))
		return;
	point_add(ns);
	lock_give(&totals_lock);
}

void totals_forked(void)
{
	totals_lock.word = 0;
	copy_not_before = 0;
	g.inuse = 0;
	g.next_point_ns = g.point_due_ns = 0;
}
