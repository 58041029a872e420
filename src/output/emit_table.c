/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables: emit.h.  In text all cells are kept as strings until the table ends;
 * then every column is as wide as its widest cell, and when the sum exceeds the
 * terminal's width the columns that may shrink give way, the widest first, down
 * to MIN_SHRUNK columns each.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "output/emit_private.h"
#include "output/units.h"

#define GAP 2u
#define MIN_SHRUNK 16u
#define MIN_BAR 4u
#define SHRINKS (EMIT_SHRINK | EMIT_SHRINK_PATH)

void emit_table_release(struct emit *e)
{
	for (size_t i = 0; i < e->ncells; i++)
		free(e->cells[i]);
	free(TAKE(e->cells));
	free(TAKE(e->rows));
	free(TAKE(e->right));
	e->nrows = e->ncells = e->cap_rows = e->cap_cells = e->ncolumns = 0;
}

void emit_table(struct emit *e, const char *key, unsigned int indent,
                const struct emit_column *columns, size_t n)
{
	emit_table_release(e);
	emit_array(e, key);
	e->columns = columns;
	e->ncolumns = n;
	e->indent = indent;
	e->tree = e->shown = false;
	e->right = calloc(n, sizeof(*e->right));
	for (size_t i = 0; i < n; i++) {
		e->tree |= !!(columns[i].flags & EMIT_INDENT);
		e->shown |= columns[i].title != NULL;
		if (e->right)
			e->right[i] = columns[i].flags & EMIT_RIGHT;
	}
	if (!e->right)
		e->out->failed = true;
}

static int grow(void **array, size_t need, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap : 64;
	void *p;

	while (want < need)
		want *= 2;
	if (want == *cap)
		return 0;
	p = reallocarray(*array, want, size);
	if (!p)
		return -1;
	*array = p;
	*cap = want;
	return 0;
}

/* Eighths of a column, so that small differences show. */
static void bar(struct buf *b, double ratio, unsigned int width)
{
	static const char *const eighths[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
	unsigned int n;

	if (!(ratio > 0))
		return;
	n = (unsigned int)((ratio > 1 ? 1 : ratio) * width * 8 + 0.5);
	for (unsigned int i = 0; i < n / 8; i++)
		buf_puts(b, "█");
	buf_puts(b, n ? eighths[n % 8] : eighths[1]);
}

static char *cell_text(const struct emit_value *v)
{
	struct buf b = { 0 };

	if (v->type == EMIT_BAR)
		buf_printf(&b, "%.6f", v->ratio); /* drawn when the column's width is known */
	else
		emit_value_text_sampled(&b, v);
	if (b.failed) {
		buf_release(&b);
		return NULL;
	}
	return buf_steal(&b);
}

void emit_row(struct emit *e, unsigned int depth, unsigned int style,
              const struct emit_value *values)
{
	if (!emit_is_text(e)) {
		emit_object(e, NULL);
		e->compact = true;
		if (e->tree) {
			struct emit_value d = emit_count(depth);

			emit_json_member(e, "depth", &d);
		}
		for (size_t i = 0; i < e->ncolumns; i++)
			emit_json_member(e, e->columns[i].key, &values[i]);
		emit_object_end(e);
		e->compact = false;
		return;
	}
	if (!e->shown)
		return;
	if (!e->right || grow((void **)&e->rows, e->nrows + 1, &e->cap_rows, sizeof(*e->rows)) < 0 ||
	    grow((void **)&e->cells, e->ncells + e->ncolumns, &e->cap_cells, sizeof(*e->cells)) < 0) {
		e->out->failed = true;
		return;
	}
	e->rows[e->nrows++] = (struct emit_table_row){ depth, style, e->ncells };
	for (size_t i = 0; i < e->ncolumns; i++) {
		const struct emit_value *v = &values[i];

		if (v->type != EMIT_STRING && v->type != EMIT_BAR && v->type != EMIT_NONE)
			e->right[i] = true;
		e->cells[e->ncells] = e->columns[i].title ? cell_text(v) : strdup("");
		if (!e->cells[e->ncells++])
			e->out->failed = true;
	}
}

static size_t cell_columns(const struct emit *e, const struct emit_table_row *row, size_t column)
{
	const char *s = e->cells[row->first + column];
	size_t indent = e->columns[column].flags & EMIT_INDENT ? row->depth * 2 : 0;

	if (e->columns[column].width)
		return e->columns[column].width;
	return s ? text_columns(s) + indent : 0;
}

static void fit(const struct emit *e, size_t *widths)
{
	size_t total = e->indent, shown = 0;

	for (size_t c = 0; c < e->ncolumns; c++) {
		if (!e->columns[c].title)
			continue;
		widths[c] = text_columns(e->columns[c].title);
		for (size_t r = 0; r < e->nrows; r++) {
			size_t w = cell_columns(e, &e->rows[r], c);

			widths[c] = w > widths[c] ? w : widths[c];
		}
		total += widths[c];
		shown += widths[c] != 0;
	}
	total += shown ? (shown - 1) * GAP : 0;
	for (size_t c = 0; c < e->ncolumns;
	     c++) /* bars give way first: they repeat what numbers say */
		for (; e->columns[c].width && total > e->o.width && widths[c] > MIN_BAR; total--)
			widths[c]--;
	while (total > e->o.width) {
		size_t widest = e->ncolumns, excess = total - e->o.width, second = MIN_SHRUNK, give;

		for (size_t c = 0; c < e->ncolumns; c++)
			if (e->columns[c].flags & SHRINKS &&
			    (widest == e->ncolumns || widths[c] > widths[widest]))
				widest = c;
		if (widest == e->ncolumns || widths[widest] <= MIN_SHRUNK)
			return;
		for (size_t c = 0; c < e->ncolumns; c++)
			if (c != widest && e->columns[c].flags & SHRINKS && widths[c] > second)
				second = widths[c];
		/* down to the second widest, or by one where they are level */
		give = widths[widest] > second ? widths[widest] - second : 1;
		give = give > excess ? excess : give;
		widths[widest] -= give;
		total -= give;
	}
}

static void blanks(struct buf *b, size_t n)
{
	while (n--)
		buf_putc(b, ' ');
}

static void put_cell(struct emit *e, const char *text, size_t width, bool right, bool keep_end)
{
	size_t columns = text_columns(text);

	if (right && columns < width)
		blanks(e->out, width - columns);
	text_cut(e->out, text, width, keep_end);
	if (!right && columns < width)
		blanks(e->out, width - columns);
}

static void put_row(struct emit *e, const struct emit_table_row *row, const size_t *widths)
{
	bool first = true;

	blanks(e->out, e->indent);
	emit_style_on(e, row->style);
	for (size_t c = 0; c < e->ncolumns; c++) {
		const char *text = e->cells[row->first + c];
		size_t indent = e->columns[c].flags & EMIT_INDENT ? row->depth * 2 : 0;

		if (!e->columns[c].title || !widths[c])
			continue;
		if (!first)
			blanks(e->out, GAP);
		first = false;
		/* a deep tree must not push its names off the screen */
		if (indent > widths[c] / 2)
			indent = widths[c] / 2;
		if (e->columns[c].width) {
			bar(e->out, text ? atof(text) : 0, (unsigned int)widths[c]);
			continue;
		}
		blanks(e->out, indent);
		put_cell(e, text ? text : "", widths[c] - indent, e->right[c],
		         e->columns[c].flags & EMIT_SHRINK_PATH);
	}
	emit_style_off(e, row->style);
	emit_newline(e);
}

static void put_header(struct emit *e, const size_t *widths)
{
	bool any = false, first = true;

	for (size_t c = 0; c < e->ncolumns; c++)
		any |= e->columns[c].title && *e->columns[c].title;
	if (!any)
		return;
	blanks(e->out, e->indent);
	emit_style_on(e, EMIT_DIM);
	for (size_t c = 0; c < e->ncolumns; c++) {
		if (!e->columns[c].title || !widths[c])
			continue;
		if (!first)
			blanks(e->out, GAP);
		first = false;
		put_cell(e, e->columns[c].title, widths[c], e->right[c], false);
	}
	emit_style_off(e, EMIT_DIM);
	emit_newline(e);
}

void emit_table_end(struct emit *e)
{
	_cleanup_free_ size_t *widths = calloc(e->ncolumns + 1, sizeof(*widths));

	emit_array_end(e);
	if (emit_is_text(e) && e->nrows) {
		if (widths && e->right && !e->out->failed) {
			fit(e, widths);
			put_header(e, widths);
			for (size_t r = 0; r < e->nrows; r++)
				put_row(e, &e->rows[r], widths);
		} else {
			e->out->failed = true;
		}
	}
	emit_table_release(e);
}
