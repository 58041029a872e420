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
 *
 * A seep that is killed cannot give it back.  So a small process is told of every change,
 * and when its socket ends while the row is taken, it does.
 */
#include "cli/status_line.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "output/units.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

/* ---- the keeper ------------------------------------------------------------------------ */

/* Hears nothing but its socket, in a session of its own: no ^C and no kill of the group may reach it. */
static void __attribute__((noreturn)) keep(int from)
{
	uint32_t rows = 0, next;
	sigset_t all;
	int tty, n;
	char text[64];

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	prctl(PR_SET_NAME, "seep-terminal");
	from = dup2(from, STDIN_FILENO);
	tty = dup2(STDERR_FILENO, STDOUT_FILENO);
	syscall(SYS_close_range, 2u, ~0u, 0u);
	if (chdir("/") < 0) /* keeps no directory busy; if it cannot, it keeps one */
		tty = STDOUT_FILENO;
	while (read(from, &next, sizeof(next)) == sizeof(next))
		rows = next;
	n = snprintf(text, sizeof(text), SAVE WHOLE_REGION "\033[%u;1H" ERASE RESTORE, rows);
	if (rows && write(tty, text, (size_t)n) < 0)
		_exit(1);
	_exit(0);
}

static void start_keeper(struct status_line *s)
{
	int pair[2];

	if (s->keeper || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	s->keeper_pid = fork();
	if (s->keeper_pid == 0)
		keep(pair[0]);
	close(pair[0]);
	if (s->keeper_pid < 0)
		close(pair[1]);
	else
		s->keeper = pair[1];
}

static void end_keeper(struct status_line *s)
{
	if (!s->keeper)
		return;
	close(s->keeper);
	kill(s->keeper_pid,
	     SIGKILL); /* the end of the socket would do, but not for one that was stopped */
	while (waitpid(s->keeper_pid, NULL, 0) < 0 && errno == EINTR)
		;
	s->keeper = 0;
}

/* Before the row is taken, and after it was given back. */
static void tell_keeper(struct status_line *s, uint32_t rows)
{
	if (s->keeper && send(s->keeper, &rows, sizeof(rows), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		end_keeper(s); /* somebody killed it */
}

/* ---- the line -------------------------------------------------------------------------- */

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
		start_keeper(s);
		tell_keeper(s, ws.ws_row);
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
	if (s->rows)
		tell_keeper(s, 0);
	s->rows = 0;
}

void status_line_release(struct status_line *s)
{
	status_line_clear(s);
	end_keeper(s);
}
