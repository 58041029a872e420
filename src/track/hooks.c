/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C allocation functions the target calls instead of its own.
 *
 * Each hook is a few instructions that decide "nothing to do" and jump on to the real function,
 * and an *_event function of its own for the rest.  The decision:
 *
 *   allocation  thread.countdown, bytes left until the next one of interest.  When every block is
 *               recorded it is hugely negative; when none is, hugely positive; when sampling, the
 *               distance to the next sample.  A state page wiped by fork has zero there.
 *   free        filter: one byte for each 4 KB page of the address space, hashed, that is zero when
 *               no recorded block can be there.  Pages, not addresses: frees come in the heap's
 *               order, so the bytes they look at share cache lines.  When every block is
 *               recorded, the filter is a single byte that says "maybe" to all.
 *
 * The hooks jump (sibling calls), so an *_event function's caller is the target.  While
 * thread.state is not T_READY, calls pass through.
 *
 * A free is recorded before the real free, because afterwards another thread may own the address.
 */
#include <errno.h>
#include <string.h>

#include "track/hooks.h"

/* ---- filter ---------------------------------------------------------------------------- */

uint8_t filter[1u << FILTER_BITS];
uint8_t filter_maybe = 1; /* every free is looked up: before the start, and in full mode */

static bool filter_used; /* there may be bytes that are not zero */

static void filter_clear(void)
{
	if (filter_used)
		memset(filter, 0, sizeof(filter));
	filter_used = false;
}

void filter_init(void)
{
	const struct ledger_control *c = &g.hdr->control;

	filter_clear();
	store_release(&filter_maybe,
	              (uint8_t)(c->active && !(c->mode == LEDGER_SAMPLED && c->period > 1)));
}

void filter_all(void)
{
	store_release(&filter_maybe, (uint8_t)1);
}

void filter_none(void)
{
	filter_clear();
	store_release(&filter_maybe, (uint8_t)0);
}

/* Saturates: a byte that reached 255 stays there, and its pages are looked up for ever. */
void filter_add(uint64_t addr)
{
	uint8_t *b = &filter[FILTER_SLOT(addr)], v = load_relaxed(b);

	store_relaxed(&filter_used, true);
	while (v != 255 && !__atomic_compare_exchange_n(b, &v, (uint8_t)(v + 1), false,
	                                                __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void filter_remove(uint64_t addr)
{
	uint8_t *b = &filter[FILTER_SLOT(addr)], v = load_relaxed(b);

	while (v != 255 && v != 0 &&
	       !__atomic_compare_exchange_n(b, &v, (uint8_t)(v - 1), false, __ATOMIC_RELAXED,
	                                    __ATOMIC_RELAXED))
		;
}

/* ---- getting in and out: the cold parts of hooks.h -------------------------------------------- */

COLD struct thread *enter_slow(void)
{
	struct thread *t = t_self;

	if (t->state == T_TRACKER) {
		loss(LOSS_NESTED);
		g.suspicious = g.careful = true;
	}
	if (t->state != T_COLD || !thread_begin())
		return NULL;
	t = t_self;
	store_relaxed(&t->state, (uint32_t)T_REAL);
	return t;
}

/*
 * The first allocation after somebody changed the settings.  One that was to be sampled, or was passed over, by the
 * old ones stays so: its bytes were counted.  Any other goes by the new ones.
 */
static void got_stale(struct thread *t, void *p, size_t n, const struct origin *o)
{
	bool sampled = t->mode == M_SAMPLED;

	if (sampled && t->countdown < 0)
		event_sampled(t, (uint64_t)p, n, o);
	thread_settings(t);
	if (sampled || t->mode == M_OFF)
		return;
	if (t->mode == M_FULL) {
		event_sampled(t, (uint64_t)p, n, o);
	} else if ((t->countdown -= bytes_counted(n)) < 0) {
		event_sampled(t, (uint64_t)p, n, o);
		t->countdown = sampler_draw(t, t->period);
	}
}

COLD void catch_up(struct thread *t)
{
	uint32_t state = t->state;

	store_relaxed(&t->state, (uint32_t)T_TRACKER);
	thread_settings(t);
	store_release(&t->state, state);
}

COLD void got_slow(struct thread *t, void *p, size_t n, const struct origin *o)
{
	if (settings_stale(t)) {
		got_stale(t, p, n, o);
	} else if (t->mode == M_SAMPLED && t->countdown < 0) {
		event_sampled(t, (uint64_t)p, n, o);
		t->countdown = sampler_draw(t, t->period);
	} else if (t->mode == M_OFF) {
		t->countdown = COUNTDOWN_OFF;
	}
}

COLD void refused(struct thread *t)
{
	if (t->mode == M_FULL)
		t->countdown = COUNTDOWN_FULL;
	else
		/* Distances have no memory: a new one is as good as what was left of the old. */
		t->countdown = t->mode == M_SAMPLED ? sampler_draw(t, t->period) : COUNTDOWN_OFF;
}

NOINLINE void got_other(struct thread *t, void *p, size_t n, const struct origin *o)
{
	got(t, p, n, o, unwind_guess(t, o));
}

NOINLINE void gone_other(struct thread *t, void *p)
{
	gone(t, p);
}

COLD void lost_free(void)
{
	loss(g.hdr->flags & LEDGER_F_FORKED ? LOSS_INHERITED_FREE : LOSS_UNMATCHED_FREE);
}

/* Before the real functions are known. */
static COLD void *early(size_t n, size_t align)
{
	void *p = bootstrap_alloc(n, align);

	if (!p)
		errno = ENOMEM;
	return p;
}

/*
 * An operator new that is an event itself may get its block under the public name of another function, jemalloc's does: malloc
 * before 5.3, since then aligned_alloc.  That block is recorded already, and this thread is done with it.
 */
ALWAYS_INLINE bool for_new(struct thread *t, const struct origin *o)
{
	if (LIKELY(!cxx_direct) || LIKELY(!in_allocator(o->pc)))
		return false;
	refused(t);
	leave(t);
	return true;
}

/* ---- malloc, calloc ------------------------------------------------------------------------ */

static NOINLINE void *malloc_event(size_t n)
{
	struct origin o = ORIGIN_HERE();
	struct thread *t = enter();
	uint32_t *guess;
	void *p;

	if (UNLIKELY(!t))
		return LIKELY(tracker_resolved()) ? real.malloc(n) : early(n, 16);
	if (for_new(t, &o))
		return real.malloc(n);
	guess = unwind_guess_early(t, &o);
	p = real.malloc(n);
	if (LIKELY(p))
		got(t, p, n, &o, guess);
	else
		refused(t);
	leave(t);
	return p;
}

EXPORT void *malloc(size_t n)
{
	if (LIKELY(!of_interest(n)))
		return real.malloc(n);
	return malloc_event(n);
}

static NOINLINE void *calloc_event(size_t n, size_t size)
{
	struct origin o = ORIGIN_HERE();
	struct thread *t = enter();
	size_t total;
	uint32_t *guess;
	void *p;

	if (UNLIKELY(!t)) {
		if (LIKELY(tracker_resolved()))
			return real.calloc(n, size);
		return __builtin_mul_overflow(n, size, &total) ? NULL : early(total, 16);
	}
	guess = unwind_guess_early(t, &o);
	p = real.calloc(n, size);
	if (LIKELY(p))
		got(t, p, n * size, &o, guess);
	else
		refused(t);
	leave(t);
	return p;
}

EXPORT void *calloc(size_t n, size_t size)
{
	/* An overflowing product makes the real calloc fail; what is subtracted does not matter then. */
	if (LIKELY(!of_interest(n * size)))
		return real.calloc(n, size);
	return calloc_event(n, size);
}

/* ---- free --------------------------------------------------------------------------------------- */

/* All ways to free: the block first, then what else the real function wants. */
#define FREE_HOOK(name, params, args, gone)             \
	static NOINLINE void name##_event params        \
	{                                               \
		struct thread *t;                       \
                                                        \
		if (!p || bootstrap_owns(p))            \
			return;                         \
		t = enter();                            \
		if (LIKELY(t))                          \
			gone(t, p);                     \
		else if (UNLIKELY(!tracker_resolved())) \
			return;                         \
		real.name args;                         \
		if (LIKELY(t))                          \
			leave(t);                       \
	}                                               \
	EXPORT void name params                         \
	{                                               \
		if (LIKELY(!maybe_recorded(p)))         \
			real.name args;                 \
		else                                    \
			name##_event args;              \
	}

FREE_HOOK(free, (void *p), (p), gone)
FREE_HOOK(cfree, (void *p), (p), gone_other)
FREE_HOOK(free_sized, (void *p, size_t n), (p, n), gone_other)
FREE_HOOK(free_aligned_sized, (void *p, size_t align, size_t n), (p, align, n), gone_other)

/* ---- realloc ---------------------------------------------------------------------------------------- */

/* A block from before the real functions were known moves into the real heap. */
static COLD void *realloc_bootstrap(void *p, size_t n)
{
	size_t old = bootstrap_size(p);
	void *q = tracker_resolved() ? malloc(n) : early(n, 16);

	if (q)
		memcpy(q, p, old < n ? old : n);
	return q;
}

/* Takes the old record out, puts it back when the real call fails. */
#define REALLOC_BODY(call, bytes, freed_when)                          \
	struct ledger_block old;                                       \
	bool known = false;                                            \
	void *q;                                                       \
	uint32_t *guess = unwind_guess_early(t, &o);                   \
                                                                       \
	store_relaxed(&t->state, (uint32_t)T_TRACKER);                 \
	if (p) {                                                       \
		known = event_take(t, (uint64_t)p, LEDGER_HEAP, &old); \
		if (UNLIKELY(!known && g.exact))                       \
			lost_free();                                   \
	}                                                              \
	store_release(&t->state, (uint32_t)T_REAL);                    \
	q = call;                                                      \
	store_relaxed(&t->state, (uint32_t)T_TRACKER);                 \
	if (known) {                                                   \
		if (LIKELY(q || (freed_when)))                         \
			event_freed(t, &old);                          \
		else                                                   \
			event_untake(t, (uint64_t)p, &old);            \
	}                                                              \
	if (UNLIKELY(!q))                                              \
		refused(t);                                            \
	else if (still_of_interest(t))                                 \
		got(t, q, bytes, &o, guess);                           \
	leave(t);                                                      \
	return q

static NOINLINE void *realloc_event(void *p, size_t n)
{
	struct origin o = ORIGIN_HERE();
	struct thread *t;

	if (bootstrap_owns(p))
		return realloc_bootstrap(p, n);
	t = enter();
	if (UNLIKELY(!t)) {
		if (LIKELY(tracker_resolved()))
			return real.realloc(p, n);
		return p ? NULL : early(n, 16);
	}
	/* realloc(p, 0) frees in glibc and gives NULL. */
	REALLOC_BODY(real.realloc(p, n), n, n == 0);
}

EXPORT void *realloc(void *p, size_t n)
{
	bool interest = of_interest(n);

	if (LIKELY(!interest && !maybe_recorded(p)))
		return real.realloc(p, n);
	return realloc_event(p, n);
}

static NOINLINE void *reallocarray_event(void *p, size_t n, size_t size)
{
	struct origin o = ORIGIN_HERE();
	struct thread *t;
	size_t total;

	if (UNLIKELY(__builtin_mul_overflow(n, size, &total))) {
		errno = ENOMEM;
		return NULL;
	}
	if (bootstrap_owns(p))
		return realloc_bootstrap(p, total);
	t = enter();
	if (UNLIKELY(!t)) {
		if (LIKELY(tracker_resolved()))
			return real.realloc(p, total);
		return p ? NULL : early(total, 16);
	}
	/* glibc's reallocarray is realloc of the product: the same block, one frame less. */
	REALLOC_BODY(real.realloc(p, total), total, total == 0);
}

EXPORT void *reallocarray(void *p, size_t n, size_t size)
{
	bool interest = of_interest(n * size);

	if (LIKELY(!interest && !maybe_recorded(p)))
		return real.reallocarray ? real.reallocarray(p, n, size)
		                         : reallocarray_event(p, n, size);
	return reallocarray_event(p, n, size);
}

/* ---- the aligned family -------------------------------------------------------------------------------- */

#define ALIGNED_HOOK(name, params, args, bytes, alignment)                           \
	static NOINLINE void *name##_event params                                    \
	{                                                                            \
		struct origin o = ORIGIN_HERE();                                     \
		struct thread *t = enter();                                          \
		void *p;                                                             \
                                                                                     \
		if (UNLIKELY(!t))                                                    \
			return LIKELY(tracker_resolved()) ? real.name args           \
			                                  : early(bytes, alignment); \
		if (for_new(t, &o))                                                  \
			return real.name args;                                       \
		p = real.name args;                                                  \
		if (LIKELY(p))                                                       \
			got_other(t, p, bytes, &o);                                  \
		else                                                                 \
			refused(t);                                                  \
		leave(t);                                                            \
		return p;                                                            \
	}                                                                            \
	EXPORT void *name params                                                     \
	{                                                                            \
		if (LIKELY(!of_interest(bytes)))                                     \
			return real.name args;                                       \
		return name##_event args;                                            \
	}

ALIGNED_HOOK(aligned_alloc, (size_t align, size_t n), (align, n), n, align)
ALIGNED_HOOK(memalign, (size_t align, size_t n), (align, n), n, align)
ALIGNED_HOOK(valloc, (size_t n), (n), n, 4096)
ALIGNED_HOOK(pvalloc, (size_t n), (n), n, 4096)

static NOINLINE int posix_memalign_event(void **out, size_t align, size_t n)
{
	struct origin o = ORIGIN_HERE();
	struct thread *t = enter();
	int r;

	if (UNLIKELY(!t)) {
		if (LIKELY(tracker_resolved()))
			return real.posix_memalign(out, align, n);
		*out = bootstrap_alloc(n, align);
		return *out ? 0 : ENOMEM;
	}
	if (for_new(t, &o))
		return real.posix_memalign(out, align, n);
	r = real.posix_memalign(out, align, n);
	if (LIKELY(r == 0 && *out))
		got_other(t, *out, n, &o);
	else
		refused(t);
	leave(t);
	return r;
}

EXPORT int posix_memalign(void **out, size_t align, size_t n)
{
	if (LIKELY(!of_interest(n)))
		return real.posix_memalign(out, align, n);
	return posix_memalign_event(out, align, n);
}

/* ---- jemalloc's interface --------------------------------------------------------------------------------- */

ALIGNED_HOOK(mallocx, (size_t n, int flags), (n, flags), n, 16)
FREE_HOOK(dallocx, (void *p, int flags), (p, flags), gone_other)
FREE_HOOK(sdallocx, (void *p, size_t n, int flags), (p, n, flags), gone_other)

static NOINLINE void *rallocx_event(void *p, size_t n, int flags)
{
	struct origin o = ORIGIN_HERE();
	struct thread *t = enter();

	if (UNLIKELY(!t))
		return real.rallocx(p, n, flags);
	REALLOC_BODY(real.rallocx(p, n, flags), n, false);
}

EXPORT void *rallocx(void *p, size_t n, int flags)
{
	bool interest = of_interest(n);

	if (LIKELY(!interest && !maybe_recorded(p)))
		return real.rallocx(p, n, flags);
	return rallocx_event(p, n, flags);
}

/* Resizes in place: the block keeps its address; its new size is what the allocator says. */
static NOINLINE size_t xallocx_event(void *p, size_t n, size_t extra, int flags)
{
	struct origin o = ORIGIN_HERE();
	struct thread *t = enter();
	struct ledger_block old;
	size_t size;
	bool known;

	if (UNLIKELY(!t))
		return real.xallocx(p, n, extra, flags);
	store_relaxed(&t->state, (uint32_t)T_TRACKER);
	known = event_take(t, (uint64_t)p, LEDGER_HEAP, &old);
	store_release(&t->state, (uint32_t)T_REAL);
	size = real.xallocx(p, n, extra, flags);
	store_relaxed(&t->state, (uint32_t)T_TRACKER);
	if (known && size < n) {
		event_untake(t, (uint64_t)p, &old);
	} else {
		if (known)
			event_freed(t, &old);
		if (size >= n && still_of_interest(t))
			got_other(t, p, n, &o);
	}
	leave(t);
	return size;
}

EXPORT size_t xallocx(void *p, size_t n, size_t extra, int flags)
{
	bool interest = of_interest(n);

	if (LIKELY(!interest && !maybe_recorded(p)))
		return real.xallocx(p, n, extra, flags);
	return xallocx_event(p, n, extra, flags);
}
