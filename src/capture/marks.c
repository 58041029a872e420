/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ledger says of pieces of memory: see marks.h.
 *
 * MARKS is a log: entries are added, and others take them back.  Sorted by what they speak of (kind, address,
 * size) and then by their order in the log, everything about one place stands together, and what is left is
 * a count.  An entry that takes back what was never said takes back nothing: the parent may have said it
 * before a fork.
 *
 * Everything here may be a lie: entries of unknown kinds, empty ones and those that wrap around the
 * address space are left out.
 */
#include "capture/marks.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "capture/ledger_live.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What an entry speaks of. */
enum subject { IGNORED, REGION, TRACKER, NSUBJECTS };

struct entry {
	uint64_t start, end; /* end 0 for IGNORED: only the address counts */
	uint32_t order;
	uint8_t subject;
	bool back; /* takes back */
};

static bool entry_of(const struct ledger_mark *m, uint32_t order, struct entry *ret)
{
	struct entry e = { .start = m->address, .end = m->address + m->size, .order = order };

	switch (m->kind) {
	case MARK_IGNORE:
	case MARK_UNIGNORE:
		e.subject = IGNORED;
		e.end = 0;
		e.back = m->kind == MARK_UNIGNORE;
		break;
	case MARK_ROOT:
	case MARK_UNROOT:
		e.subject = REGION;
		e.back = m->kind == MARK_UNROOT;
		break;
	case MARK_TRACKER:
	case MARK_UNTRACKER:
		e.subject = TRACKER;
		e.back = m->kind == MARK_UNTRACKER;
		break;
	default:
		return false;
	}
	if (e.subject != IGNORED && e.end <= e.start)
		return false;
	*ret = e;
	return true;
}

static int compare(const struct entry *x, const struct entry *y)
{
	if (x->subject != y->subject)
		return x->subject < y->subject ? -1 : 1;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->end > y->end) - (x->end < y->end);
}

static int by_place(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = compare(x, y);

	return c ? c : (x->order > y->order) - (x->order < y->order);
}

/* ---- the log ---------------------------------------------------------------------------------- */

static int pread_all(int fd, void *buf, size_t len, uint64_t off)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -ESTALE;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* How many entries there are to read; the section may be missing, or a lie. */
static uint64_t count_entries(const struct ledger_file *f)
{
	const struct ledger_section *s = &f->h.marks;
	uint64_t n = f->h.nmarks;

	if (!s->size || s->offset % 4096 || s->offset < sizeof(f->h) ||
	    s->offset > f->h.file_size || s->size > f->h.file_size - s->offset)
		return 0;
	if (n > s->size / sizeof(struct ledger_mark))
		n = s->size / sizeof(struct ledger_mark);
	return n < LEDGER_MAX_MARKS ? n : LEDGER_MAX_MARKS;
}

/* Those that say something, in the order of the log. */
static int read_entries(const struct ledger_file *f, struct entry **ret_entries, size_t *ret_n)
{
	struct ledger_mark chunk[512];
	uint64_t total = count_entries(f), at = 0;
	_cleanup_free_ struct entry *entries = NULL;
	size_t n = 0, cap = 0;

	while (at < total) {
		size_t k = total - at < 512 ? (size_t)(total - at) : 512;
		int r = pread_all(f->fd, chunk, k * sizeof(chunk[0]),
		                  f->h.marks.offset + at * sizeof(chunk[0]));

		if (r < 0)
			return r;
		if (n + k > cap) {
			struct entry *more;

			cap = 2 * cap + k;
			more = reallocarray(entries, cap, sizeof(*more));
			if (!more)
				return -ENOMEM;
			entries = more;
		}
		for (size_t i = 0; i < k; i++)
			n += entry_of(&chunk[i], (uint32_t)(at + i), &entries[n]);
		at += k;
	}
	*ret_entries = TAKE(entries);
	*ret_n = n;
	return 0;
}

/* Sorts, and leaves one entry for each place of which something still holds. */
static size_t settle(struct entry *e, size_t n)
{
	size_t left = 0;

	if (n)
		qsort(e, n, sizeof(*e), by_place);
	for (size_t i = 0, end; i < n; i = end) {
		uint32_t holds = 0;

		for (end = i; end < n && !compare(&e[end], &e[i]); end++) {
			if (!e[end].back)
				holds++;
			else if (holds)
				holds--;
		}
		if (holds)
			e[left++] = e[i];
	}
	return left;
}

/* Appends to ranges in ascending order; what touches becomes one. */
static void append(struct marks_range *r, size_t *n, const struct entry *e)
{
	if (*n && e->start <= r[*n - 1].end) {
		if (e->end > r[*n - 1].end)
			r[*n - 1].end = e->end;
		return;
	}
	r[(*n)++] = (struct marks_range){ e->start, e->end };
}

static int fill(struct ledger_marks *m, const struct entry *e, size_t n)
{
	size_t count[NSUBJECTS] = { 0 };

	for (size_t i = 0; i < n; i++)
		count[e[i].subject]++;
	m->ignored = calloc(count[IGNORED] + 1, sizeof(*m->ignored));
	m->regions = calloc(count[REGION] + 1, sizeof(*m->regions));
	m->tracker = calloc(count[TRACKER] + 1, sizeof(*m->tracker));
	if (!m->ignored || !m->regions || !m->tracker)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (e[i].subject == IGNORED)
			m->ignored[m->nignored++] = e[i].start;
		else if (e[i].subject == REGION)
			append(m->regions, &m->nregions, &e[i]);
		else
			append(m->tracker, &m->ntracker, &e[i]);
	}
	return 0;
}

/* ---- stacks --------------------------------------------------------------------------------------- */

struct stack_list {
	struct marks_range *ranges;
	size_t n, cap;
};

static int take_stacks(void *arg, uint64_t page, const struct ledger_block *slots, size_t n)
{
	struct stack_list *l = arg;

	for (size_t i = 0; i < n; i++) {
		uint64_t start = page + LEDGER_BLOCK_OFFSET(slots[i].head),
			 end = start + LEDGER_BLOCK_SIZE(slots[i].body);

		if (!(slots[i].head & LEDGER_BLOCK_VALID) ||
		    LEDGER_BLOCK_KIND(slots[i].head) != LEDGER_STACK || end <= start)
			continue;
		if (l->n == l->cap) {
			size_t cap = l->cap ? 2 * l->cap : 64;
			struct marks_range *more = reallocarray(l->ranges, cap, sizeof(*more));

			if (!more)
				return -ENOMEM;
			l->ranges = more;
			l->cap = cap;
		}
		l->ranges[l->n++] = (struct marks_range){ start, end };
	}
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct marks_range *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->end > y->end) - (x->end < y->end);
}

/* ---- all of it --------------------------------------------------------------------------------------- */

static int read_all(struct ledger_file *f, struct ledger_marks *m)
{
	_cleanup_free_ struct entry *entries = NULL;
	struct stack_list stacks = { 0 };
	uint64_t torn = 0;
	size_t n;
	int r = read_entries(f, &entries, &n);

	if (!r)
		r = fill(m, entries, settle(entries, n));
	if (r < 0)
		return r;
	r = ledger_live_read(f, take_stacks, &stacks, &torn);
	m->stacks = stacks.ranges;
	m->nstacks = stacks.n;
	if (!r && stacks.n)
		qsort(stacks.ranges, stacks.n, sizeof(*stacks.ranges), by_start);
	return r;
}

struct seep_error *ledger_marks_read(const char *path, struct ledger_marks *ret_marks)
{
	struct ledger_marks m = { 0 };
	struct ledger_file f;
	struct seep_error *err = ledger_file_open(path, &f);
	int r;

	if (err)
		return err;
	r = read_all(&f, &m);
	if (r < 0) {
		err = ledger_file_error(&f, r);
		ledger_marks_release(&m);
	} else {
		*ret_marks = m;
	}
	ledger_file_close(&f);
	return err;
}

void ledger_marks_release(struct ledger_marks *m)
{
	if (!m)
		return;
	free(m->ignored);
	free(m->regions);
	free(m->tracker);
	free(m->stacks);
	*m = (struct ledger_marks){ 0 };
}
