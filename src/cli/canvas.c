/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cells: see canvas.h.  Names come from the target, and terminals obey what they are sent, so text is taken apart
 * into characters here and only printable ones come through.  UTF-8 is decoded by hand rather
 * than by mbrtowc(), which would follow the locale, and a name's bytes do not.
 */
#include "cli/canvas.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "output/units.h"

#define REPLACEMENT 0xfffd

/* What stands for a character where only ASCII can be shown. */
static const struct {
	wchar_t ch;
	const char *ascii;
} ascii_for[] = {
	{ 0xb1, "+-" },                     /* ± */
	{ 0xb5, "u" },                      /* µ */
	{ 0xb7, "." },                      /* · */
	{ 0x2013, "-" },                    /* – */
	{ 0x2026, "~" },                    /* … */
	{ 0x2191, "up" },                   /* ↑ */
	{ 0x2193, "dn" },                   /* ↓ */
	{ 0x23ce, "ret" }, { 0x25b6, ">" }, /* ▶ */
	{ 0x25b8, "+" },                    /* ▸ */
	{ 0x25be, "-" },                    /* ▾ */
	{ 0x25bc, "v" },                    /* ▼ */
	{ 0x25b2, "^" },                    /* ▲ */
	{ 0x2588, "#" },                    /* █ */
	{ 0x2500, "-" },                    /* ─ */
	{ 0x2502, "|" },                    /* │ */
};

int canvas_clear(struct canvas *c, unsigned int rows, unsigned int cols)
{
	size_t n = (size_t)rows * cols;

	if (rows != c->rows || cols != c->cols) {
		struct canvas_cell *cells = reallocarray(c->cells, n + 1, sizeof(*cells));

		if (!cells)
			return -ENOMEM;
		c->cells = cells;
		c->rows = rows;
		c->cols = cols;
	}
	for (size_t i = 0; i < n; i++)
		c->cells[i] = (struct canvas_cell){ L' ', CANVAS_PLAIN };
	return 0;
}

void canvas_release(struct canvas *c)
{
	free(TAKE(c->cells));
	c->rows = c->cols = 0;
}

/* The next character; *text moves on.  What is no UTF-8 is one replacement for each byte. */
static wchar_t next_char(const char **text)
{
	const unsigned char *p = (const unsigned char *)*text;
	size_t n = utf8_length(*text);
	uint32_t c;

	*text += n ? n : 1;
	switch (n) {
	case 1:
		c = p[0];
		break;
	case 2:
		c = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
		break;
	case 3:
		c = (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
		break;
	case 4:
		c = (p[0] & 0x7u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 |
		    (p[3] & 0x3fu);
		break;
	default:
		return REPLACEMENT;
	}
	/* Controls, and those that change the direction of what follows. */
	if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
	    (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff)
		return REPLACEMENT;
	return (wchar_t)c;
}

static const char *as_ascii(wchar_t ch, char buf[2])
{
	for (size_t i = 0; i < ARRAY_SIZE(ascii_for); i++)
		if (ascii_for[i].ch == ch)
			return ascii_for[i].ascii;
	buf[0] = ch < 0x7f ? (char)ch : '?';
	buf[1] = '\0';
	return buf;
}

/* 1 or 2, 0: combines with the one before.  What the locale does not know takes one cell, as a replacement. */
static unsigned int char_width(wchar_t *ch)
{
	int w = *ch < 0x7f ? 1 : wcwidth(*ch);

	if (w >= 0)
		return (unsigned int)w;
	*ch = wcwidth(REPLACEMENT) == 1 ? REPLACEMENT : L'?';
	return 1;
}

void canvas_cell_set(struct canvas *c, unsigned int row, unsigned int col, wchar_t ch,
                     unsigned int style)
{
	if (row < c->rows && col < c->cols)
		c->cells[(size_t)row * c->cols + col] = (struct canvas_cell){ ch, (uint8_t)style };
}

/* Draws (draw) or measures; the columns used, of at most width. */
static unsigned int run(struct canvas *c, bool draw, unsigned int row, unsigned int col,
                        unsigned int width, unsigned int style, const char *text)
{
	unsigned int used = 0;

	while (*text) {
		wchar_t ch = next_char(&text);
		unsigned int w;

		if (c->ascii) {
			char one[2];
			const char *s = as_ascii(ch, one);

			w = (unsigned int)strlen(s);
			if (w > width - used)
				break;
			for (unsigned int i = 0; draw && i < w; i++)
				canvas_cell_set(c, row, col + used + i, (wchar_t)s[i], style);
			used += w;
			continue;
		}
		w = char_width(&ch);
		if (w > width - used)
			break;
		if (draw && w) {
			canvas_cell_set(c, row, col + used, ch, style);
			if (w == 2)
				canvas_cell_set(c, row, col + used + 1, 0, style);
		}
		used += w;
	}
	return used;
}

/* Columns from col to the canvas's edge, at most width. */
static unsigned int room(const struct canvas *c, unsigned int col, unsigned int width)
{
	unsigned int left = col < c->cols ? c->cols - col : 0;

	return width < left ? width : left;
}

unsigned int canvas_put(struct canvas *c, unsigned int row, unsigned int col, unsigned int width,
                        unsigned int style, const char *text)
{
	return run(c, true, row, col, room(c, col, width), style, text);
}

unsigned int canvas_width(const struct canvas *c, const char *text)
{
	return run((struct canvas *)c, false, 0, 0, UINT32_MAX, 0, text);
}

unsigned int canvas_fit(struct canvas *c, unsigned int row, unsigned int col, unsigned int width,
                        unsigned int style, const char *text, bool keep_end)
{
	unsigned int have = canvas_width(c, text), used;

	width = room(c, col, width);
	if (have <= width || !width)
		return canvas_put(c, row, col, width, style, text);
	if (!keep_end) {
		used = canvas_put(c, row, col, width - 1, style, text);
		return used + canvas_put(c, row, col + used, 1, style, "…");
	}
	while (*text && canvas_width(c, text) > width - 1)
		next_char(&text);
	used = canvas_put(c, row, col, 1, style, "…");
	return used + canvas_put(c, row, col + used, width - used, style, text);
}

void canvas_right(struct canvas *c, unsigned int row, unsigned int col, unsigned int width,
                  unsigned int style, const char *text)
{
	unsigned int have = canvas_width(c, text);

	if (have < width)
		canvas_put(c, row, col + width - have, have, style, text);
	else
		canvas_put(c, row, col, width, style, text);
}

void canvas_row_style(struct canvas *c, unsigned int row, unsigned int flags)
{
	for (unsigned int i = 0; row < c->rows && i < c->cols; i++)
		c->cells[(size_t)row * c->cols + i].style |= (uint8_t)flags;
}
