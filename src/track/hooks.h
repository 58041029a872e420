/* SPDX-License-Identifier: Apache-2.0 */
/* What the hooks in hooks*.c share: hooks.c explains it. */
#ifndef SEEP_TRACK_HOOKS_H
#define SEEP_TRACK_HOOKS_H

#include <stdarg.h>

#include "track/event.h"

#define FILTER_BITS 18
#define FILTER_SLOT(addr) ((uint64_t)(addr) >> 12 & ((1u << FILTER_BITS) - 1))

extern uint8_t filter[1u << FILTER_BITS] __attribute__((visibility("hidden")));
extern uint8_t filter_maybe __attribute__((visibility("hidden")));

ALWAYS_INLINE bool maybe_recorded(const void *p)
{
	return load_relaxed(&filter_maybe) | load_relaxed(&filter[FILTER_SLOT(p)]);
}

struct thread *enter_slow(void);
void got_slow(struct thread *t, void *p, size_t n, const struct origin *o);
void lost_free(void);

/* The thread when this event is to be recorded; NULL: just call the real function. */
ALWAYS_INLINE struct thread *enter(void)
{
	struct thread *t = t_self;

	if (LIKELY(t->state == T_READY)) {
		t->state = T_REAL;
		return t;
	}
	return enter_slow();
}

/*
 * Whoever sees that a thread is out of the tracker knows that it reads nothing of it any more: threads_passed().  On the way
 * in a plain store will do, and where two follow each other the first costs nothing.
 */
ALWAYS_INLINE void leave(struct thread *t)
{
	store_release(&t->state, (uint32_t)T_READY);
}

/* After an allocation of interest: the record, and when the next one is. */
ALWAYS_INLINE void got(struct thread *t, void *p, size_t n, const struct origin *o, uint32_t *guess)
{
	t->state = T_TRACKER;
	if (LIKELY(t->mode == M_FULL) && !settings_stale(t))
		event_heap(t, (uint64_t)p, n, o, guess);
	else
		got_slow(t, p, n, o);
}

/* The same out of line, for the less frequent hooks. */
void got_other(struct thread *t, void *p, size_t n, const struct origin *o);

/* Before a free: its record goes. */
ALWAYS_INLINE void gone(struct thread *t, void *p)
{
	/*
	 * The record and the allocator's own header are two cache misses in a row when the block is an old
	 * one; asked for now, the second happens during the first.
	 */
	__builtin_prefetch((const char *)p - 8, 1);
	__builtin_prefetch(p, 1);
	t->state = T_TRACKER;
	if (UNLIKELY(!event_free(t, (uint64_t)p, LEDGER_HEAP) && g.exact))
		lost_free();
	store_release(&t->state, (uint32_t)T_REAL);
}

void gone_other(struct thread *t, void *p);

/*
 * Size 0 is counted as one byte by the sampler, or such blocks would never be seen.  An impossible
 * size is cut, so that it cannot turn the sign around; it always comes to refused().
 */
ALWAYS_INLINE int64_t bytes_counted(size_t n)
{
	return (int64_t)((n + !n) & ~(7ull << 61));
}

ALWAYS_INLINE bool of_interest(size_t n)
{
	struct thread *t = t_self;

	return UNLIKELY((t->countdown -= bytes_counted(n)) < 0) || settings_stale(t);
}

/* The same once it was counted. */
ALWAYS_INLINE bool still_of_interest(const struct thread *t)
{
	return t->countdown < 0 || settings_stale(t);
}

/* Before an event that is not sampled: mappings, threads. */
void catch_up(struct thread *t);

/* The real function had no memory: the bytes that were subtracted were never allocated. */
void refused(struct thread *t);

#endif
