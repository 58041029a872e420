/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events of the heap, inlined into the hooks; event.c has the idea and the rare halves.
 */
#ifndef SEEP_TRACK_EVENT_H
#define SEEP_TRACK_EVENT_H

#include "track/live.h"
#include "track/unwind.h"

/* What a record counts for: (1, size), or more when it was sampled. */
struct weighted {
	uint64_t count, bytes; /* count in units of COUNT_ONE */
};

#define COUNT_ONE (1ull << LEDGER_COUNT_SHIFT)
#define FLUSH_BYTES (256 << 10)
#define HEAD_PERIOD (63ull << 12)

void event_add_shared(uint64_t *count, uint64_t *bytes, struct weighted w) COLD;
struct weighted event_weigh(uint64_t size, unsigned int period, struct ledger_tail *tail,
                            bool freed) COLD;
uint32_t event_sampled(struct thread *t, uint64_t addr, uint64_t size, const struct origin *o);
void event_untake(struct thread *t, uint64_t addr,
                  const struct ledger_block *b); /* event_take was premature */

/* count += w.count, bytes += w.bytes, in a shard that is this thread's own or shared. */
ALWAYS_INLINE void event_add(const struct thread *t, uint64_t *count, uint64_t *bytes,
                             struct weighted w)
{
	if (LIKELY(t->shard >= 0)) {
		*count += w.count;
		*bytes += w.bytes;
	} else {
		event_add_shared(count, bytes, w);
	}
}

/* Without storage for its counters, a site is counted at "stack unknown", which always has some. */
ALWAYS_INLINE uint32_t counted_at(struct thread *t, uint32_t site)
{
	return LIKELY(counters_usable(t, site)) ? site : 0;
}

ALWAYS_INLINE void account(struct thread *t, int64_t bytes)
{
	t->inuse_delta += bytes;
	if (UNLIKELY((uint64_t)(t->inuse_delta + FLUSH_BYTES) > 2 * FLUSH_BYTES))
		totals_flush(t);
}

/* A thread's stack is reserved, not in use: it counts at its site, not in totals. */
ALWAYS_INLINE bool is_stack(uint64_t head)
{
	return LEDGER_BLOCK_KIND(head) == LEDGER_STACK;
}

ALWAYS_INLINE void record_alloc(struct thread *t, uint64_t addr, uint64_t size, uint64_t head,
                                uint32_t site, bool usable)
{
	uint32_t at = usable ? site : counted_at(t, site);
	struct ledger_counters *c = &t->counters[at];
	struct ledger_class *k = &t->classes[ledger_size_class(size)];
	struct weighted w = { COUNT_ONE, size };
	uint64_t body = size;

	if (UNLIKELY(head & HEAD_PERIOD))
		w = event_weigh(size, LEDGER_BLOCK_PERIOD(head), &t->tails[at], false);
	if (UNLIKELY(size >= LEDGER_BLOCK_SIZE_MASK)) {
		loss(LOSS_SIZE_CLAMPED);
		body = w.bytes = LEDGER_BLOCK_SIZE_MASK;
	}
	live_add(addr, head, (uint64_t)site << 40 | body);
	event_add(t, &c->alloc_count, &c->alloc_bytes, w);
	c->samples++; /* in the shared shard a lost increment is of no consequence */
	if (LIKELY(!is_stack(head))) {
		event_add(t, &k->alloc_count, &k->alloc_bytes, w);
		account(t, (int64_t)w.bytes);
	}
}

/* A heap block while every block is recorded. */
ALWAYS_INLINE void event_heap(struct thread *t, uint64_t addr, uint64_t size,
                              const struct origin *o, uint32_t *guess)
{
	bool usable;
	uint32_t site;

	thread_now(t);
	site = unwind_site(t, o, LEDGER_HEAP, guess, &usable);
	record_alloc(t, addr, size, t->head, site, usable);
}

ALWAYS_INLINE bool event_take(struct thread *t, uint64_t addr, unsigned int kind,
                              struct ledger_block *ret)
{
	if (!live_take(addr, kind, ret))
		return false;
	if (UNLIKELY(ret->head & HEAD_PERIOD))
		filter_remove(addr);
	return true;
}

ALWAYS_INLINE void event_freed(struct thread *t, const struct ledger_block *b)
{
	uint32_t now = thread_now(t);
	uint32_t at = counted_at(t, LEDGER_BLOCK_SITE(b->body));
	struct ledger_counters *c = &t->counters[at];
	uint64_t size = LEDGER_BLOCK_SIZE(b->body), *life;
	/* Another thread's clock may be a tick ahead of this one's. */
	int32_t ticks = (int32_t)(now - LEDGER_BLOCK_BIRTH(b->head));
	unsigned int age = ledger_life_bucket(ticks > 0 ? (uint32_t)ticks : 0);
	struct ledger_class *k = &t->classes[ledger_size_class(size)];
	struct weighted w = { COUNT_ONE, size };

	if (UNLIKELY(b->head & HEAD_PERIOD))
		w = event_weigh(size, LEDGER_BLOCK_PERIOD(b->head), &t->tails[at], true);
	event_add(t, &c->free_count, &c->free_bytes, w);
	/* Long and short lives come in no order that could be predicted. */
	life = (uint64_t *)arch_select(age < LEDGER_LIFE_NEAR, (uint64_t)c->life + 8ull * age,
	                               (uint64_t)t->tails[at].life +
	                                       8 * ((uint64_t)age - LEDGER_LIFE_NEAR));
	if (LIKELY(t->shard >= 0))
		*life += w.count;
	else
		__atomic_fetch_add(life, w.count, __ATOMIC_RELAXED);
	if (LIKELY(!is_stack(b->head))) {
		event_add(t, &k->free_count, &k->free_bytes, w);
		account(t, -(int64_t)w.bytes);
	}
}

ALWAYS_INLINE bool event_free(struct thread *t, uint64_t addr, unsigned int kind)
{
	struct ledger_block b;

	if (UNLIKELY(!event_take(t, addr, kind, &b)))
		return false;
	event_freed(t, &b);
	return true;
}

#endif
