/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters as a table; what was changed, and how to make it permanent.
 */
#include "output/tune_report.h"

#include <stdio.h>
#include <string.h>

#include "analysis/tune.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "output/emit.h"

static void value_text(const struct tune_row *r, const struct tune_value *v, char *text, size_t size)
{
	_cleanup_buf_ struct buf b = { 0 };
	const struct emit_value bytes = emit_bytes(v->number), count = emit_count(v->number);

	if (!v->known) {
		text[0] = '\0';
		return;
	}
	switch (r->unit) {
	case TUNE_BYTES:
		if (v->number == TUNE_NEVER)
			buf_puts(&b, "never");
		else
			emit_value_text(&b, &bytes);
		break;
	case TUNE_COUNT:
		if (!v->number && strstr(r->name, "arena_max"))
			buf_puts(&b, "auto");
		else
			emit_value_text(&b, &count);
		break;
	case TUNE_SWITCH:
		buf_puts(&b, v->number ? "on" : "off");
		break;
	case TUNE_MS:
		if (v->real < 0)
			buf_puts(&b, "never");
		else
			buf_printf(&b, "%.0f ms", v->real);
		break;
	case TUNE_RATE:
		buf_printf(&b, "%g", v->real);
		break;
	}
	snprintf(text, size, "%s", b.failed || !b.data ? "" : b.data);
}

static struct emit_value json_value(const struct tune_row *r, const struct tune_value *v)
{
	if (!v->known)
		return emit_none();
	switch (r->unit) {
	case TUNE_SWITCH:
		return emit_bool(v->number != 0);
	case TUNE_MS:
		return emit_number((int64_t)v->real);
	case TUNE_RATE:
		return emit_ratio(v->real);
	default:
		return v->number == TUNE_NEVER ? emit_number(-1) : emit_number((int64_t)v->number);
	}
}

static const char *unit_key(enum tune_unit u)
{
	static const char *const keys[] = { [TUNE_BYTES] = "bytes",
		                            [TUNE_COUNT] = "count",
		                            [TUNE_MS] = "ms",
		                            [TUNE_SWITCH] = "switch",
		                            [TUNE_RATE] = "rate" };

	return keys[u];
}

static void show_json(const struct tune *t, struct emit *e)
{
	emit_array(e, "parameters");
	for (size_t i = 0; i < t->nrows; i++) {
		const struct tune_row *r = &t->rows[i];

		emit_object(e, NULL);
		emit_field(e, "allocator", NULL, emit_string(r->allocator));
		emit_field(e, "name", NULL, emit_string(r->name));
		emit_field(e, "unit", NULL, emit_string(unit_key(r->unit)));
		emit_field(e, "value", NULL, json_value(r, &r->now));
		emit_field(e, "default", NULL, json_value(r, &r->standard));
		emit_field(e, "changed", NULL, emit_bool(r->changed));
		emit_field(e, "before", NULL, r->changed ? json_value(r, &r->before) : emit_none());
		emit_field(e, "undo", NULL, emit_bool(r->kept));
		emit_field(e, "meaning", NULL, emit_string(r->meaning));
		emit_field(e, "note", NULL, emit_string(r->note));
		emit_object_end(e);
	}
	emit_array_end(e);
}

static void show_table(const struct tune *t, struct emit *e)
{
	static const struct emit_column columns[] = {
		{ NULL, "parameter", 0, 0 },
		{ NULL, "now", EMIT_RIGHT, 0 },
		{ NULL, "default", EMIT_RIGHT, 0 },
		{ NULL, "meaning", EMIT_SHRINK, 0 },
	};
	const char *allocator = "";

	for (size_t i = 0; i < t->nrows; i++) {
		const struct tune_row *r = &t->rows[i];
		char now[64], standard[64];

		if (strcmp(allocator, r->allocator) != 0) {
			bool glibc = !strcmp(r->allocator, "glibc");

			if (*allocator) {
				emit_table_end(e);
				emit_blank(e);
			}
			allocator = r->allocator;
			emit_heading(e, "%s", glibc && t->layout[0] ? t->layout : allocator);
			emit_table(e, NULL, 2, columns, ARRAY_SIZE(columns));
		}
		value_text(r, &r->now, now, sizeof(now));
		value_text(r, &r->standard, standard, sizeof(standard));
		emit_row(e, 0, r->changed ? EMIT_MARK : EMIT_PLAIN,
		         (struct emit_value[]){ emit_string(r->name), emit_string(now),
		                                emit_string(standard), emit_string(r->meaning) });
	}
	if (*allocator)
		emit_table_end(e);
}

/* What is worth knowing about a value: of those that were changed, or of all that are as they are. */
static void show_notes(const struct tune *t, struct emit *e)
{
	bool kept = false;

	emit_blank(e);
	for (size_t i = 0; i < t->nrows; i++) {
		const struct tune_row *r = &t->rows[i];

		kept = kept || (r->kept && !r->changed);
		if (r->note && (!t->nchanged || r->changed))
			emit_text(e, EMIT_DIM, 2, "%s: %s", r->name, r->note);
	}
	for (size_t i = 0; i < t->nnotes; i++)
		emit_text(e, EMIT_DIM, 2, "note: %s", t->notes[i]);
	if (kept && !t->nchanged)
		emit_text(e, EMIT_DIM, 2, "seep has changed some of these; --undo puts them back");
}

static void show_changes(const struct tune *t, struct emit *e)
{
	for (size_t i = 0; i < t->nrows; i++) {
		const struct tune_row *r = &t->rows[i];
		char now[64], before[64];

		if (!r->changed)
			continue;
		value_text(r, &r->now, now, sizeof(now));
		value_text(r, &r->before, before, sizeof(before));
		emit_text(e, EMIT_BOLD, 0, "%s %s: %s -> %s", r->allocator, r->name, before, now);
	}
}

void tune_report(const struct tune *t, struct emit *e)
{
	emit_object(e, NULL);
	emit_field(e, "seep_tune", NULL, emit_number(TUNE_JSON_VERSION));
	emit_field(e, "pid", NULL, emit_number(t->pid));
	emit_field(e, "exe", NULL, emit_string(t->exe));
	emit_field(e, "layout", NULL, t->layout[0] ? emit_string(t->layout) : emit_none());
	emit_field(e, "arenas", NULL, t->narenas ? emit_number((int64_t)t->narenas) : emit_none());
	emit_field(e, "stopped_ns", NULL, emit_number((int64_t)t->stopped_ns));
	if (!emit_is_text(e))
		show_json(t, e);
	else if (t->nchanged)
		show_changes(t, e);
	else
		show_table(t, e);
	emit_list(e, "environment");
	for (size_t i = 0; i < t->nenvironment; i++)
		emit_item(e, emit_string(t->environment[i]));
	emit_list_end(e);
	emit_list(e, "notes");
	for (size_t i = 0; i < t->nnotes; i++)
		emit_item(e, emit_string(t->notes[i]));
	emit_list_end(e);
	if (emit_is_text(e)) {
		show_notes(t, e);
		if (t->nenvironment) {
			emit_blank(e);
			emit_text(e, EMIT_PLAIN, 0, "to have it from the next start on:");
			for (size_t i = 0; i < t->nenvironment; i++)
				emit_text(e, EMIT_PLAIN, 2, "%s", t->environment[i]);
		}
	}
	emit_object_end(e);
}
