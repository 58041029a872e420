/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who pins: the blocks in use that keep free memory from being returned, in groups that a person can act on.
 *
 * The split has met each such block and says how many free bytes it keeps: its share of those on its own pages, and the
 * stretch right below it, which malloc would return if it were the end of the heap.  With a ledger the
 * group is the stack that allocated it.  Without one it is the size, and a few blocks of each group are asked what they
 * are: the groups that matter have thousands of blocks, which nearly always are of one type.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor_private.h"
#include "analysis/leaks_private.h"
#include "base/array.h"
#include "base/error.h"
#include "base/idmap.h"
#include "heap/heap.h"

#define MAX_PINS 12
#define ASKED 32 /* blocks of a group whose content is looked at */

struct pin_group {
	struct doctor_pin pin;
	uint64_t size;         /* of each block; with a site: 0 */
	uint32_t asked[ASKED]; /* blocks, as they came, then spread over all */
	uint32_t nasked;
};

struct pinner {
	struct pin_group *groups;
	size_t ngroups, cap_groups;
	struct idmap map;
};

static struct pin_group *group_of(struct pinner *p, uint32_t site, uint64_t size)
{
	uint64_t hash = hash_mix(site, size);
	uint32_t id;

	for (size_t pos = idmap_first(&p->map, hash); idmap_get(&p->map, &pos, hash, &id);)
		if (p->groups[id].pin.site == site && p->groups[id].size == size)
			return &p->groups[id];
	if (array_grow((void **)&p->groups, p->ngroups, &p->cap_groups, sizeof(*p->groups)) < 0 ||
	    idmap_add(&p->map, hash, (uint32_t)p->ngroups) < 0)
		return NULL;
	p->groups[p->ngroups] = (struct pin_group){ .pin.site = site, .size = size };
	return &p->groups[p->ngroups++];
}

static int group_order(const void *a, const void *b)
{
	const struct doctor_pin *x = &((const struct pin_group *)a)->pin,
				*y = &((const struct pin_group *)b)->pin;
	uint64_t u = x->holds + x->holds_back, v = y->holds + y->holds_back;

	if (u != v)
		return u < v ? 1 : -1;
	return (x->address > y->address) - (x->address < y->address);
}

/* What most of the blocks asked say they are. */
static struct seep_error *name_group(struct doctor_look *l, struct content_reader *reader,
                                     struct pin_group *g)
{
	const struct block *blocks = l->in->heap->blocks;
	char best[96] = "", votes_for[96] = "";
	unsigned int votes = 0, kinds[4] = { 0 };

	for (uint32_t i = 0; i < g->nasked; i++) {
		const struct block *b = &blocks[g->asked[i]];
		struct content c;
		struct seep_error *err = content_of(reader, b->address, b->size, &c);

		if (err)
			return err;
		kinds[c.kind]++;
		if (c.kind != CONTENT_VTABLE || !c.what)
			continue;
		/* majority vote in one pass */
		if (!votes) {
			snprintf(votes_for, sizeof(votes_for), "%s", c.what);
			votes = 1;
		} else if (!strncmp(votes_for, c.what, sizeof(votes_for) - 1)) {
			votes++;
		} else {
			votes--;
		}
	}
	if (kinds[CONTENT_VTABLE] * 2 > g->nasked)
		snprintf(best, sizeof(best), ", of type %s", votes_for);
	else if (kinds[CONTENT_TEXT] * 2 > g->nasked)
		snprintf(best, sizeof(best), " of text");
	else if (kinds[CONTENT_ZERO] * 2 > g->nasked)
		snprintf(best, sizeof(best), " of zeros");
	if (asprintf(&g->pin.what, "%llu %s of %llu bytes%s", (unsigned long long)g->pin.blocks,
	             g->pin.blocks == 1 ? "block" : "blocks", (unsigned long long)g->size,
	             best) < 0) {
		g->pin.what = NULL;
		return &seep_error_nomem;
	}
	return NULL;
}

static struct seep_error *collect(struct doctor_look *l, struct pinner *p)
{
	const struct heap *h = l->in->heap;

	for (size_t i = 0; i < l->nholders; i++) {
		const struct doctor_holder *holder = &l->holders[i];
		const struct block *b = &h->blocks[holder->block];
		uint32_t site = b->flags & BLOCK_RECORDED ? b->site : 0;
		struct pin_group *g = group_of(p, site, site ? 0 : b->size);

		if (!g)
			return &seep_error_nomem;
		if (!g->pin.blocks)
			g->pin.address = b->address;
		g->pin.blocks++;
		g->pin.bytes += b->size;
		g->pin.holds += holder->holds;
		g->pin.holds_back += holder->back;
		if (g->nasked < ASKED)
			g->asked[g->nasked++] = holder->block;
		else if (g->pin.blocks % 1009 == 0)
			g->asked[g->pin.blocks / 1009 % ASKED] = holder->block;
	}
	return NULL;
}

struct seep_error *doctor_find_pins(struct doctor_look *l, const char *const *debug_dirs)
{
	struct content_reader *reader = NULL;
	struct pinner p = { 0 };
	struct doctor *d = l->d;
	struct seep_error *err = collect(l, &p);
	size_t n;

	if (err || !p.ngroups)
		goto out;
	qsort(p.groups, p.ngroups, sizeof(*p.groups), group_order);
	n = p.ngroups < MAX_PINS ? p.ngroups : MAX_PINS;
	d->pins = calloc(n, sizeof(*d->pins));
	reader = content_reader_new(l->img, debug_dirs);
	if (!d->pins || !reader) {
		err = &seep_error_nomem;
		goto out;
	}
	for (size_t i = 0; i < n && !err; i++) {
		if (!p.groups[i].pin.site)
			err = name_group(l, reader, &p.groups[i]);
		d->pins[d->npins++] = p.groups[i].pin;
	}
out:
	content_reader_free(reader);
	free(p.groups);
	idmap_release(&p.map);
	return err;
}
