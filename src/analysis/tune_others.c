/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters that an allocator has functions for: jemalloc, both tcmallocs, mimalloc.
 */
#include "analysis/tune_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "heap/allocators.h"

static const struct known {
	enum tune_unit unit;
	const char *meaning;
} known[ALLOCATOR_OPTIONS] = {
	[ALLOCATOR_DIRTY_DECAY] = { TUNE_MS,
	                            "how long free pages stay before they are given up; never: -1" },
	[ALLOCATOR_MUZZY_DECAY] = { TUNE_MS,
	                            "how long pages given up stay before they are given back" },
	[ALLOCATOR_BACKGROUND_THREAD] = { TUNE_SWITCH,
	                                  "a thread that does this also when the program is idle" },
	[ALLOCATOR_RELEASE_RATE] = { TUNE_RATE,
	                             "how eagerly free pages are given back: 0 never, 10 at once" },
	[ALLOCATOR_AGGRESSIVE_DECOMMIT] = { TUNE_SWITCH,
	                                    "every free run of pages is given back at once" },
	[ALLOCATOR_THREAD_CACHE] = { TUNE_BYTES, "what the caches of all threads may hold" },
	[ALLOCATOR_PURGE_DELAY] = { TUNE_MS,
	                            "how long free pages stay before they are given back; never: -1" },
};

static struct tune_value value_of(enum tune_unit unit, const struct allocator_value *v)
{
	struct tune_value r = { .known = v->known, .real = v->value };

	if (unit != TUNE_MS && unit != TUNE_RATE && v->value >= 0)
		r.number = (uint64_t)v->value;
	return r;
}

static struct seep_error *add_rows(struct tune *t, struct allocators *as, size_t i)
{
	struct allocator_value values[ALLOCATOR_OPTIONS];
	struct allocator_visit visit = { 0 };
	struct seep_error *err = allocator_options_get(as, i, values, &visit);

	t->stopped_ns += visit.stopped_ns;
	if (err) {
		tune_note(t, "%s", err->message);
		seep_error_free(err);
		return NULL;
	}
	for (unsigned int o = 0; o < ALLOCATOR_OPTIONS; o++) {
		struct tune_row *r;

		if (!values[o].known)
			continue;
		r = tune_add_row(t);
		if (!r)
			return &seep_error_nomem;
		snprintf(r->allocator, sizeof(r->allocator), "%s", as->items[i].name);
		r->name = allocator_option_name(o);
		r->unit = known[o].unit;
		r->meaning = known[o].meaning;
		r->now = value_of(r->unit, &values[o]);
		r->lowest = values[o].lowest;
		r->highest = values[o].highest;
		if (r->lowest != r->highest &&
		    asprintf(&r->note, "arenas there are have between %.0f and %.0f", r->lowest,
		             r->highest) < 0)
			r->note = NULL;
	}
	return NULL;
}

struct seep_error *tune_others_read(struct tune *t, struct allocators *as)
{
	struct seep_error *err = NULL;

	for (size_t i = 0; i < as->n && !err; i++)
		if (as->items[i].kind != ALLOCATOR_GLIBC && as->items[i].kind != ALLOCATOR_MUSL)
			err = add_rows(t, as, i);
	return err;
}

struct seep_error *tune_others_write(struct tune *t, struct allocators *as,
                                     const struct tune_order *o)
{
	struct allocator_value before, after;
	struct allocator_visit visit = { 0 };
	double v = tune_real(o->row, &o->value);
	enum allocator_option option;
	struct seep_error *err;

	if (!allocator_option_find(o->row->name, &option))
		return seep_error_new(0, "there is no option %s", o->row->name);
	for (size_t i = 0; i < as->n; i++) {
		struct buf line = { 0 };

		if (strcmp(as->items[i].name, o->row->allocator) != 0)
			continue;
		err = allocator_option_set(as, i, option, v, &before, &after, &visit);
		t->stopped_ns += visit.stopped_ns;
		if (err)
			return err;
		o->row->before = value_of(o->row->unit, &before);
		o->row->now = value_of(o->row->unit, &after);
		if (allocator_option_environment(&as->items[i], option, v, &line) && !line.failed)
			tune_environment(t, line.data);
		buf_release(&line);
		return NULL;
	}
	return seep_error_new(0, "%s is no longer in the process", o->row->allocator);
}
