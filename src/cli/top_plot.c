/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In use and resident memory over time.  What is in use is an area, what is resident a line over it, so that the
 * two are told apart without colours.  A cell is two moments wide and four levels high (braille);
 * where only ASCII can be shown it is one of each.
 *
 *     1.20 GiB ⡇   ⣀⠤⠒⠊   resident
 *              ⡇⣀⣴⣾⣿⣿⣿   in use
 *          0 B ⣇⣿⣿⣿⣿⣿⣿
 *              -2m               now
 */
#include "cli/top_ui.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "output/units.h"

#define LABELS 10u /* columns of the axis on the left */
#define BRAILLE 0x2800

/* Bits of a braille cell: [column][row from the bottom]. */
static const uint8_t dots[2][4] = { { 0x40, 0x04, 0x02, 0x01 }, { 0x80, 0x20, 0x10, 0x08 } };

struct plot {
	struct canvas *c;
	unsigned int row, rows, col, cols; /* of the area */
	uint64_t *inuse, *rss;
	size_t n; /* moments */
	uint64_t top;
};

/* The scale's end: a round number of bytes at or above v. */
static uint64_t round_up(uint64_t v)
{
	uint64_t unit = 1024;

	while (v / unit >= 1024 && unit < 1ull << 50)
		unit *= 1024;
	for (uint64_t step = unit / 4; step; step *= 2) {
		uint64_t limit = step * 40;

		if (v <= limit)
			return (v + step - 1) / step * step;
		if (step > UINT64_MAX / 128)
			break;
	}
	return v;
}

/* How many of `levels` a value reaches; what there is at all reaches one. */
static unsigned int level(const struct plot *p, uint64_t v, unsigned int levels)
{
	unsigned int n = (unsigned int)((double)v / (double)p->top * levels + 0.5);

	return v && !n ? 1 : n > levels ? levels : n;
}

static void draw_ascii(const struct plot *p)
{
	for (unsigned int x = 0; x < p->cols; x++) {
		unsigned int in = p->inuse[x] == TOP_UNKNOWN ? 0 : level(p, p->inuse[x], p->rows);

		for (unsigned int y = 0; y < in; y++)
			canvas_cell_set(p->c, p->row + p->rows - 1 - y, p->col + x, L'#',
			                CANVAS_PLOT1);
		if (p->rss[x] != TOP_UNKNOWN && p->rss[x])
			canvas_cell_set(p->c, p->row + p->rows - level(p, p->rss[x], p->rows),
			                p->col + x, L'-', CANVAS_PLOT2);
	}
}

static void draw_braille(const struct plot *p)
{
	unsigned int levels = p->rows * 4;

	for (unsigned int x = 0; x < p->cols; x++) {
		for (unsigned int y = 0; y < p->rows; y++) {
			unsigned int area = 0, line = 0;

			for (unsigned int half = 0; half < 2; half++) {
				uint64_t in = p->inuse[2 * x + half], rss = p->rss[2 * x + half];
				unsigned int up = in == TOP_UNKNOWN ? 0 : level(p, in, levels);
				unsigned int at =
					rss == TOP_UNKNOWN || !rss ? 0 : level(p, rss, levels);

				for (unsigned int dot = 0; dot < 4; dot++) {
					if (y * 4 + dot < up)
						area |= dots[half][dot];
					if (at && y * 4 + dot == at - 1)
						line |= dots[half][dot];
				}
			}
			/* On the area the line would drown: there it is cut out of it. */
			if (area || line)
				canvas_cell_set(p->c, p->row + p->rows - 1 - y, p->col + x,
				                (wchar_t)(BRAILLE + (line && area == 0xff
				                                             ? area & ~line
				                                             : area | line)),
				                line && !area ? CANVAS_PLOT2 : CANVAS_PLOT1);
		}
	}
}

static uint64_t highest(const uint64_t *values, size_t n)
{
	uint64_t max = 0;

	for (size_t i = 0; i < n; i++)
		if (values[i] != TOP_UNKNOWN && values[i] > max)
			max = values[i];
	return max;
}

static void axes(const struct plot *p, uint64_t from, uint64_t to)
{
	_cleanup_buf_ struct buf text = { 0 };
	unsigned int below = p->row + p->rows;

	unit_bytes(&text, p->top);
	canvas_right(p->c, p->row, 0, LABELS - 1, CANVAS_DIM, text.data ? text.data : "");
	canvas_right(p->c, below - 1, 0, LABELS - 1, CANVAS_DIM, "0 B");
	buf_reset(&text);
	buf_putc(&text, '-');
	top_short_age(&text, to - from);
	canvas_put(p->c, below, p->col, p->cols, CANVAS_DIM, text.data ? text.data : "");
	canvas_right(p->c, below, p->col, p->cols, CANVAS_DIM, "now");
	if (p->cols < 44)
		return;
	canvas_put(p->c, below, p->col + p->cols / 2 - 11, 12, CANVAS_PLOT1,
	           p->c->ascii ? "# in use" : "⣿ in use");
	canvas_put(p->c, below, p->col + p->cols / 2 + 1, 12, CANVAS_PLOT2,
	           p->c->ascii ? "- resident" : "⠒ resident");
}

/* The last of `rows` has the labels of the time. */
void top_plot_draw(const struct top_history *h, uint64_t from, uint64_t to, struct canvas *c,
                   unsigned int row, unsigned int rows)
{
	struct plot p = { .c = c, .row = row, .rows = rows - 1, .col = LABELS };
	_cleanup_free_ uint64_t *values = NULL;
	uint64_t max, rss;

	if (rows < 3 || c->cols < LABELS + 8)
		return;
	p.cols = c->cols - LABELS;
	p.n = c->ascii ? p.cols : (size_t)p.cols * 2;
	values = calloc(2 * p.n, sizeof(*values));
	if (!values)
		return;
	p.inuse = values;
	p.rss = values + p.n;
	top_history_columns(h, false, from, to, p.inuse, p.n);
	top_history_columns(h, true, from, to, p.rss, p.n);
	max = highest(p.inuse, p.n);
	rss = highest(p.rss, p.n);
	p.top = round_up(rss > max ? rss : max);
	if (!p.top)
		p.top = 1;
	if (c->ascii)
		draw_ascii(&p);
	else
		draw_braille(&p);
	axes(&p, from, to);
}
