/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocators that give memory back when they are asked to: jemalloc, both tcmallocs, mimalloc.
 *
 * What they say they have released is not believed; the kernel's count before and after is.  What they would release is
 * known where they say how much of what is free is still in memory.
 */
#include "analysis/trim_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "heap/allocators.h"

bool trim_wanted(const struct trim_options *o, const char *allocator)
{
	return !o->allocator || !strncmp(allocator, o->allocator, strlen(o->allocator));
}

static uint64_t or_nothing(uint64_t v)
{
	return allocator_known(v) ? v : 0;
}

/* What a release would give back, as far as it says. */
static bool promised(const struct allocator_stats *s, uint64_t *ret)
{
	if (!allocator_known(s->dirty) && !allocator_known(s->pageheap_free))
		return false;
	*ret = allocator_known(s->dirty) ? s->dirty : or_nothing(s->pageheap_free);
	return true;
}

static void keep_problem(struct trim_part *p, struct seep_error *err)
{
	if (asprintf(&p->problem, "%s", err->message) < 0)
		p->problem = NULL;
	seep_error_free(err);
}

static struct seep_error *release(struct trim *t, const struct trim_options *o,
                                  struct allocators *as, size_t i)
{
	const struct allocator *a = &as->items[i];
	struct trim_part *p = trim_add_part(t);
	struct trim_memory before, after;
	struct allocator_visit visit = { 0 };
	struct allocator_stats stats;
	struct seep_error *err;
	uint64_t said;

	if (!p)
		return &seep_error_nomem;
	snprintf(p->allocator, sizeof(p->allocator), "%s", a->name);
	snprintf(p->detail, sizeof(p->detail), "%s", a->module ? a->module : "");
	p->tier = TRIM_RELEASE;
	err = allocator_ask(as, i, &stats, NULL, &visit);
	t->asked_ns += visit.stopped_ns;
	if (!err) {
		p->predicted_known = promised(&stats, &p->predicted);
		if (o->limit && p->predicted > o->limit)
			p->predicted = o->limit;
		t->predicted += p->predicted;
	}
	if (err || o->dry_run || trim_memory_read(t->pid, &before)) {
		if (err)
			keep_problem(p, err);
		return NULL;
	}
	visit = (struct allocator_visit){ 0 };
	err = allocator_release(as, i, o->limit ? o->limit : UINT64_MAX, &said, &visit);
	t->asked_ns += visit.stopped_ns;
	if (err) {
		keep_problem(p, err);
		return NULL;
	}
	if (!trim_memory_read(t->pid, &after) && before.rss > after.rss)
		p->returned = before.rss - after.rss;
	t->returned += p->returned;
	return NULL;
}

struct seep_error *trim_released(struct trim *t, const struct trim_options *o)
{
	_cleanup_allocators_ struct allocators *as = NULL;
	struct seep_error *err = allocators_find(t->pid, &as);

	for (size_t i = 0; !err && i < as->n; i++)
		if (as->items[i].kind != ALLOCATOR_GLIBC && as->items[i].kind != ALLOCATOR_MUSL &&
		    trim_wanted(o, as->items[i].name))
			err = release(t, o, as, i);
	for (size_t i = 0; !err && i < as->nnotes; i++)
		trim_note(t, "%s", as->notes[i]);
	return err;
}

struct seep_error *trim_nobody(const struct trim *t, const struct trim_options *o)
{
	struct seep_error *err;

	if (o->allocator)
		return seep_error_new(0, "process %d has no allocator '%s'", (int)t->pid,
		                      o->allocator);
	err = seep_error_new(0, "process %d has no allocator that can be made to give memory back",
	                     (int)t->pid);
	return t->nnotes ? seep_error_hint(err, "%s", t->notes[t->nnotes - 1]) : err;
}
