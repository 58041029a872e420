/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timeline for a terminal:
 *
 *      80.0 MiB ┤                •••••••••
 *      60.0 MiB ┤           •••••▂▄▆█
 *      40.0 MiB ┤      •••••▂▅████████
 *      20.0 MiB ┤ ••••▂▅██████████████
 *             0 ┼─┴─────────┴─────────┴───
 *               0         500 ms      1 s
 *                F          S         ▲ peak 67.2 MiB
 *
 * An area stands on the axis, eighths of a row high, so that twelve rows tell a hundred levels apart.  Resident
 * memory is a row of dots over it; where the area is higher, the dots lie in it.
 * Marks stand below the axis, where they hide nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/timeline.h"
#include "output/units.h"

#define LABEL 10u /* columns of "1023 MiB" and a margin */
#define GUTTER 2u /* " ┤" */
#define MIN_COLUMNS 10u
#define TICK_DISTANCE 11u
#define DOT 9 /* a cell: eighths of the area, or this */

struct style {
	const char *cells[DOT + 1];
	const char *tick, *axis, *corner, *below, *up;
};

static const struct style blocks = {
	.cells = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█", "•" },
	.tick = "┤",
	.axis = "─",
	.corner = "┼",
	.below = "┴",
	.up = "▲",
};
static const struct style ascii = {
	.cells = { " ", " ", ".", ".", ":", ":", "|", "#", "#", "o" },
	.tick = "|",
	.axis = "-",
	.corner = "+",
	.below = "+",
	.up = "^",
};

struct graph {
	struct timeline t;
	const struct style *style;
	unsigned int height;
	struct buf *out;
};

static void pad(struct buf *b, size_t n)
{
	while (n--)
		buf_putc(b, ' ');
}

/* How many eighths of the whole height a value has; at least one when it is not nothing. */
static uint64_t eighths(const struct graph *g, uint64_t v)
{
	double h = (double)v / (double)g->t.top * 8 * g->height;

	return v ? h < 1 ? 1 : (uint64_t)(h + 0.5) : 0;
}

static unsigned int cell(const struct graph *g, size_t column, unsigned int row)
{
	uint64_t area = eighths(g, g->t.inuse[column]), floor = 8ull * row;
	uint64_t rss = g->t.rss[column];

	if (rss != TIMELINE_UNKNOWN && rss) {
		uint64_t at = (eighths(g, rss) - 1) / 8;

		if ((at < g->height ? at : g->height - 1) == row)
			return DOT;
	}
	return area <= floor ? 0 : area - floor >= 8 ? 8 : (unsigned int)(area - floor);
}

/* The value whose tick is nearest to the top edge of a row; false: none is. */
static bool tick_of_row(const struct graph *g, unsigned int row, uint64_t *ret_bytes)
{
	for (uint64_t v = g->t.step; v <= g->t.top; v += g->t.step) {
		unsigned int at = (unsigned int)((double)v / (double)g->t.top * g->height + 0.5) - 1;

		if (at == row) {
			*ret_bytes = v;
			return true;
		}
	}
	return false;
}

static void put_label(struct graph *g, const char *text)
{
	size_t n = text_columns(text);

	pad(g->out, n < LABEL ? LABEL - n : 0);
	buf_puts(g->out, text);
}

static void put_row(struct graph *g, unsigned int row)
{
	_cleanup_buf_ struct buf label = { 0 };
	size_t n = g->t.n;
	uint64_t v;

	while (n && !cell(g, n - 1, row))
		n--; /* no blanks at the end */

	if (tick_of_row(g, row, &v))
		unit_bytes(&label, v);
	put_label(g, label.data ? label.data : "");
	buf_printf(g->out, " %s", label.data ? g->style->tick : g->style == &ascii ? "|" : "│");
	for (size_t c = 0; c < n; c++)
		buf_puts(g->out, g->style->cells[cell(g, c, row)]);
	buf_putc(g->out, '\n');
}

static bool is_tick(const struct graph *g, size_t column)
{
	uint64_t from = (uint64_t)((double)g->t.end * (double)column / (double)g->t.n);
	uint64_t nearest = (from + g->t.time_step - 1) / g->t.time_step * g->t.time_step;

	return nearest <= g->t.end && timeline_column(&g->t, nearest) == column;
}

static void put_axis(struct graph *g)
{
	size_t at = 0; /* column behind what was written last */

	put_label(g, "0");
	buf_printf(g->out, " %s", g->style->corner);
	for (size_t c = 0; c < g->t.n; c++)
		buf_puts(g->out, c && is_tick(g, c) ? g->style->below : g->style->axis);
	buf_putc(g->out, '\n');
	pad(g->out, LABEL + GUTTER);
	for (uint64_t time = 0; time <= g->t.end; time += g->t.time_step) {
		_cleanup_buf_ struct buf label = { 0 };
		size_t column = timeline_column(&g->t, time), n;

		timeline_tick(&label, &g->t, time);
		n = text_columns(label.data ? label.data : "");
		column = column + n > g->t.n ? g->t.n - n
		                             : column; /* the last one ends with the axis */
		if (column < at + (at > 0))
			continue;
		pad(g->out, column - at);
		if (label.data)
			buf_puts(g->out, label.data);
		at = column + n;
	}
	buf_putc(g->out, '\n');
}

/* ---- marks ------------------------------------------------------------------------- */

/* One letter a column; where several kinds fall together, a star. */
static int put_marks(struct graph *g)
{
	const struct profile *p = g->t.p;
	_cleanup_free_ char *row = malloc(g->t.n + 1);
	size_t last = 0;

	if (!p->nevents)
		return 0;
	if (!row)
		return -1;
	memset(row, ' ', g->t.n);
	for (size_t i = 0; i < p->nevents; i++) {
		size_t c = timeline_column(&g->t, p->events[i].time);
		char letter = timeline_event_names[p->events[i].kind].letter;

		row[c] = row[c] == ' ' || row[c] == letter ? letter : '*';
		last = c > last ? c : last;
	}
	row[last + 1] = '\0';
	pad(g->out, LABEL + GUTTER);
	buf_printf(g->out, "%s\n", row);
	return 0;
}

static void put_peak(struct graph *g)
{
	_cleanup_buf_ struct buf words = { 0 };
	size_t column = timeline_column(&g->t, g->t.peak_time), n;

	if (!g->t.peak)
		return;
	buf_puts(&words, "peak ");
	unit_bytes(&words, g->t.peak);
	buf_puts(&words, " after ");
	unit_duration(&words, g->t.peak_time);
	if (words.failed)
		return;
	n = text_columns(words.data);
	if (column + n + 2 <= g->t.n) {
		pad(g->out, LABEL + GUTTER + column);
		buf_printf(g->out, "%s %s\n", g->style->up, words.data);
	} else if (LABEL + GUTTER + column >= n + 1) {
		pad(g->out, LABEL + GUTTER + column - n - 1);
		buf_printf(g->out, "%s %s\n", words.data, g->style->up);
	}
}

static void put_legend(struct graph *g, size_t most)
{
	const struct profile *p = g->t.p;
	size_t shown = most && p->nevents > most ? most : p->nevents;

	buf_printf(g->out, "\n  %s in use, ", g->style->cells[8]);
	unit_bytes(g->out, g->t.last);
	buf_puts(g->out, " at the end");
	if (g->t.highest_rss != TIMELINE_UNKNOWN) {
		buf_printf(g->out, "\n  %s resident, at most ", g->style->cells[DOT]);
		unit_bytes(g->out, g->t.highest_rss);
		if (p->tracker_ledger_bytes) {
			buf_puts(g->out, " (the tracker's own ");
			unit_bytes(g->out, p->tracker_ledger_bytes + p->tracker_private_bytes);
			buf_puts(g->out, " with it)");
		}
	}
	buf_putc(g->out, '\n');
	for (size_t i = 0; i < shown; i++) {
		const struct prof_event *e = &p->events[i];
		const struct timeline_event_name *name = &timeline_event_names[e->kind];
		_cleanup_buf_ struct buf when = { 0 }, clean = { 0 };

		unit_duration(&when, e->time);
		text_clean(&clean, e->text ? e->text : "");
		buf_printf(g->out, "  %c ", name->letter);
		pad(g->out, text_columns(when.data ? when.data : "") < LABEL
		                    ? LABEL - text_columns(when.data ? when.data : "")
		                    : 0);
		buf_printf(g->out, "%s  %s%s", when.data ? when.data : "", name->words,
		           e->text && *e->text ? ": " : "");
		text_cut(g->out, clean.data ? clean.data : "", g->t.n > 20 ? g->t.n - 12 : 20, 0);
		buf_putc(g->out, '\n');
	}
	if (shown < p->nevents)
		buf_printf(g->out, "    and %zu more (--json has all)\n", p->nevents - shown);
}

/* ---- all of it ----------------------------------------------------------------------- */

struct seep_error *timeline_text(const struct profile *p, const struct timeline_text_options *o,
                                 struct buf *out)
{
	struct graph g = { .style = o->ascii ? &ascii : &blocks, .out = out };
	size_t columns = o->width > LABEL + GUTTER + MIN_COLUMNS ? o->width - LABEL - GUTTER - 1
	                                                         : MIN_COLUMNS;
	struct seep_error *err;

	g.height = o->height ? o->height : o->width / 5;
	g.height = g.height < 5 ? 5 : g.height > 50 ? 50 : g.height;
	err = timeline_make(p, columns, columns / TICK_DISTANCE, g.height < 14 ? g.height / 2 : 7,
	                    &g.t);
	if (err || !g.t.n)
		return err;
	for (unsigned int row = g.height; row-- > 0;)
		put_row(&g, row);
	put_axis(&g);
	if (put_marks(&g) < 0)
		err = &seep_error_nomem;
	put_peak(&g);
	put_legend(&g, o->marks);
	timeline_release(&g.t);
	return err ? err : out->failed ? &seep_error_nomem : NULL;
}
