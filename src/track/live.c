/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live table: address → record, 16 bytes each, in the order of the heap.
 *
 *   address  47..30      29..12          11..0
 *            ROOT slot → DIR word →  bucket of 2^c records, home = offset * 2^c / 4096
 *
 * One bucket holds the blocks of one 4 KB page of the target's memory, in address
 * order but for collisions.  So the heap's own locality serves the table: blocks that
 * are used together lie in the same cache lines here too (a scrambling hash was 25 %
 * slower in the prototype), equal-sized blocks fill a bucket without collisions,
 * and memory follows the heap: a bucket doubles when it is full, so there are
 * 16 to 32 bytes for each live block and nothing is ever rehashed as a whole.
 *
 * A block has exactly one owner, but its page may have several, and a bucket moves when it
 * grows: writers of one page exclude each other with a bit in the DIR word (skipped
 * while the process has a single thread).  Readers outside never lock: a record's
 * head is stored last, a moved bucket is complete before the DIR word changes.
 *
 * Reading a hole of a shared mapping would allocate it, or raise SIGBUS on a full
 * file system, so a private directory says which DIR pages have storage.
 */
#include "track/live.h"

#include <string.h>

uint64_t **live_root[LEDGER_ROOT_SLOTS];

static struct lock grow_lock; /* directory growth and the bucket allocator */
static struct growing bucket_space;
static uint64_t free_bucket[LEDGER_BUCKET_MAX_LOG2 + 1]; /* index + 1 of the first free one */

bool live_init(void)
{
	struct ledger_header *h = g.hdr;

	grow_lock.word = 0;
	memset(&bucket_space, 0, sizeof(bucket_space));
	memset(free_bucket, 0, sizeof(free_bucket));
	bucket_space.base = (uint8_t *)g.buckets;
	bucket_space.size = h->section[LEDGER_BUCKETS].size;
	bucket_space.step = 64 << 10;
	/* Slot 0 belongs to no page and is never empty: a DIR word of 0 leads there. */
	if (!growing_need(&bucket_space, sizeof(g.buckets[0])))
		return false;
	bucket_space.used = sizeof(g.buckets[0]);
	g.buckets[0].head = LEDGER_BLOCK_VALID << 1;
	h->buckets_used = 1;
	/* A forked child inherits its parent's directory, which points into the parent's ledger; attached again, ours into the last one. */
	for (uint32_t i = 0; i < LEDGER_ROOT_SLOTS; i += 4096 / sizeof(void *)) {
		bool used = false;

		if (!(h->flags & (LEDGER_F_FORKED | LEDGER_F_ATTACHED)))
			break;
		for (uint32_t j = i; j < i + 4096 / sizeof(void *); j++)
			used |= live_root[j] != NULL;
		if (used)
			memset(&live_root[i], 0, 4096);
	}
	return true;
}

/* ---- buckets ---------------------------------------------------------------------- */

/* Under grow_lock.  Index of 2^c empty slots, or UINT64_MAX. */
static uint64_t bucket_new(unsigned int c)
{
	uint64_t idx = free_bucket[c], n = 1ull << c;

	if (idx) {
		struct ledger_block *b = &g.buckets[idx - 1];

		free_bucket[c] = b->body;
		b->body = 0;
		return idx - 1;
	}
	idx = bucket_space.used / sizeof(struct ledger_block);
	if (!growing_need(&bucket_space, (idx + n) * sizeof(struct ledger_block)))
		return UINT64_MAX;
	bucket_space.used += n * sizeof(struct ledger_block);
	store_release(&g.hdr->buckets_used, idx + n);
	return idx;
}

static void bucket_free(uint64_t idx, unsigned int c)
{
	struct ledger_block *b = &g.buckets[idx];

	/* Readers that still look here find empty slots: heads go first. */
	for (uint64_t i = 0; i < 1ull << c; i++)
		store_relaxed(&b[i].head, 0ull);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	b->body = free_bucket[c];
	free_bucket[c] = idx + 1;
}

/* Copies a bucket's blocks into a larger empty one. */
static void bucket_copy(const struct ledger_block *from, unsigned int fc, struct ledger_block *to,
                        unsigned int tc)
{
	uint64_t mask = (1ull << tc) - 1;

	for (uint64_t i = 0; i < 1ull << fc; i++) {
		uint64_t at;

		if (!(from[i].head & LEDGER_BLOCK_VALID))
			continue;
		at = live_home(LEDGER_BLOCK_OFFSET(from[i].head), tc);
		while (to[at].head)
			at = (at + 1) & mask;
		to[at].body = from[i].body;
		store_release(&to[at].head, from[i].head);
	}
}

/* ---- directory --------------------------------------------------------------------- */

static COLD uint64_t *dir_page_new(uint64_t addr)
{
	uint64_t top = addr >> LEDGER_ROOT_SHIFT, page = (addr >> 21) & (DIR_PAGES - 1);
	uint64_t **pages, *words = NULL, dir;

	if (top >= LEDGER_ROOT_SLOTS || !lock_take(&grow_lock))
		return NULL;
	pages = live_root[top];
	if (!pages) {
		pages = mem_alloc(DIR_PAGES * sizeof(*pages));
		if (!pages)
			goto out;
		store_release(&live_root[top], pages);
	}
	if (pages[page]) {
		words = pages[page];
		goto out;
	}
	if (!ledger_ensure(&g.root[top], sizeof(g.root[top])))
		goto out;
	dir = g.root[top];
	if (!dir) {
		if (g.hdr->ndirs >= g.max_dirs)
			goto out;
		dir = ++g.hdr->ndirs;
		store_release(&g.root[top], dir);
	}
	words = g.dirs + (dir - 1) * LEDGER_DIR_SLOTS + page * DIR_PAGE_WORDS;
	if (!ledger_ensure(words, 4096))
		words = NULL;
	else
		store_release(&pages[page], words);
out:
	lock_give(&grow_lock);
	return words;
}

static COLD bool word_wait(uint64_t *word, uint64_t *ret)
{
	struct wait wait = { 0 };

	do {
		uint64_t w = load_relaxed(word);

		for (int j = 0; j < 32 && (w & LEDGER_DIR_LOCK); j++) {
			cpu_relax();
			w = load_relaxed(word);
		}
		if (!(w & LEDGER_DIR_LOCK) &&
		    __atomic_compare_exchange_n(word, &w, w | LEDGER_DIR_LOCK, false,
		                                __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
			*ret = w;
			return true;
		}
	} while (wait_on(&wait));
	g.suspicious = g.careful = true;
	return false;
}

/* Takes a page's lock; *ret is its DIR word without the lock bit. */
ALWAYS_INLINE bool word_lock(uint64_t *word, uint64_t *ret)
{
	uint64_t w = load_relaxed(word);

	if (LIKELY(!g.multi)) {
		*ret = w;
		return true;
	}
	if (LIKELY(!(w & LEDGER_DIR_LOCK) &&
	           __atomic_compare_exchange_n(word, &w, w | LEDGER_DIR_LOCK, false,
	                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))) {
		*ret = w;
		return true;
	}
	return word_wait(word, ret);
}

ALWAYS_INLINE void word_unlock(uint64_t *word, uint64_t w)
{
	store_release(word, w);
}

#define WORD(idx, c, count) ((uint64_t)(idx) << 16 | (uint64_t)(count) << 5 | (uint64_t)(c) << 1)

/* The page's first bucket, or one twice as large.  Page locked.  False: no room. */
static COLD bool bucket_grow(uint64_t *w, uint64_t size)
{
	unsigned int c = LEDGER_DIR_LOG2(*w), nc;
	uint64_t old = LEDGER_DIR_BUCKET(*w), count = LEDGER_DIR_COUNT(*w), idx;

	if (*w) {
		nc = c + 1;
	} else {
		/* A page of equal blocks will hold 4096/size of them; begin with a quarter. */
		nc = 0;
		while (nc < 6 && (4096ull >> (nc + 2)) >= (size < 16 ? 16 : size))
			nc++;
	}
	if (nc > LEDGER_BUCKET_MAX_LOG2 || !lock_take(&grow_lock))
		return false;
	idx = bucket_new(nc);
	if (idx == UINT64_MAX && !*w && nc) {
		nc = 0;
		idx = bucket_new(nc);
	}
	lock_give(&grow_lock);
	if (idx == UINT64_MAX)
		return false;
	if (*w)
		bucket_copy(&g.buckets[old], c, &g.buckets[idx], nc);
	*w = WORD(idx, nc, count);
	return true;
}

/* ---- the three operations ------------------------------------------------------------ */

/* Slot of the record that matches `key` under LEDGER_BLOCK_MATCH, or NULL. */
ALWAYS_INLINE struct ledger_block *find(uint64_t w, uint64_t key)
{
	unsigned int c = LEDGER_DIR_LOG2(w);
	struct ledger_block *b = g.buckets + LEDGER_DIR_BUCKET(w);
	uint64_t mask = (1ull << c) - 1, at = live_home(LEDGER_BLOCK_OFFSET(key), c);

	for (uint64_t n = 0; n <= mask; n++) {
		if (LIKELY((b[at].head & LEDGER_BLOCK_MATCH) == key))
			return &b[at];
		at = (at + 1) & mask;
	}
	return NULL;
}

/* Stores a record in a locked page; grows its bucket when needed. */
ALWAYS_INLINE bool put(uint64_t *word, uint64_t w, uint64_t head, uint64_t body)
{
	struct ledger_block *b;
	uint64_t mask, at, old = w;
	unsigned int c;

	if (UNLIKELY(!w || LEDGER_DIR_COUNT(w) >= 1u << LEDGER_DIR_LOG2(w))) {
		if (!bucket_grow(&w, LEDGER_BLOCK_SIZE(body))) {
			word_unlock(word, old);
			return false;
		}
	}
	c = LEDGER_DIR_LOG2(w);
	b = g.buckets + LEDGER_DIR_BUCKET(w);
	mask = (1ull << c) - 1;
	at = live_home(LEDGER_BLOCK_OFFSET(head), c);
	for (uint64_t n = 0; UNLIKELY(b[at].head != 0); n++) {
		if (n > mask) {
			/* The count was wrong (a lost lock): set it right, drop this one. */
			word_unlock(word, WORD(LEDGER_DIR_BUCKET(w), c, mask + 1));
			return false;
		}
		at = (at + 1) & mask;
	}
	b[at].body = body;
	store_release(&b[at].head, head);
	word_unlock(word, w + LIVE_COUNT_ONE);
	/* Readers that followed the old word have the old bucket; it is emptied only now. */
	if (UNLIKELY(old && LEDGER_DIR_BUCKET(old) != LEDGER_DIR_BUCKET(w)) &&
	    lock_take(&grow_lock)) {
		bucket_free(LEDGER_DIR_BUCKET(old), LEDGER_DIR_LOG2(old));
		lock_give(&grow_lock);
	}
	return true;
}

bool live_add_slow(uint64_t addr, uint64_t head, uint64_t body)
{
	uint64_t *word = live_word(addr), w;
	struct ledger_block *stale;

	if (!word)
		word = dir_page_new(addr);
	if (!word || (addr & 7))
		goto full;
	word = live_word(addr);
	if (!word || !word_lock(word, &w))
		goto full;
	if (UNLIKELY(g.suspicious && w)) {
		stale = find(w, head & LEDGER_BLOCK_MATCH);
		if (stale) {
			loss(LOSS_STALE);
			store_relaxed(&stale->head, 0ull);
			w -= LIVE_COUNT_ONE;
		}
	}
	if (put(word, w, head, body))
		return true;
full:
	loss(LOSS_LIVE_FULL);
	return false;
}

bool live_take_slow(uint64_t addr, unsigned int kind, struct ledger_block *ret)
{
	uint64_t *word = live_word(addr), w;
	struct ledger_block *b;

	if (!word || !load_relaxed(word) || (addr & 7) || !word_lock(word, &w))
		return false;
	b = w ? find(w, live_key(addr, kind)) : NULL;
	if (b) {
		*ret = *b;
		store_relaxed(&b->head, 0ull);
		w -= LIVE_COUNT_ONE;
	}
	word_unlock(word, w);
	return b != NULL;
}
