/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress of `seep run` shares the terminal with the target, which prints what and
 * when it likes and whose output we never see.  A line that is simply written and
 * overwritten loses: the target's next line replaces only its beginning.  So the
 * bottom row is taken out of the scrolling region (as apt does); what the target
 * prints scrolls above it:
 *
 *     row 1        | the target's output, the cursor somewhere in it
 *     ...          |
 *     row rows - 1 |
 *     row rows     | seep: 24.0 MiB in use ...
 *
 * Every change is one write(), saves the cursor and puts it back.  Nothing is written
 * while our process group is not the terminal's, or while the target has it in
 * character mode (an editor, a pager): the whole screen is then its own, and the
 * region is given back.
 */
#include "cli/status_line.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "output/units.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define FEWEST_ROWS 5u
#define FEWEST_COLUMNS 20u

#define SAVE "\0337"
#define RESTORE "\0338"
#define DOWN "\033D" /* and scrolls at the bottom; unlike a line feed it keeps the column */
#define UP "\033[1A"
#define ERASE "\033[2K"
#define WHOLE_REGION "\033[r"

enum owner { OURS, TARGETS, OTHERS };

static enum owner terminal_owner(void)
{
	struct termios t;

	if (tcgetpgrp(STDERR_FILENO) != getpgrp() || tcgetattr(STDERR_FILENO, &t) < 0)
		return OTHERS;
	return t.c_lflag & ICANON ? OURS : TARGETS;
}

static void put(const struct buf *b)
{
	size_t done = 0;

	if (b->failed)
		return;
	while (done < b->len) {
		ssize_t n = write(STDERR_FILENO, b->data + done, b->len - done);

		if (n <= 0)
			return; /* progress is not worth an error */
		done += (size_t)n;
	}
}

bool status_line_possible(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) == 1 && term && *term && strcmp(term, "dumb") != 0;
}

/* Takes the last row out of the region, with a row made free for it below the cursor. */
static void reserve(struct buf *b, unsigned int rows)
{
	buf_puts(b, DOWN SAVE);
	buf_printf(b, "\033[1;%ur", rows - 1);
	buf_puts(b, RESTORE UP);
}

void status_line_show(struct status_line *s, const char *text)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct winsize ws;

	if (terminal_owner() != OURS) {
		status_line_clear(s);
		return;
	}
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) < 0 || ws.ws_row < FEWEST_ROWS ||
	    ws.ws_col < FEWEST_COLUMNS)
		return;
	if (s->rows != ws.ws_row) {
		status_line_clear(s); /* the window has another size now */
		reserve(&b, ws.ws_row);
	}
	s->rows = ws.ws_row;
	buf_printf(&b, SAVE "\033[%u;1H\033[m" ERASE, s->rows);
	text_cut(&b, text, ws.ws_col - 1u, 0);
	buf_puts(&b, RESTORE);
	put(&b);
}

void status_line_clear(struct status_line *s)
{
	_cleanup_buf_ struct buf b = { 0 };
	enum owner owner = s->rows ? terminal_owner() : OTHERS;

	buf_puts(&b, SAVE WHOLE_REGION);
	if (owner == OURS)
		buf_printf(&b, "\033[%u;1H" ERASE, s->rows);
	buf_puts(&b, RESTORE);
	if (owner != OTHERS)
		put(&b);
	s->rows = 0;
}
