/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unwinder's fast path, inlined into the events: docs/UNWINDING.md, unwind.c.
 *
 * A thread's allocations come in sequences that repeat: after this stack, from that place, at that depth,
 * comes that stack.  So each thread keeps a small table from (last path, return address, distance from
 * the stack's top) to the path that followed.  A right guess costs one check of the path's words;
 * nothing is walked and no shared table touched.  A program that defies prediction loses
 * its credit, and then the guess is only tried now and then.
 */
#ifndef SEEP_TRACK_UNWIND_H
#define SEEP_TRACK_UNWIND_H

#include "track/track.h"

#define PATH_UNIT 64u
/*
 * Words compared before the next branch; a path is filled up to a multiple with repeated words.  The
 * number of rounds is what the processor has to guess, and with 8 it is nearly always the same.
 */
#define GROUP 8u

/* Immutable once its index entry is stored. */
struct path {
	uint64_t origin; /* return address it starts from, and kind: path_origin() */
	uint64_t fp;     /* frame pointer - sp, when uses_fp */
	uint32_t site;
	uint32_t span;   /* bytes above sp that are read */
	uint16_t nwords; /* return addresses, a multiple of GROUP */
	uint16_t nlinks; /* saved frame pointers: value - sp */
	bool uses_fp;
	uint64_t value[]; /* nwords + nlinks, then as many uint16_t: offset from sp in words */
};

extern uint8_t *path_base __attribute__((visibility("hidden")));
extern uint32_t path_epoch __attribute__((visibility("hidden")));

uint32_t unwind_probe(struct thread *t, const struct origin *o, unsigned int kind, uint32_t *slot);

ALWAYS_INLINE uint64_t path_origin(const struct origin *o, unsigned int kind)
{
	return o->pc | (uint64_t)kind << 56;
}

ALWAYS_INLINE const struct path *path_at(uint32_t entry)
{
	return (const void *)(path_base + (uint64_t)(entry >> 8) * PATH_UNIT);
}

/* The distance from the stack's top is the same in every thread that took the same way. */
ALWAYS_INLINE uint64_t path_place(const struct thread *t, const struct origin *o)
{
	return (t->stack_hi - o->sp) * 0x9e3779b97f4a7c15ull;
}

/* Whether the stack that starts at o is the one p remembers. */
ALWAYS_INLINE bool path_holds(const struct path *p, const struct origin *o, uint64_t hi,
                              unsigned int kind)
{
	const uint64_t *value = p->value, *end = value + p->nwords, *sp = (const uint64_t *)o->sp;
	const uint16_t *off = (const uint16_t *)(end + p->nlinks);
	uint64_t a, b, c, d;

#define DIFFER(i) (sp[off[i]] ^ value[i])
	if (UNLIKELY(p->origin != path_origin(o, kind) || p->span > hi - o->sp))
		return false;
	do {
		a = DIFFER(0) | DIFFER(1);
		b = DIFFER(2) | DIFFER(3);
		c = DIFFER(4) | DIFFER(5);
		d = DIFFER(6) | DIFFER(7);
		if (UNLIKELY((a | b) | (c | d)))
			return false;
		off += GROUP;
		value += GROUP;
	} while (value < end);
#undef DIFFER
	if (UNLIKELY(p->uses_fp | p->nlinks)) {
		if (p->uses_fp && o->fp - o->sp != p->fp)
			return false;
		for (uint32_t i = 0; i < p->nlinks; i++)
			if (sp[off[i]] - o->sp != value[i])
				return false;
	}
	return true;
}

#define PREDICT_RETRY 64  /* events until the next try when guesses were wrong */
#define PREDICT_CREDIT 32 /* after a right guess; a wrong one costs 4 */

/* Where a thread's table has its guess for the stack that starts at o. */
ALWAYS_INLINE uint32_t *unwind_guess(struct thread *t, const struct origin *o)
{
	uint64_t key = path_place(t, o) ^ (o->pc + t->last_path) * 0xbf58476d1ce4e5b9ull;

	return &t->predicted[(key >> 32 ^ key >> 44) & ((1u << PREDICT_BITS) - 1)];
}

/*
 * The same, before the real allocator is called: the path that will be checked comes nearer while
 * the allocator works.
 */
ALWAYS_INLINE uint32_t *unwind_guess_early(struct thread *t, const struct origin *o)
{
	uint32_t *slot = unwind_guess(t, o);
	const char *p = (const char *)path_at(*slot);

	__builtin_prefetch(p);
	__builtin_prefetch(p + 64);
	__builtin_prefetch(p + 128);
	__builtin_prefetch(p + 192);
	return slot;
}

/*
 * The site of the stack that starts at o; 0: unknown.  slot is its guess.  *ret_usable: its counters are
 * known to have storage in this thread's shard.
 */
ALWAYS_INLINE uint32_t unwind_site(struct thread *t, const struct origin *o, unsigned int kind,
                                   uint32_t *slot, bool *ret_usable)
{
	uint32_t entry = *slot;

	*ret_usable = true;
	if (LIKELY(t->predict_credit >= 0)) {
		if (LIKELY(entry && o->sp - t->stack_lo < t->stack_hi - t->stack_lo &&
		           t->path_epoch == load_relaxed(&path_epoch) &&
		           path_holds(path_at(entry), o, t->stack_hi, kind))) {
			t->unwinds_fast++;
			t->last_path = entry;
			t->predict_credit = PREDICT_CREDIT;
			return path_at(entry)->site;
		}
		t->predict_credit -= 4;
		if (t->predict_credit < 0)
			t->predict_credit = -PREDICT_RETRY;
	} else {
		t->predict_credit++;
	}
	*ret_usable = false;
	return unwind_probe(t, o, kind, slot);
}

#endif
