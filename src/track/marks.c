/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ledger says of memory, for leak checks: a log in MARKS (wire/ledger.h), and the threads that
 * disabled leak reports.
 *
 * Anyone may add at any time, also a signal handler that interrupted the tracker, so there is no lock: a place
 * is reserved by counting, and the entry's kind is stored last.  The count lives here, not in the
 * shared header: a forked child's copy says how much its parent had written at the moment of the fork,
 * while the parent goes on writing.
 *
 * A thread that disabled leak reports must not take the short cuts from stacks to sites, which know nothing of that.
 * They are all behind one test, whether the thread's predictions are of the current epoch; so such
 * a thread is given an epoch that never is, and those who never disable anything pay nothing (unwind.c).
 */
#include "track/track.h"

#define PAGES (LEDGER_MAX_MARKS * sizeof(struct ledger_mark) / 4096)

_Static_assert(LEDGER_MAX_MARKS * sizeof(struct ledger_mark) % 4096 == 0, "whole pages");

static uint64_t used;      /* entries reserved in this process's ledger */
static uint64_t inherited; /* forked child: how many the parent's had */
static uint8_t page_ready[PAGES];
static uint8_t page_inherited[PAGES]; /* forked child: what page_ready was */

void marks_init(void)
{
	uint64_t ready = (used * sizeof(struct ledger_mark) + 4095) / 4096;

	inherited = used;
	used = 0;
	for (uint64_t i = 0; i < ready && i < PAGES; i++) {
		page_inherited[i] = page_ready[i];
		page_ready[i] = 0;
	}
	mark_add(MARK_TRACKER, (uint64_t)g.ledger, g.ledger_size);
}

static bool have_page(const uint8_t *base, uint64_t page)
{
	if (load_acquire(&page_ready[page]))
		return true;
	if (!ledger_ensure(base + page * 4096, 4096))
		return false;
	store_release(&page_ready[page], (uint8_t)1);
	return true;
}

static bool write_mark(uint64_t id, enum ledger_mark_kind kind, uint64_t address, uint64_t size)
{
	uint8_t *base = g.ledger + g.hdr->marks.offset;
	struct ledger_mark *m = (struct ledger_mark *)base + id;

	/* An entry may lie across two pages. */
	if (!have_page(base, id * sizeof(*m) / 4096) ||
	    !have_page(base, ((id + 1) * sizeof(*m) - 1) / 4096))
		return false;
	m->address = address;
	m->size = size;
	store_release(&m->kind, (uint32_t)kind);
	return true;
}

bool mark_add(enum ledger_mark_kind kind, uint64_t address, uint64_t size)
{
	struct ledger_header *h = g.hdr;
	uint64_t id = load_relaxed(&used), seen;

	if (!h)
		return false;
	do {
		if (id >= h->marks.size / sizeof(struct ledger_mark)) {
			loss(LOSS_MARKS_FULL);
			return false;
		}
	} while (!__atomic_compare_exchange_n(&used, &id, id + 1, false, __ATOMIC_RELAXED,
	                                      __ATOMIC_RELAXED));
	if (!write_mark(id, kind, address, size)) {
		loss(LOSS_MARKS_FULL);
		return false;
	}
	/* Entries below that are not complete yet read as empty. */
	seen = load_relaxed(&h->nmarks);
	while (seen <= id && !__atomic_compare_exchange_n(&h->nmarks, &seen, id + 1, false,
	                                                  __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	return true;
}

void marks_forked(const uint8_t *parent)
{
	const struct ledger_header *h = (const void *)parent;
	const struct ledger_mark *m = (const void *)(parent + h->marks.offset);
	uint64_t n = h->marks.size / sizeof(*m);

	if (n > inherited)
		n = inherited;
	for (uint64_t i = 0; i < n; i++) {
		uint32_t kind;

		/* Where the file system had no room there are no entries, and reading would be a SIGBUS. */
		if (!page_inherited[i * sizeof(*m) / 4096] ||
		    !page_inherited[((i + 1) * sizeof(*m) - 1) / 4096])
			continue;
		kind = load_acquire(&m[i].kind);
		/* What was taken back stays in the log with what takes it back: their order is kept. */
		if (kind == MARK_NONE || m[i].address == (uint64_t)parent)
			continue;
		if (!mark_add((enum ledger_mark_kind)kind, m[i].address, m[i].size))
			break;
	}
}

/* ---- seep_disable() ------------------------------------------------------------------------------- */

__thread uint32_t t_disabled TLS_MODEL;
static __thread uint32_t t_epoch TLS_MODEL;

#define NEVER 0u /* an epoch that never is: path_epoch begins at 1 */

static bool has_state(const struct thread *t)
{
	return t != &thread_cold && t != &thread_off && t->state != T_COLD;
}

void scope_disable(void)
{
	struct thread *t = t_self;

	if (t_disabled++ || !has_state(t))
		return; /* a state made later begins with no epoch at all, which is as good */
	t_epoch = t->path_epoch;
	t->path_epoch = NEVER;
}

void scope_enable(void)
{
	struct thread *t = t_self;

	if (!t_disabled || --t_disabled)
		return;
	/* Its predictions are as good as they were, unless the epoch changed meanwhile. */
	if (has_state(t))
		t->path_epoch = t_epoch;
	t_epoch = NEVER;
}
