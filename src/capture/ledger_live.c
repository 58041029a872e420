/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a ledger's live table while its writer changes it.
 *
 *   ROOT word ──► DIR table ──► DIR word ──► bucket: up to 512 records
 *
 * Only DIR words change under a reader in a way that matters: a bucket that grows
 * is copied, and its old place goes to another page.  So a bucket counts only if
 * its DIR word is the same (but for the lock and the count) after the bucket was
 * read as it was before.  Doing that word by word costs two system calls a page;
 * instead a segment of 8192 words is read, their buckets are sorted by place and
 * fetched in long runs, and then the segment is read again.  The few words that
 * changed meanwhile are read one at a time, up to RETRIES times.
 *
 * A hostile table may name one bucket, or one DIR table, many times over and so
 * turn a megabyte into hours of reading.  Every DIR table is therefore read once
 * and every slot belongs to the first word that claims it (a bitmap): the work is
 * bounded by the storage the file has.  In an honest ledger that rule costs
 * nothing but a page whose bucket was recycled in the instant between the two.
 */
#include "capture/ledger_live.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_WORDS 8192u
#define RETRIES 4u
#define JOIN_GAP 256u          /* slots (4 KB): copying them is cheaper than another system call */
#define RETRY_SLOTS (4u << 20) /* single re-reads altogether, beyond the table's own size */
#define WORD_CHANGES (LEDGER_DIR_LOCK | 0x3ffull << 5)

struct bucket_ref {
	uint64_t word;
	uint64_t first; /* slot in BUCKETS */
	uint32_t index; /* of the word, in its segment */
	uint32_t slots;
	uint64_t at; /* slot in the reader's buffer */
};

struct live_reader {
	struct ledger_file *f;
	ledger_bucket_fn *fn;
	void *arg;
	uint64_t *torn;

	uint64_t *claimed; /* a bit for every slot */
	uint64_t nclaimed; /* slots the bitmap has room for */
	uint8_t *tables;   /* a bit for every DIR table */
	uint64_t ntables;
	uint64_t retry_slots;

	uint64_t *before, *after; /* a segment's words */
	struct bucket_ref *refs;
	struct ledger_block *buf;
	uint64_t buf_slots;
};

static uint64_t words_of(uint64_t bits)
{
	return (bits + 63) / 64;
}

static int grow_claims(struct live_reader *lr)
{
	uint64_t want = lr->f->h.buckets_used;
	uint64_t *p;

	if (want <= lr->nclaimed)
		return 0;
	p = realloc(lr->claimed, words_of(want) * 8);
	if (!p)
		return -ENOMEM;
	memset(p + words_of(lr->nclaimed), 0, (words_of(want) - words_of(lr->nclaimed)) * 8);
	lr->claimed = p;
	lr->nclaimed = want;
	return 0;
}

static int refresh(struct live_reader *lr)
{
	int r = ledger_file_counts(lr->f);

	return r < 0 ? r : grow_claims(lr);
}

/* Sets or clears [first, first + n); with `set`, only if all were clear. */
static bool claim(struct live_reader *lr, uint64_t first, uint64_t n, bool set)
{
	for (int pass = set ? 0 : 1; pass < 2; pass++) {
		uint64_t at = first, end = first + n;

		while (at < end) {
			uint64_t in = at % 64, len = 64 - in < end - at ? 64 - in : end - at;
			uint64_t mask = (len == 64 ? ~0ull : (1ull << len) - 1) << in;
			uint64_t *w = &lr->claimed[at / 64];

			if (pass == 0 && (*w & mask))
				return false;
			if (pass == 1)
				*w = set ? *w | mask : *w & ~mask;
			at += len;
		}
	}
	return true;
}

/* How many blocks a word that cannot be followed stood for. */
static void lost(struct live_reader *lr, uint64_t word)
{
	unsigned int n = LEDGER_DIR_COUNT(word);

	*lr->torn += n ? n : 1;
}

/* Whether word names a bucket inside the section; claims it.  0 no, 1 yes, or negative errno. */
static int follow(struct live_reader *lr, uint64_t word, struct bucket_ref *ref)
{
	uint64_t first = LEDGER_DIR_BUCKET(word), n = 1ull << LEDGER_DIR_LOG2(word);
	int r;

	if (LEDGER_DIR_LOG2(word) > LEDGER_BUCKET_MAX_LOG2)
		return 0;
	if (first + n > lr->nclaimed) { /* both are far below 2^63 */
		/* Handed out since the counts were read? */
		if (first + n > lr->f->h.section[LEDGER_BUCKETS].size / sizeof(struct ledger_block))
			return 0;
		r = refresh(lr);
		if (r < 0)
			return r;
		if (first + n > lr->nclaimed)
			return 0;
	}
	if (!claim(lr, first, n, true))
		return 0;
	ref->word = word;
	ref->first = first;
	ref->slots = (uint32_t)n;
	return 1;
}

static int by_place(const void *a, const void *b)
{
	const struct bucket_ref *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

static int fetch(struct live_reader *lr, uint64_t first, uint64_t n, uint64_t at)
{
	return ledger_file_read(lr->f, LEDGER_BUCKETS, first * sizeof(struct ledger_block),
	                        lr->buf + at, n * sizeof(struct ledger_block));
}

static int room(struct live_reader *lr, uint64_t slots)
{
	struct ledger_block *p;

	if (slots <= lr->buf_slots)
		return 0;
	slots += slots / 2;
	free(lr->buf);
	lr->buf_slots = 0;
	lr->buf = p = malloc(slots * sizeof(*p));
	if (!p)
		return -ENOMEM;
	lr->buf_slots = slots;
	return 0;
}

/* Fetches the buckets of refs[0..n) in runs as long as the gaps allow. */
static int fetch_all(struct live_reader *lr, size_t n)
{
	struct bucket_ref *refs = lr->refs;
	uint64_t total = 0;
	bool sorted = true;
	int r;

	for (size_t i = 1; i < n && sorted; i++)
		sorted = refs[i - 1].first <= refs[i].first;
	if (!sorted)
		qsort(refs, n, sizeof(*refs), by_place);
	for (size_t i = 0; i < n; i++) {
		if (i) {
			uint64_t gap = refs[i].first - (refs[i - 1].first + refs[i - 1].slots);

			total += gap <= JOIN_GAP ? gap : 0;
		}
		refs[i].at = total;
		total += refs[i].slots;
	}
	r = room(lr, total);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n;) {
		size_t j = i + 1;
		uint64_t end = refs[i].first + refs[i].slots;

		while (j < n && refs[j].first - end <= JOIN_GAP) {
			end = refs[j].first + refs[j].slots;
			j++;
		}
		r = fetch(lr, refs[i].first, end - refs[i].first, refs[i].at);
		if (r < 0)
			return r;
		i = j;
	}
	return 0;
}

/* A word that changed while its bucket was read: once more, alone. */
static int retry(struct live_reader *lr, uint64_t word_at, uint64_t page, uint64_t word)
{
	for (unsigned int i = 0; i < RETRIES; i++) {
		struct ledger_block slots[1u << LEDGER_BUCKET_MAX_LOG2];
		struct bucket_ref ref;
		uint64_t again;
		int r;

		if (!word)
			return 0;
		r = follow(lr, word, &ref);
		if (r <= 0) {
			if (!r)
				lost(lr, word);
			return r;
		}
		if (ref.slots > lr->retry_slots)
			break;
		lr->retry_slots -= ref.slots;
		r = ledger_file_read(lr->f, LEDGER_BUCKETS, ref.first * sizeof(slots[0]), slots,
		                     ref.slots * sizeof(slots[0]));
		if (!r)
			r = ledger_file_read(lr->f, LEDGER_DIR, word_at, &again, sizeof(again));
		if (r < 0)
			return r;
		if (!((again ^ word) & ~WORD_CHANGES))
			return lr->fn(lr->arg, page, slots, ref.slots);
		claim(lr, ref.first, ref.slots, false);
		word = again;
	}
	lost(lr, word);
	return 0;
}

/* Words [at, at + n) of the DIR section, in bytes/words; `page` is the first one's address. */
static int read_segment(struct live_reader *lr, uint64_t at, size_t n, uint64_t page)
{
	size_t nrefs = 0;
	int r = ledger_file_read(lr->f, LEDGER_DIR, at, lr->before, n * 8);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		struct bucket_ref *ref = &lr->refs[nrefs];

		if (!lr->before[i])
			continue;
		r = follow(lr, lr->before[i], ref);
		if (r < 0)
			return r;
		ref->index = (uint32_t)i;
		if (r)
			nrefs++;
		else
			lost(lr, lr->before[i]);
	}
	if (!nrefs)
		return 0;
	r = fetch_all(lr, nrefs);
	if (!r)
		r = ledger_file_read(lr->f, LEDGER_DIR, at, lr->after, n * 8);
	if (r < 0)
		return r;
	/* First everything that is certain, then, with their claims given back, the words that moved. */
	for (size_t i = 0; i < nrefs; i++) {
		struct bucket_ref *ref = &lr->refs[i];

		if ((lr->after[ref->index] ^ ref->word) & ~WORD_CHANGES) {
			claim(lr, ref->first, ref->slots, false);
			ref->slots = 0;
			continue;
		}
		r = lr->fn(lr->arg, page + ((uint64_t)ref->index << LEDGER_DIR_SHIFT),
		           lr->buf + ref->at, ref->slots);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < nrefs; i++) {
		struct bucket_ref *ref = &lr->refs[i];

		if (ref->slots)
			continue;
		r = retry(lr, at + ref->index * 8ull,
		          page + ((uint64_t)ref->index << LEDGER_DIR_SHIFT), lr->after[ref->index]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_table(struct live_reader *lr, uint64_t table, uint64_t page)
{
	const uint64_t size = LEDGER_DIR_SLOTS * 8ull;
	uint64_t at = table * size, end = at + size, len;

	while ((len = ledger_file_next(lr->f, LEDGER_DIR, &at, end, SEGMENT_WORDS * 8)) != 0) {
		uint64_t first, last;
		int r;

		/* Whole words, whatever the file system thinks an extent is. */
		first = at & ~7ull;
		last = (at + len + 7) & ~7ull;
		if (last - first > SEGMENT_WORDS * 8)
			last = first + SEGMENT_WORDS * 8;
		if (last > end)
			last = end;
		r = read_segment(lr, first, (last - first) / 8,
		                 page + ((first - table * size) / 8 << LEDGER_DIR_SHIFT));
		if (r < 0)
			return r;
		at = last;
	}
	return 0;
}

/* Whether a ROOT word names a DIR table not read yet; marks it.  0 no, 1 yes, or negative errno. */
static int take_table(struct live_reader *lr, uint64_t word)
{
	uint64_t table = word - 1;
	int r;

	if (table >= lr->f->h.ndirs) {
		r = refresh(lr);
		if (r < 0)
			return r;
	}
	if (table >= lr->f->h.ndirs || table >= LEDGER_ROOT_SLOTS)
		return 0;
	if (lr->tables[table / 8] & 1u << table % 8)
		return 0;
	lr->tables[table / 8] |= (uint8_t)(1u << table % 8);
	return 1;
}

static int read_root(struct live_reader *lr)
{
	enum { WORDS = 8192 };
	_cleanup_free_ uint64_t *words = malloc(WORDS * 8);
	uint64_t at = 0, end = LEDGER_ROOT_SLOTS * 8ull;

	if (!words)
		return -ENOMEM;
	while (ledger_file_next(lr->f, LEDGER_ROOT, &at, end, WORDS * 8)) {
		uint64_t first = at & ~7ull,
			 n = (end - first) / 8 < WORDS ? (end - first) / 8 : WORDS;
		int r = ledger_file_read(lr->f, LEDGER_ROOT, first, words, n * 8);

		if (r < 0)
			return r;
		for (uint64_t i = 0; i < n; i++) {
			if (!words[i])
				continue;
			r = take_table(lr, words[i]);
			if (r > 0)
				r = read_table(lr, words[i] - 1,
				               (first / 8 + i) << LEDGER_ROOT_SHIFT);
			else if (!r)
				++*lr->torn;
			if (r < 0)
				return r;
		}
		at = first + n * 8;
	}
	return 0;
}

int ledger_live_read(struct ledger_file *f, ledger_bucket_fn *fn, void *arg, uint64_t *torn)
{
	struct live_reader lr = { .f = f, .fn = fn, .arg = arg, .torn = torn };
	int r;

	lr.retry_slots = RETRY_SLOTS + f->h.buckets_used;
	lr.tables = calloc(1, LEDGER_ROOT_SLOTS / 8);
	lr.before = malloc(SEGMENT_WORDS * 8);
	lr.after = malloc(SEGMENT_WORDS * 8);
	lr.refs = malloc(SEGMENT_WORDS * sizeof(*lr.refs));
	r = lr.tables && lr.before && lr.after && lr.refs ? grow_claims(&lr) : -ENOMEM;
	if (!r)
		r = read_root(&lr);
	free(lr.claimed);
	free(lr.tables);
	free(lr.before);
	free(lr.after);
	free(lr.refs);
	free(lr.buf);
	return r;
}
