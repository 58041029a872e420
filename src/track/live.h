/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live table's fast paths, inlined into the events; live.c has the idea and the rest.
 *
 * Fast means: one thread, and the block's home slot or the next.  Whatever else is the case, the slow
 * functions handle.
 */
#ifndef SEEP_TRACK_LIVE_H
#define SEEP_TRACK_LIVE_H

#include "track/track.h"

#define DIR_PAGE_WORDS 512u /* DIR words in one page of the ledger */
#define DIR_PAGES (LEDGER_DIR_SLOTS / DIR_PAGE_WORDS)
#define LIVE_COUNT_ONE (1ull << 5)

/* [address >> 30] → 512 pointers, one for each 2 MB, to DIR pages; NULL: no block was ever there. */
extern uint64_t **live_root[LEDGER_ROOT_SLOTS] __attribute__((visibility("hidden")));

bool live_add_slow(uint64_t addr, uint64_t head, uint64_t body);
bool live_take_slow(uint64_t addr, unsigned int kind, struct ledger_block *ret);

ALWAYS_INLINE uint64_t live_home(uint64_t offset, unsigned int c)
{
	return offset >> 3 << c >> 9;
}

ALWAYS_INLINE uint64_t live_key(uint64_t addr, unsigned int kind)
{
	return LEDGER_BLOCK_VALID | (uint64_t)kind << 1 | (addr & 0xff8);
}

/* The address's DIR word, or NULL when its page of the directory has no storage yet. */
ALWAYS_INLINE uint64_t *live_word(uint64_t addr)
{
	uint64_t **pages, *words;

	if (UNLIKELY(addr >> LEDGER_ROOT_SHIFT >= LEDGER_ROOT_SLOTS))
		return NULL;
	pages = load_acquire(&live_root[addr >> LEDGER_ROOT_SHIFT]);
	if (UNLIKELY(!pages))
		return NULL;
	words = load_acquire(&pages[(addr >> 21) & (DIR_PAGES - 1)]);
	if (UNLIKELY(!words))
		return NULL;
	return &words[(addr >> LEDGER_DIR_SHIFT) & (DIR_PAGE_WORDS - 1)];
}

/*
 * The home slot of addr when its head is `want` under `mask`, else the slot after it, chosen without a
 * branch: which of the two it is no processor can guess.
 */
ALWAYS_INLINE struct ledger_block *live_either(uint64_t w, uint64_t addr, uint64_t mask,
                                               uint64_t want)
{
	unsigned int c = LEDGER_DIR_LOG2(w);
	struct ledger_block *bucket = g.buckets + LEDGER_DIR_BUCKET(w);
	uint64_t home = live_home(addr & 0xff8, c), next = (home + 1) & ~(~0ull << c);
	uint64_t differs = (bucket[home].head & mask) ^ want;

	return &bucket[arch_select(differs, next, home)];
}

/* Records a block; `head` is complete but for the address's bits.  False: no room (counted). */
ALWAYS_INLINE bool live_add(uint64_t addr, uint64_t head, uint64_t body)
{
	uint64_t *word = live_word(addr), w;
	struct ledger_block *b;

	head |= addr & 0xff8;
	if (LIKELY(word != NULL && !g.careful && !(addr & 7))) {
		w = *word;
		b = live_either(w, addr, ~0ull, 0);
		if (LIKELY(b->head == 0)) {
			b->body = body;
			store_release(&b->head, head);
			*word = w + LIVE_COUNT_ONE;
			return true;
		}
	}
	return live_add_slow(addr, head, body);
}

/* Takes a record out.  False: unknown. */
ALWAYS_INLINE bool live_take(uint64_t addr, unsigned int kind, struct ledger_block *ret)
{
	uint64_t *word = live_word(addr), w;
	struct ledger_block *b;

	if (UNLIKELY(!word))
		return false;
	if (LIKELY(!g.careful)) {
		w = *word;
		b = live_either(w, addr, LEDGER_BLOCK_MATCH, live_key(addr, kind));
		ret->head = b->head;
		ret->body = b->body;
		if (LIKELY((ret->head & LEDGER_BLOCK_MATCH) == live_key(addr, kind))) {
			store_relaxed(&b->head, 0ull);
			*word = w - LIVE_COUNT_ONE;
			return true;
		}
	}
	return live_take_slow(addr, kind, ret);
}

/* Puts a record back as it was (a failed realloc). */
ALWAYS_INLINE void live_put(uint64_t addr, const struct ledger_block *b)
{
	live_add(addr, b->head, b->body);
}

#endif
