/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of frames in JSON.  A program has a few thousand lines that are ever on
 * a stack, and a report names each of them in hundreds of sites: written out in every
 * stack, the names make up 97 % of a report.  So each is written once and stacks
 * are lists of numbers.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "output/report_private.h"

struct seep_error *frames_init(struct frame_table *f, const struct view *v)
{
	f->n = 0;
	f->number = calloc(v->nlocations + 1, sizeof(*f->number));
	f->location = calloc(v->nlocations + 1, sizeof(*f->location));
	if (!f->number || !f->location)
		return &seep_error_nomem;
	memset(f->number, 0xff, v->nlocations * sizeof(*f->number));
	return NULL;
}

void frames_release(struct frame_table *f)
{
	free(TAKE(f->number));
	free(TAKE(f->location));
}

void frames_take(struct frame_table *f, uint32_t location)
{
	if (location == UINT32_MAX || f->number[location] != UINT32_MAX)
		return;
	f->number[location] = f->n;
	f->location[f->n++] = location;
}

static const struct emit_column columns[] = {
	{ "function", NULL, 0, 0 }, { "file", NULL, 0, 0 },    { "line", NULL, 0, 0 },
	{ "module", NULL, 0, 0 },   { "address", NULL, 0, 0 }, { "inlined", NULL, 0, 0 },
};

void report_frames(const struct report *r)
{
	emit_table(r->e, "frames", 0, columns, ARRAY_SIZE(columns));
	for (uint32_t i = 0; i < r->frames->n; i++) {
		const struct view_location *l = &r->v->locations[r->frames->location[i]];
		const char *module = l->module == PROF_NO_MODULE ? NULL
		                                                 : r->p->modules[l->module].path;

		emit_row(r->e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_string(l->function), emit_string(l->file),
		                                l->line ? emit_number(l->line) : emit_none(),
		                                emit_string(module),
		                                l->address ? emit_address(l->address) : emit_none(),
		                                emit_bool(l->flags & VIEW_INLINED) });
	}
	emit_table_end(r->e);
}

struct emit_value report_frame(const struct report *r, uint32_t location)
{
	return location == UINT32_MAX ? emit_none() : emit_number(r->frames->number[location]);
}
