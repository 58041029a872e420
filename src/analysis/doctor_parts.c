/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds what is in use, as far as it can be told: with a ledger the modules whose code called malloc, and the threads
 * that did; always the threads' stacks.  Arenas are the split's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor_private.h"
#include "analysis/group.h"
#include "analysis/names.h"
#include "analysis/view.h"
#include "base/error.h"
#include "profile/profile.h"

#define MAX_PARTS 32 /* of each kind */

static struct seep_error *add_part(struct doctor *d, enum doctor_by by, const char *name,
                                   uint64_t bytes, uint64_t blocks)
{
	struct doctor_part *grown = reallocarray(d->parts, d->nparts + 1, sizeof(*grown));
	char *copy = strdup(name);

	if (grown)
		d->parts = grown;
	if (!grown || !copy) {
		free(copy);
		return &seep_error_nomem;
	}
	d->parts[d->nparts++] =
		(struct doctor_part){ .by = by, .name = copy, .bytes = bytes, .blocks = blocks };
	return NULL;
}

/* Whose code it was: the module of the innermost frame that is neither the allocator's nor a runtime's. */
static uint32_t owner_of(const struct view *v, uint32_t node)
{
	uint32_t culprit = view_culprit(v, node);

	return v->locations[v->nodes[culprit ? culprit : node].location].module;
}

static int by_bytes(const void *a, const void *b)
{
	const struct doctor_part *x = a, *y = b;

	if (x->by != y->by)
		return x->by < y->by ? -1 : 1;
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return strcmp(x->name, y->name);
}

static struct seep_error *modules(struct doctor *d, const struct view *v)
{
	const struct profile *p = d->profile;
	struct prof_value *sums = calloc(p->nmodules + 1, sizeof(*sums));
	struct seep_error *err = NULL;

	if (!sums)
		return &seep_error_nomem;
	for (size_t i = 0; i < p->nsites; i++) {
		uint32_t node = v->site_node[i], m;

		if (node == VIEW_DROPPED)
			continue;
		m = node ? owner_of(v, node) : PROF_NO_MODULE;
		prof_value_add(&sums[m < p->nmodules ? m : p->nmodules], &p->sites[i].inuse);
	}
	for (size_t i = 0; i <= p->nmodules && !err; i++)
		if (sums[i].bytes)
			err = add_part(d, DOCTOR_BY_MODULE,
			               i == p->nmodules ? "unknown" : path_base(p->modules[i].path),
			               sums[i].bytes, sums[i].blocks);
	free(sums);
	return err;
}

static struct seep_error *threads(struct doctor *d, const struct view *v)
{
	_cleanup_groups_ struct groups g = { 0 };
	struct seep_error *err =
		groups_make(v, GROUP_THREAD, (struct measure){ MEASURE_INUSE, false }, &g);

	for (size_t i = 0; i < g.n && !err; i++) {
		const struct prof_value *use = &g.items[i].self.value[MEASURE_INUSE];
		const char *name = group_name(v, GROUP_THREAD, &g.items[i]);
		char label[80];

		if (!use->bytes)
			continue;
		snprintf(label, sizeof(label), "%s%s%d%s", name ? name : "thread", name ? " (" : " ",
		         g.items[i].id < d->profile->nthreads
		                 ? (int)d->profile->threads[g.items[i].id].tid
		                 : 0,
		         name ? ")" : "");
		err = add_part(d, DOCTOR_BY_THREAD, label, use->bytes, use->blocks);
	}
	return err;
}

/* Resident bytes of each running thread's stack: where the memory of a thread is its own without doubt. */
static struct seep_error *stacks(struct doctor_look *l)
{
	struct doctor *d = l->d;
	const struct roots *r = &l->in->roots;
	uint64_t page = l->img->page_size;
	struct seep_error *err = NULL;

	for (size_t i = 0; i < r->nstacks && !err; i++) {
		const struct roots_stack *s = &r->stacks[i];
		const char *name = "";
		uint64_t resident = 0;
		uint8_t pages[512];
		char label[48];

		if (!s->tid)
			continue;
		for (uint64_t at = s->start & ~(page - 1); at < s->end; at += sizeof(pages) * page) {
			uint64_t n = (s->end - at + page - 1) / page;

			n = n < sizeof(pages) ? n : sizeof(pages);
			doctor_pages_get(l->pages, at, n, pages);
			for (uint64_t k = 0; k < n; k++)
				resident += pages[k] & IMAGE_PAGE_PRESENT ? page : 0;
		}
		for (size_t k = 0; k < l->img->nthreads; k++)
			if (l->img->threads[k].tid == s->tid)
				name = l->img->threads[k].name;
		snprintf(label, sizeof(label), "%s (%d)", name, (int)s->tid);
		err = add_part(d, DOCTOR_BY_STACK, label, resident, 1);
	}
	return err;
}

struct seep_error *doctor_find_parts(struct doctor_look *l)
{
	_cleanup_view_ struct view *v = NULL;
	struct doctor *d = l->d;
	struct seep_error *err = stacks(l);
	size_t n = 0, same = 0;
	enum doctor_by last = DOCTOR_NBYS;

	if (!err && d->profile)
		err = view_new(d->profile, &(struct view_options){ 0 }, &v);
	if (!err && v)
		err = modules(d, v);
	if (!err && v)
		err = threads(d, v);
	if (err || !d->nparts)
		return err;
	qsort(d->parts, d->nparts, sizeof(*d->parts), by_bytes);
	for (size_t i = 0; i < d->nparts; i++) {
		same = i && d->parts[i].by == last ? same + 1 : 0;
		last = d->parts[i].by;
		if (same < MAX_PARTS)
			d->parts[n++] = d->parts[i];
		else
			free(d->parts[i].name);
	}
	d->nparts = n;
	return NULL;
}
