/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live heap blocks in address order: see blocks.h.
 *
 * ledger_live_read() gives buckets, one for each page, in the order of their places in the file, but
 * segment after segment: a page comes at most SEGMENT_PAGES before or after another one of its
 * segment, and segments ascend.  So once a page p was given, no page up to p - SEGMENT_PAGES is still to
 * come.  Buckets are kept until twice that distance is filled; then the finished half is sorted by page and
 * handed out.  Inside a page the records are nearly in order, because a block's place in its bucket
 * follows from its offset: an insertion sort costs next to nothing.
 *
 * Nothing of this trusts the ledger: a page that comes too late (no honest table does that) is counted as
 * torn, and so is a second record of one address.
 */
#include "capture/blocks.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "capture/ledger_live.h"
#include "profile/estimate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_PAGES 8192ull
#define PAGE 4096ull

struct page {
	uint64_t address;
	size_t first; /* in records */
	uint32_t n;
};

struct block_reader {
	struct ledger_file f;
	ledger_live_block_fn *fn;
	void *arg;
	int stopped;
	uint64_t torn;

	uint8_t *site_flags; /* one for each site read so far */
	uint64_t nsites;

	struct page *pages;
	size_t npages, cap_pages;
	struct ledger_block *records; /* of all pages, in the order they came */
	size_t nrecords, cap_records;
	uint64_t top;   /* the highest page given */
	uint64_t floor; /* pages below were handed out */
};

/* ---- sites ------------------------------------------------------------------------------- */

/* Flags of the sites that were not read yet. */
static int read_sites(struct block_reader *br)
{
	struct ledger_site chunk[1024];
	uint64_t n = br->f.h.nsites;
	uint8_t *p;

	if (n <= br->nsites)
		return 0;
	p = realloc(br->site_flags, n);
	if (!p)
		return -ENOMEM;
	br->site_flags = p;
	while (br->nsites < n) {
		uint64_t k = n - br->nsites < 1024 ? n - br->nsites : 1024;
		int r = ledger_file_read(&br->f, LEDGER_SITES, br->nsites * sizeof(chunk[0]), chunk,
		                         k * sizeof(chunk[0]));

		if (r < 0)
			return r;
		for (uint64_t i = 0; i < k; i++)
			p[br->nsites + i] = (uint8_t)chunk[i].flags;
		br->nsites += k;
	}
	return 0;
}

/* 1: the site is known; 0: there is none; or negative errno. */
static int know_site(struct block_reader *br, uint32_t site)
{
	int r;

	if (site < br->nsites)
		return 1;
	/* Made since the counts were read? */
	r = ledger_file_counts(&br->f);
	if (!r)
		r = read_sites(br);
	return r < 0 ? r : site < br->nsites;
}

/* ---- handing out --------------------------------------------------------------------------- */

static int emit(struct block_reader *br, uint64_t page, const struct ledger_block *b)
{
	unsigned int period = LEDGER_BLOCK_PERIOD(b->head);
	struct ledger_live_block block = { .address = page + LEDGER_BLOCK_OFFSET(b->head),
		                           .size = LEDGER_BLOCK_SIZE(b->body),
		                           .weight = 1,
		                           .site = LEDGER_BLOCK_SITE(b->body),
		                           .birth = LEDGER_BLOCK_BIRTH(b->head) };
	int r = know_site(br, block.site);

	if (r < 0)
		return r;
	if (!r) {
		br->torn++;
		block.site = 0;
	}
	block.ignored = block.site < br->nsites && br->site_flags[block.site] & LEDGER_SITE_IGNORED;
	/* A period the header does not name (yet) was damaged: the block exists, its weight is lost. */
	if (period && period < br->f.h.nperiods)
		block.period = br->f.h.periods[period];
	if (block.period)
		block.weight = prof_weight(block.size, block.period);
	r = br->fn(br->arg, &block);
	if (r < 0) {
		br->stopped = r;
		return -ECANCELED;
	}
	return 0;
}

static int by_address(const void *a, const void *b)
{
	const struct page *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

static void sort_records(struct ledger_block *b, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct ledger_block x = b[i];
		size_t j = i;

		for (; j && LEDGER_BLOCK_OFFSET(b[j - 1].head) > LEDGER_BLOCK_OFFSET(x.head); j--)
			b[j] = b[j - 1];
		b[j] = x;
	}
}

static int emit_page(struct block_reader *br, const struct page *p)
{
	struct ledger_block *b = br->records + p->first;

	sort_records(b, p->n);
	for (uint32_t i = 0; i < p->n; i++) {
		int r;

		if (i && LEDGER_BLOCK_OFFSET(b[i].head) == LEDGER_BLOCK_OFFSET(b[i - 1].head)) {
			br->torn++;
			continue;
		}
		r = emit(br, p->address, &b[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Hands out the pages below `end` and keeps the others. */
static int hand_out(struct block_reader *br, uint64_t end)
{
	size_t done = 0, kept = 0;

	if (!br->npages)
		return 0;
	qsort(br->pages, br->npages, sizeof(*br->pages), by_address);
	for (; done < br->npages && br->pages[done].address < end; done++) {
		int r = 0;

		if (done && br->pages[done].address == br->pages[done - 1].address)
			br->torn += br->pages[done].n;
		else
			r = emit_page(br, &br->pages[done]);
		if (r < 0)
			return r;
	}
	/*
	 * The records of what stays move to the front.  Their pages are in address order and the records in
	 * the order they came, so they cannot move one over the other: they go through a copy.
	 */
	if (done < br->npages) {
		struct ledger_block *copy;

		for (size_t i = done; i < br->npages; i++)
			kept += br->pages[i].n;
		copy = malloc(kept * sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		br->cap_records = kept;
		kept = 0;
		for (size_t i = done; i < br->npages; i++) {
			struct page *p = &br->pages[i];

			memcpy(copy + kept, br->records + p->first, p->n * sizeof(*copy));
			p->first = kept;
			kept += p->n;
		}
		free(br->records);
		br->records = copy;
	}
	memmove(br->pages, br->pages + done, (br->npages - done) * sizeof(*br->pages));
	br->npages -= done;
	br->nrecords = kept;
	if (end > br->floor)
		br->floor = end;
	return 0;
}

/* ---- taking in -------------------------------------------------------------------------------- */

static int room(void **array, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap : 1024;
	void *p;

	if (n <= *cap)
		return 0;
	while (want < n)
		want *= 2;
	p = realloc(*array, want * size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*cap = want;
	return 0;
}

static int take(void *arg, uint64_t page, const struct ledger_block *slots, size_t n)
{
	struct block_reader *br = arg;
	const uint64_t window = SEGMENT_PAGES * PAGE;
	struct page p = { .address = page };
	int r;

	if (page > br->top)
		br->top = page;
	if (br->npages && br->top >= window && br->top - window > br->floor + window) {
		r = hand_out(br, br->top - window);
		if (r < 0)
			return r;
	}
	r = room((void **)&br->records, br->nrecords + n, &br->cap_records, sizeof(*br->records));
	if (!r)
		r = room((void **)&br->pages, br->npages + 1, &br->cap_pages, sizeof(*br->pages));
	if (r < 0)
		return r;
	p.first = br->nrecords;
	for (size_t i = 0; i < n; i++)
		if ((slots[i].head & LEDGER_BLOCK_VALID) &&
		    LEDGER_BLOCK_KIND(slots[i].head) == LEDGER_HEAP)
			br->records[p.first + p.n++] = slots[i];
	if (!p.n)
		return 0;
	if (page < br->floor) {
		br->torn += p.n;
		return 0;
	}
	br->nrecords += p.n;
	br->pages[br->npages++] = p;
	return 0;
}

static void facts_of(const struct ledger_header *h, struct ledger_facts *ret_facts)
{
	*ret_facts = (struct ledger_facts){ .sampled = h->mode == LEDGER_SAMPLED,
		                            .forked = h->flags & LEDGER_F_FORKED,
		                            .attached = h->flags & LEDGER_F_ATTACHED,
		                            .start_mono_ns = h->start_mono_ns,
		                            .tick_shift = h->tick_shift,
		                            .nsites = (uint32_t)h->nsites };
	snprintf(ret_facts->allocator, sizeof(ret_facts->allocator), "%s", h->allocator);
	/* Whoever changes what is recorded bumps the generation. */
	ret_facts->partial = ret_facts->sampled || ret_facts->forked || ret_facts->attached ||
	                     h->control.generation > 1 || !h->control.active;
}

struct seep_error *ledger_facts_read(const char *path, struct ledger_facts *ret_facts)
{
	struct ledger_file f;
	struct seep_error *err = ledger_file_open(path, &f);

	if (err)
		return err;
	facts_of(&f.h, ret_facts);
	ledger_file_close(&f);
	return NULL;
}

struct seep_error *ledger_blocks_read(const char *path, ledger_live_block_fn *fn, void *arg,
                                      struct ledger_facts *ret_facts, uint64_t *ret_torn,
                                      int *ret_stopped)
{
	struct block_reader br = { .fn = fn, .arg = arg };
	struct seep_error *err = ledger_file_open(path, &br.f);
	int r;

	if (err)
		return err;
	r = read_sites(&br);
	if (!r)
		r = ledger_live_read(&br.f, take, &br, &br.torn);
	if (!r)
		r = hand_out(&br, UINT64_MAX);
	if (r < 0 && !(r == -ECANCELED && br.stopped)) {
		err = ledger_file_error(&br.f, r);
	} else {
		if (ret_facts)
			facts_of(&br.f.h, ret_facts);
		if (ret_torn)
			*ret_torn = br.torn;
		if (ret_stopped)
			*ret_stopped = br.stopped;
	}
	free(br.site_flags);
	free(br.pages);
	free(br.records);
	ledger_file_close(&br.f);
	return err;
}
