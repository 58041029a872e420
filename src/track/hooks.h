/* SPDX-License-Identifier: Apache-2.0 */
/* What the hooks in hooks*.c share: hooks.c explains it. */
#ifndef SEEP_TRACK_HOOKS_H
#define SEEP_TRACK_HOOKS_H

#include <stdarg.h>

#include "track/track.h"

#define FILTER_BITS 18
#define FILTER_SLOT(addr) ((uint64_t)(addr) >> 12 & ((1u << FILTER_BITS) - 1))

extern uint8_t filter[1u << FILTER_BITS] __attribute__((visibility("hidden")));
extern uint8_t filter_maybe __attribute__((visibility("hidden")));

ALWAYS_INLINE bool maybe_recorded(const void *p)
{
	return load_relaxed(&filter_maybe) | load_relaxed(&filter[FILTER_SLOT(p)]);
}


struct thread *enter_slow(void);
void got_slow(struct thread *t, void *p, size_t n, unsigned int kind, const struct origin *o);
void lost_free(void);

/* The thread's state when this event is to be recorded; NULL: just call the real function. */
ALWAYS_INLINE struct thread *enter(void)
{
	struct thread *t = t_self;

	if (LIKELY(!t->busy && t->mode != T_COLD)) {
		t->busy = 1;
		return t;
	}
	return enter_slow();
}

ALWAYS_INLINE void leave(struct thread *t)
{
	t->busy = 0;
}

/* After an allocation of interest: the record, and when the next one is. */
ALWAYS_INLINE void got(struct thread *t, void *p, size_t n, unsigned int kind, const struct origin *o)
{
	t->busy = 2;
	if (LIKELY(t->mode == T_FULL)) {
		event_alloc(t, (uint64_t)p, n, kind, o);
	} else {
		got_slow(t, p, n, kind, o);
	}
	t->busy = 1;
}

/* Before a free or a realloc: true when it was recorded here. */
ALWAYS_INLINE bool gone(struct thread *t, void *p, unsigned int kind)
{
	bool known;

	t->busy = 2;
	known = event_free(t, (uint64_t)p, kind);
	t->busy = 1;
	if (UNLIKELY(!known && g.exact))
		lost_free();
	return known;
}

/* Size 0 is counted as one byte by the sampler, or such blocks would never be seen. */
ALWAYS_INLINE bool of_interest(size_t n)
{
	return UNLIKELY((t_self->countdown -= (int64_t)(n + !n)) < 0);
}

#endif
