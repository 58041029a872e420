/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A grid of character cells to draw a full-screen page on.  It knows nothing of terminals: a page can be drawn,
 * and tested, without one; top_screen.c puts the cells on a screen.
 *
 * Whatever text is put on it, a row stays as wide as it is: control characters and bytes that are no UTF-8 become
 * one replacement character, wide characters take two cells or none, combining ones are left out.
 */
#ifndef SEEP_CLI_CANVAS_H
#define SEEP_CLI_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wchar.h>

enum canvas_style { /* the low bits are one of these, the high ones are flags */
	            CANVAS_PLAIN,
	            CANVAS_MARK,  /* the thing to look at */
	            CANVAS_WARN,  /* grows, or is wrong */
	            CANVAS_LESS,  /* shrinks */
	            CANVAS_PLOT1, /* in use */
	            CANVAS_PLOT2, /* resident */
	            CANVAS_NSTYLES,
	            CANVAS_STYLE = 0xf,
	            CANVAS_BOLD = 0x10,
	            CANVAS_DIM = 0x20,
	            CANVAS_REVERSE = 0x40,
	            CANVAS_UNDERLINE = 0x80,
};

struct canvas_cell {
	wchar_t ch; /* 0: the right half of a wide character */
	uint8_t style;
};

struct canvas {
	unsigned int rows, cols;
	bool ascii; /* the terminal shows nothing else */
	struct canvas_cell *cells;
};

/* Sets the size and blanks everything; 0 or -ENOMEM. */
int canvas_clear(struct canvas *c, unsigned int rows, unsigned int cols);
void canvas_release(struct canvas *c);

/* Puts UTF-8 text at a place, at most `width` columns of it; returns the columns used.  Outside is fine. */
unsigned int canvas_put(struct canvas *c, unsigned int row, unsigned int col, unsigned int width,
                        unsigned int style, const char *text);
/* The same, cut with an ellipsis: at its end, or at its start (keep_end). */
unsigned int canvas_fit(struct canvas *c, unsigned int row, unsigned int col, unsigned int width,
                        unsigned int style, const char *text, bool keep_end);
/* Against the right edge of `width` columns. */
void canvas_right(struct canvas *c, unsigned int row, unsigned int col, unsigned int width,
                  unsigned int style, const char *text);
/* Adds flags to a row's cells. */
void canvas_row_style(struct canvas *c, unsigned int row, unsigned int flags);
void canvas_cell_set(struct canvas *c, unsigned int row, unsigned int col, wchar_t ch,
                     unsigned int style);

/* Columns the text takes when nothing cuts it. */
unsigned int canvas_width(const struct canvas *c, const char *text);

#endif
