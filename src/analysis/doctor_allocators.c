/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocators without a walker: jemalloc, tcmalloc, mimalloc.
 *
 * Each is asked for its statistics before the look, by a thread of the process that is borrowed for the call; the process is not
 * stopped as a whole for that.  The split then takes what they say out of the anonymous memory that has no other owner.  They
 * count what they have mapped and not what is resident, so there may be less left than they say; so first come pages
 * that have been in use for sure, and last caches and their own data, which are mapped long before they are touched.
 *
 * Blocks that a ledger knows in such an allocator are better than its word: they were counted page by page already.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor_private.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "heap/allocators.h"

_Static_assert(ALLOCATOR_UNKNOWN == DOCTOR_UNKNOWN_FACT, "one word for not known");

static uint64_t known(uint64_t v)
{
	return allocator_known(v) ? v : 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return allocator_known(a) && allocator_known(b) ? (a > b ? a - b : 0) : ALLOCATOR_UNKNOWN;
}

static void add(struct doctor *d, enum doctor_fact f, uint64_t v)
{
	if (allocator_known(v))
		d->facts[f] = doctor_fact(d, f) + v;
}

static void take_stats(struct doctor *d, enum allocator_kind kind, const struct allocator_stats *s,
                       struct doctor_allocator *a)
{
	a->live = allocator_known(s->live) ? s->live : s->allocated;
	a->active = s->active;
	a->resident = allocator_known(s->resident) ? s->resident : s->committed;
	a->metadata = s->metadata;
	a->mapped = s->mapped;
	a->retained = s->retained;
	a->caches = known(s->thread_cache) + known(s->central_cache) + known(s->transfer_cache);
	a->free = ALLOCATOR_UNKNOWN;
	switch (kind) {
	case ALLOCATOR_JEMALLOC:
		a->free = allocator_known(s->dirty)
		                  ? s->dirty + known(s->muzzy)
		                  : less(s->resident, known(s->active) + known(s->metadata));
		add(d, FACT_JEMALLOC_DIRTY, a->free);
		add(d, FACT_JEMALLOC_INTERNAL, less(s->active, s->allocated));
		add(d, FACT_JEMALLOC_ACTIVE, s->active);
		add(d, FACT_JEMALLOC_RESIDENT, s->resident);
		break;
	case ALLOCATOR_GPERFTOOLS:
	case ALLOCATOR_TCMALLOC:
		a->free = s->pageheap_free;
		add(d, FACT_TCMALLOC_FREE, s->pageheap_free);
		add(d, FACT_TCMALLOC_CACHES, a->caches);
		add(d, FACT_TCMALLOC_HEAP,
		    allocator_known(s->committed) ? s->committed
		                                  : less(s->mapped, known(s->pageheap_unmapped)));
		break;
	case ALLOCATOR_MIMALLOC:
		/* Of segments of a known layout it is known page by page; else what it committed counts. */
		a->free = allocator_known(s->dirty) ? s->dirty : less(s->committed, a->live);
		add(d, FACT_MIMALLOC_RESIDENT, a->resident);
		add(d, FACT_MIMALLOC_LIVE, a->live);
		break;
	default:
		break;
	}
	add(d, FACT_OTHER_RESIDENT, a->resident);
}

static struct seep_error *add_allocator(struct doctor *d, const struct allocator *a,
                                        const struct allocator_stats *s, const char *note)
{
	struct doctor_allocator *grown =
		reallocarray(d->allocators, d->nallocators + 1, sizeof(*grown));
	struct doctor_allocator *new;

	if (!grown)
		return &seep_error_nomem;
	d->allocators = grown;
	new = &grown[d->nallocators];
	memset(new, 0xff, sizeof(*new));
	new->name = new->note = NULL;
	if (asprintf(&new->name, "%s%s%s%s%s", a->name, a->prefix[0] ? ", prefix " : "", a->prefix,
	             s && s->version[0] ? " " : "", s ? s->version : "") < 0)
		return &seep_error_nomem;
	d->nallocators++;
	if (s)
		take_stats(d, a->kind, s, new);
	if (note)
		new->note = strdup(note);
	return NULL;
}

struct seep_error *doctor_ask(struct doctor *d, bool no_ask)
{
	_cleanup_allocators_ struct allocators *as = NULL;
	struct seep_error *err = allocators_find(d->pid, &as);

	if (err) {
		if (err == &seep_error_nomem)
			return err;
		doctor_note(d, "other allocators were not looked at: %s", err->message);
		seep_error_free(err);
		return NULL;
	}
	for (size_t i = 0; i < as->n && !err; i++) {
		struct allocator_stats s;
		struct seep_error *refused;

		if (as->items[i].kind == ALLOCATOR_GLIBC || as->items[i].kind == ALLOCATOR_MUSL)
			continue;
		if (no_ask) {
			err = add_allocator(d, &as->items[i], NULL, "not asked");
			continue;
		}
		refused = allocator_ask(as, i, &s, NULL, NULL);
		if (refused == &seep_error_nomem)
			return refused;
		err = add_allocator(d, &as->items[i], refused ? NULL : &s,
		                    refused ? refused->message : NULL);
		if (refused)
			doctor_note(d, "%s was not asked: %s", as->items[i].name, refused->message);
		seep_error_free(refused);
	}
	return err;
}

/* Moves at most `want` of what is anonymous. */
static void move(struct doctor *d, enum doctor_class to, uint64_t want)
{
	uint64_t n = d->classes[DOCTOR_ANONYMOUS] < want ? d->classes[DOCTOR_ANONYMOUS] : want;

	d->classes[DOCTOR_ANONYMOUS] -= n;
	d->classes[to] += n;
}

void doctor_carve(struct doctor *d, uint64_t by_ledger)
{
	for (size_t i = 0; i < d->nallocators; i++) {
		const struct doctor_allocator *a = &d->allocators[i];
		uint64_t live = known(a->live), of_ledger = by_ledger < live ? by_ledger : live;

		by_ledger -= of_ledger;
		move(d, DOCTOR_OTHER_LIVE, live - of_ledger);
		if (allocator_known(a->active) && a->active > live + known(a->caches))
			move(d, DOCTOR_OTHER_INTERNAL, a->active - live - known(a->caches));
		move(d, DOCTOR_OTHER_FREE, known(a->free));
		move(d, DOCTOR_OTHER_CACHED, known(a->caches));
		move(d, DOCTOR_OTHER_METADATA, known(a->metadata));
	}
}
