/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live table of a ledger, written by one thread: docs/LEDGER.md has the picture.
 *
 * A bucket holds the blocks that begin in one 4096-byte page of the target.  It doubles when it is full:
 * the copy is complete before the directory's word changes, and only then the old one is emptied.
 * A record's body is stored before its head.  That is all a reader needs.
 */
#include "capture/ledger_writer_private.h"

#define WORD(idx, c, count) ((uint64_t)(idx) << 16 | (uint64_t)(count) << 5 | (uint64_t)(c) << 1)
#define COUNT_ONE (1ull << 5)

static uint64_t home(uint64_t head, unsigned int c)
{
	return (uint64_t)(LEDGER_BLOCK_OFFSET(head) >> 3) << c >> 9;
}

static struct ledger_block *slots(const struct ledger_writer *w, uint64_t idx)
{
	return (struct ledger_block *)writer_section(w, LEDGER_BUCKETS) + idx;
}

bool writer_live_init(struct ledger_writer *w)
{
	/* Slot 0 belongs to no page: a word of 0 leads there. */
	struct ledger_block *b = writer_item(w, LEDGER_BUCKETS, 0, sizeof(*b));

	if (!b)
		return false;
	b->head = LEDGER_BLOCK_VALID << 1;
	w->h->buckets_used = 1;
	return true;
}

/* The directory's word for an address; NULL: there is none, and with `make` no room for one. */
static uint64_t *word_of(struct ledger_writer *w, uint64_t addr, bool make)
{
	uint64_t top = addr >> LEDGER_ROOT_SHIFT, *root, dir, i;

	if (top >= LEDGER_ROOT_SLOTS || !(root = writer_item(w, LEDGER_ROOT, top, sizeof(*root))))
		return NULL;
	dir = *root;
	if (!dir) {
		if (!make || (w->h->ndirs + 1) * LEDGER_DIR_SLOTS * sizeof(uint64_t) >
		                     w->h->section[LEDGER_DIR].size)
			return NULL;
		dir = w->h->ndirs + 1;
		STORE_RELEASE(&w->h->ndirs, dir);
		STORE_RELEASE(root, dir);
	}
	i = (dir - 1) * LEDGER_DIR_SLOTS + (addr >> LEDGER_DIR_SHIFT & (LEDGER_DIR_SLOTS - 1));
	return writer_item(w, LEDGER_DIR, i, sizeof(uint64_t));
}

/* Index of 2^c empty slots, 0: no room. */
static uint64_t bucket_new(struct ledger_writer *w, unsigned int c)
{
	const struct ledger_section *s = &w->h->section[LEDGER_BUCKETS];
	uint64_t idx = w->free_bucket[c], n = 1ull << c;

	if (idx) {
		struct ledger_block *b = slots(w, idx - 1);

		w->free_bucket[c] = b->body;
		b->body = 0;
		return idx - 1;
	}
	idx = w->h->buckets_used;
	if (idx + n > s->size / sizeof(struct ledger_block) ||
	    !writer_ensure(w, s->offset + idx * sizeof(struct ledger_block),
	                   n * sizeof(struct ledger_block)))
		return 0;
	STORE_RELEASE(&w->h->buckets_used, idx + n);
	return idx;
}

static void bucket_free(struct ledger_writer *w, uint64_t idx, unsigned int c)
{
	struct ledger_block *b = slots(w, idx);

	for (uint64_t i = 0; i < 1ull << c; i++)
		STORE_RELEASE(&b[i].head, 0ull);
	b->body = w->free_bucket[c];
	w->free_bucket[c] = idx + 1;
}

static void slot_put(struct ledger_block *b, unsigned int c, uint64_t head, uint64_t body)
{
	uint64_t mask = (1ull << c) - 1, at = home(head, c);

	while (b[at].head)
		at = (at + 1) & mask;
	b[at].body = body;
	STORE_RELEASE(&b[at].head, head);
}

static struct ledger_block *find(const struct ledger_writer *w, uint64_t word, uint64_t key)
{
	unsigned int c = LEDGER_DIR_LOG2(word);
	struct ledger_block *b = slots(w, LEDGER_DIR_BUCKET(word));
	uint64_t mask = (1ull << c) - 1, at = home(key, c);

	for (uint64_t n = 0; n <= mask; n++, at = (at + 1) & mask)
		if ((b[at].head & LEDGER_BLOCK_MATCH) == key)
			return &b[at];
	return NULL;
}

/* A bucket twice as large, or a page's first: a page of equal blocks will hold 4096/size, begin with a quarter. */
static uint64_t grown(struct ledger_writer *w, uint64_t word, uint64_t size)
{
	unsigned int c = word ? LEDGER_DIR_LOG2(word) + 1 : 0;
	const struct ledger_block *old = slots(w, LEDGER_DIR_BUCKET(word));
	uint64_t idx;

	while (!word && c < 6 && 4096ull >> (c + 2) >= (size < 16 ? 16 : size))
		c++;
	if (c > LEDGER_BUCKET_MAX_LOG2 || !(idx = bucket_new(w, c)))
		return 0;
	for (uint64_t i = 0; word && i < 1ull << LEDGER_DIR_LOG2(word); i++)
		if (old[i].head & LEDGER_BLOCK_VALID)
			slot_put(slots(w, idx), c, old[i].head, old[i].body);
	return WORD(idx, c, LEDGER_DIR_COUNT(word));
}

bool writer_live_add(struct ledger_writer *w, uint64_t addr, uint64_t head, uint64_t body,
                     struct ledger_block *ret_stale)
{
	uint64_t *word = addr & 7 ? NULL : word_of(w, addr, true), old, now;
	struct ledger_block *stale;

	ret_stale->head = 0;
	if (!word)
		return false;
	old = now = *word;
	stale = old ? find(w, old, head & LEDGER_BLOCK_MATCH) : NULL;
	if (stale) {
		*ret_stale = *stale;
		STORE_RELEASE(&stale->head, 0ull);
		stale->body = body;
		STORE_RELEASE(&stale->head, head);
		return true;
	}
	if (!old || LEDGER_DIR_COUNT(old) >= 1u << LEDGER_DIR_LOG2(old)) {
		now = grown(w, old, LEDGER_BLOCK_SIZE(body));
		if (!now)
			return false;
	}
	slot_put(slots(w, LEDGER_DIR_BUCKET(now)), LEDGER_DIR_LOG2(now), head, body);
	STORE_RELEASE(word, now + COUNT_ONE);
	if (old && LEDGER_DIR_BUCKET(old) != LEDGER_DIR_BUCKET(now))
		bucket_free(w, LEDGER_DIR_BUCKET(old), LEDGER_DIR_LOG2(old));
	return true;
}

bool writer_live_take(struct ledger_writer *w, uint64_t addr, unsigned int kind,
                      struct ledger_block *ret_block)
{
	uint64_t *word = addr & 7 ? NULL : word_of(w, addr, false);
	struct ledger_block *b;

	if (!word || !*word)
		return false;
	b = find(w, *word, LEDGER_BLOCK_VALID | kind << 1 | (addr & 0xff8));
	if (!b)
		return false;
	*ret_block = *b;
	STORE_RELEASE(&b->head, 0ull);
	STORE_RELEASE(word, *word - COUNT_ONE);
	return true;
}
