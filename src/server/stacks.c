/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of strings and frames. */
#include "server/stacks.h"

#include "server/jsonw.h"
#include "server/look.h"

#include "analysis/diff.h"
#include "analysis/view.h"
#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/large.h"
#include "profile/profile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct seep_error *stacks_frames_init(struct frames *f, const struct view *v)
{
	*f = (struct frames){ .v = v };
	f->number = calloc(v->nlocations + 1, sizeof(*f->number));
	f->locations = calloc(v->nlocations + 1, sizeof(*f->locations));
	if (!f->number || !f->locations) {
		stacks_frames_release(f);
		return &seep_error_nomem;
	}
	f->locations[0] = FRAMES_NO_LOCATION;
	f->n = 1;
	stacks_string(f, "");
	return NULL;
}

void stacks_frames_release(struct frames *f)
{
	free(f->number);
	free(f->locations);
	idmap_release(&f->names);
	free(f->strings);
	memset(f, 0, sizeof(*f));
}

uint32_t stacks_string(struct frames *f, const char *s)
{
	uint64_t hash;
	size_t pos;
	uint32_t id;

	if (!s)
		s = "";
	hash = hash_str(s);
	for (pos = idmap_first(&f->names, hash); idmap_get(&f->names, &pos, hash, &id);)
		if (f->strings[id] == s || !strcmp(f->strings[id], s))
			return id;
	if (array_grow((void **)&f->strings, f->nstrings, &f->cap_strings, sizeof(*f->strings)) < 0 ||
	    idmap_add(&f->names, hash, (uint32_t)f->nstrings) < 0) {
		f->failed = true;
		return 0;
	}
	f->strings[f->nstrings] = s;
	return (uint32_t)f->nstrings++;
}

uint32_t stacks_frame(struct frames *f, uint32_t location)
{
	if (location == FRAMES_NO_LOCATION || location >= f->v->nlocations)
		return 0;
	if (!f->number[location]) {
		f->number[location] = f->n;
		f->locations[f->n++] = location;
	}
	return f->number[location];
}

enum frame_column { FRAME_FUNCTION, FRAME_FILE, FRAME_LINE, FRAME_MODULE, FRAME_FLAGS };

static uint32_t cell(struct frames *f, const struct view_location *l, enum frame_column c)
{
	switch (c) {
	case FRAME_FUNCTION:
		return stacks_string(f, l->function);
	case FRAME_FILE:
		return stacks_string(f, l->file);
	case FRAME_LINE:
		return l->line;
	case FRAME_MODULE:
		return l->module == PROF_NO_MODULE
		               ? 0
		               : stacks_string(f, f->v->profile->modules[l->module].path);
	case FRAME_FLAGS:
		return l->flags;
	}
	return 0;
}

void stacks_put_frames(struct frames *f, struct jsonw *j)
{
	static const char *const keys[] = { "function", "file", "line", "module", "flags" };
	_cleanup_free_ uint32_t *column = calloc(f->n, sizeof(*column));

	if (!column) {
		j->out->failed = true;
		return;
	}
	jw_object(j, "frames");
	for (size_t c = 0; c < ARRAY_SIZE(keys); c++) {
		for (uint32_t i = 1; i < f->n; i++)
			column[i] = cell(f, &f->v->locations[f->locations[i]], (enum frame_column)c);
		jw_column_u32(j, keys[c], column, f->n);
	}
	jw_array(j, "address");
	jw_null(j, NULL);
	for (uint32_t i = 1; i < f->n; i++) {
		const struct view_location *l = &f->v->locations[f->locations[i]];

		if (!l->function && l->address)
			jw_hex(j, NULL, l->address, 0);
		else
			jw_null(j, NULL);
	}
	jw_array_end(j);
	jw_object_end(j);
	jw_array(j, "strings");
	for (size_t i = 0; i < f->nstrings; i++)
		jw_string(j, NULL, f->strings[i]);
	jw_array_end(j);
	j->out->failed |= f->failed;
}

/* ---- values ------------------------------------------------------------------------------------------ */

/* Of the profile, or of one side of the difference: from there as it is, which spares the joint one two passes over all of it. */
static void add_side(const struct look *l, struct leaf_value *values, const struct profile *p,
                     const uint32_t *site_of, bool base)
{
	for (size_t i = 0; i < p->nsites; i++) {
		const struct prof_site *s = &p->sites[i];
		const struct prof_value *of[MEASURE_NVALUES] = { [MEASURE_INUSE] = &s->inuse,
			                                         [MEASURE_ALLOC] = &s->alloc,
			                                         [MEASURE_FREED] = &s->freed,
			                                         [MEASURE_PEAK] = &s->peak };
		uint32_t node = l->v->site_node[site_of ? site_of[i] : i];
		uint64_t v = measure_of(of[l->measure.value], l->measure.blocks), *to;

		if (node == VIEW_DROPPED || !v)
			continue;
		to = base ? &values[node].base : &values[node].value;
		*to = prof_add(*to, v);
	}
}

static uint64_t side_total(const struct leaf_value *values, size_t n, bool base)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = prof_add(sum, base ? values[i].base : values[i].value);
	return sum;
}

struct seep_error *stacks_values(const struct look *l, struct leaf_value **ret_values)
{
	struct leaf_value *values = large_zero((l->v->nnodes + 1) * sizeof(*values));
	uint64_t first, last;

	if (!values)
		return &seep_error_nomem;
	if (l->shows_diff) {
		size_t last_side = l->diff->nsides - 1;

		add_side(l, values, l->diff->sides[0], l->diff->site_of[0], true);
		add_side(l, values, l->diff->sides[last_side], l->diff->site_of[last_side], false);
	} else {
		add_side(l, values, look_profile(l), NULL, false);
	}
	if (l->shows_diff && l->normalize) {
		first = side_total(values, l->v->nnodes, true);
		last = side_total(values, l->v->nnodes, false);
		for (size_t i = 0; first && i < l->v->nnodes; i++)
			values[i].base =
				(uint64_t)((double)values[i].base * (double)last / (double)first +
			                   0.5);
	}
	*ret_values = values;
	return NULL;
}
