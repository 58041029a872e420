/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep top on a terminal: ncurses turns canvases into what the terminal needs, and bytes into keys.
 *
 * Signals are blocked and come through a descriptor, so that everything happens between two drawings and
 * nothing in a handler: a stop gives the terminal back first, and takes it again when it goes on; an
 * end gives it back and then dies of the same signal, as whoever sent it expects.  Only what cannot
 * wait (a fault of our own) has a handler, which does no more than put the terminal right.
 */
#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <term.h>
/* words ncurses takes for itself */
#undef lines
#undef columns

#include <errno.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "analysis/view.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/top_ui.h"
#include "profile/profile.h"

#define SLOW_PART 4u /* a refresh takes at most one part in this many of the time */
#define KEY_ESCAPE 27
#define CONTROL(c) ((c)&0x1f)

struct screen {
	const struct top_cli *cli;
	SCREEN *curses;
	int signals, pidfd;
	sigset_t old_mask;
	int died_of; /* signal to end with */
	bool quit, color;
	uint64_t interval, next; /* ns; when to refresh, CLOCK_MONOTONIC */
	struct canvas canvas;
	struct top_ui ui;
	struct top_list list;
	bool has_list;
	struct top_source source;
	bool is_open; /* source is */
};

/* ---- the terminal ---------------------------------------------------------------------- */

/* For the handler of faults: what to write, and the modes to go back to. */
static struct termios modes_before;
static char restoring[256];

static void on_fault(int sig)
{
	ssize_t n = write(STDOUT_FILENO, restoring, strlen(restoring));

	(void)n;
	tcsetattr(STDIN_FILENO, TCSANOW, &modes_before);
	raise(sig); /* its handler is the default again: SA_RESETHAND */
}

static void remember(const char *capability)
{
	size_t n = strlen(restoring);

	/* Padding is for terminals of paper. */
	if (capability && capability != (const char *)-1 && !strstr(capability, "$<"))
		snprintf(restoring + n, sizeof(restoring) - n, "%s", capability);
}

static void catch_faults(void)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	struct sigaction sa = { .sa_handler = on_fault, .sa_flags = (int)SA_RESETHAND };

	restoring[0] = '\0';
	remember(tigetstr("sgr0"));
	remember(tigetstr("cnorm"));
	remember(tigetstr("rmkx"));
	remember(tigetstr("rmcup"));
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigaction(faults[i], &sa, NULL);
}

static void init_colors(struct screen *s)
{
	static const short ink[CANVAS_NSTYLES] = { -1,          COLOR_YELLOW, COLOR_RED,
		                                   COLOR_GREEN, COLOR_GREEN,  COLOR_CYAN };

	s->color = cli_color(STDOUT_FILENO) && has_colors() && start_color() == OK &&
	           use_default_colors() == OK;
	for (short i = 1; s->color && i < CANVAS_NSTYLES; i++)
		init_pair(i, ink[i], -1);
}

static struct seep_error *take_terminal(struct screen *s)
{
	static const int ours[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH };
	const char *term = getenv("TERM");
	sigset_t set;
	int known = 0;

	if (!term || !*term || !strcmp(term, "dumb"))
		return seep_error_hint(
			seep_error_new(0, "this terminal cannot show a screen (TERM is %s)",
		                       term && *term ? term : "not set"),
			"Use --once, or --count N, for plain text.");
	setlocale(LC_CTYPE, "");
	s->canvas.ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		sigaddset(&set, ours[i]);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals < 0)
		return seep_error_new(errno, "cannot wait for signals");
	tcgetattr(STDIN_FILENO, &modes_before);
	sigprocmask(SIG_BLOCK, &set, &s->old_mask);
	/* newterm() would leave memory behind where it fails. */
	if (setupterm(term, STDOUT_FILENO, &known) == OK) {
		del_curterm(cur_term);
		s->curses = newterm(NULL, stdout, stdin);
	}
	if (!s->curses) {
		sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
		return seep_error_hint(
			seep_error_new(0, "nothing is known of the terminal '%s'", term),
			"Set TERM to what it is, such as xterm-256color; or use --once, "
			"or --count N, for plain text.");
	}
	signal(SIGTSTP, SIG_DFL); /* not ncurses' way: see stop() */
	catch_faults();
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(25);
	curs_set(0);
	init_colors(s);
	return NULL;
}

static void give_terminal_back(struct screen *s)
{
	if (s->curses) {
		curs_set(1);
		endwin();
		delscreen(s->curses);
		s->curses = NULL;
		sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
	}
	if (s->signals >= 0)
		close(s->signals);
	s->signals = -1;
}

static void resize(void)
{
	struct winsize ws;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row && ws.ws_col)
		resizeterm(ws.ws_row, ws.ws_col);
	clearok(curscr, TRUE);
}

/* Stops as a program without a screen would, and goes on where it was. */
static void stop(void)
{
	sigset_t set;

	def_prog_mode();
	curs_set(1);
	endwin();
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &set, NULL); /* here it stops */
	sigprocmask(SIG_BLOCK, &set, NULL);
	reset_prog_mode();
	curs_set(0);
	resize();
}

static void take_signals(struct screen *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGWINCH:
			resize();
			break;
		case SIGTSTP:
			stop();
			break;
		case SIGCONT:
			resize();
			break;
		case SIGINT:
			s->quit = true;
			break;
		default:
			s->died_of = (int)info.ssi_signo;
			s->quit = true;
		}
	}
}

/* ---- drawing ---------------------------------------------------------------------------- */

static void put_cell(const struct screen *s, int row, int col, const struct canvas_cell *cell)
{
	attr_t attr = A_NORMAL;
	unsigned int style = cell->style & CANVAS_STYLE;
	wchar_t text[2] = { cell->ch, 0 };
	cchar_t out;

	if (!cell->ch)
		return;
	attr |= cell->style & CANVAS_BOLD ? A_BOLD : 0;
	attr |= cell->style & CANVAS_DIM ? A_DIM : 0;
	attr |= cell->style & CANVAS_REVERSE ? A_REVERSE : 0;
	attr |= cell->style & CANVAS_UNDERLINE ? A_UNDERLINE : 0;
	if (!s->color && style == CANVAS_MARK)
		attr |= A_BOLD;
	/* The selected line is one colour: bright on dark patches on it would be hard to read. */
	if (cell->style & CANVAS_REVERSE)
		style = CANVAS_PLAIN, attr &= ~(attr_t)A_DIM;
	if (setcchar(&out, text, attr, s->color ? (short)style : 0, NULL) == OK)
		mvadd_wch(row, col, &out);
}

static struct seep_error *draw(struct screen *s)
{
	int rows = 0, cols = 0;

	getmaxyx(stdscr, rows, cols);
	if (rows < 1 || cols < 1)
		return NULL;
	if (canvas_clear(&s->canvas, (unsigned int)rows, (unsigned int)cols) < 0)
		return &seep_error_nomem;
	if (s->is_open)
		top_page_one(&s->ui, &s->source, &s->canvas);
	else
		top_page_list(&s->ui, &s->list, &s->canvas);
	top_page_footer(&s->ui, &s->canvas, !s->is_open, s->is_open && s->has_list);
	if (s->ui.help)
		top_page_help(&s->canvas);
	erase();
	for (int y = 0; y < rows; y++)
		for (int x = 0; x < cols; x++)
			put_cell(s, y, x, &s->canvas.cells[(size_t)y * (size_t)cols + (size_t)x]);
	refresh();
	return NULL;
}

static void wait_message(struct screen *s, const char *text)
{
	int rows = 0, cols = 0;

	getmaxyx(stdscr, rows, cols);
	if (rows < 1 || canvas_clear(&s->canvas, (unsigned int)rows, (unsigned int)cols) < 0)
		return;
	erase();
	mvaddnstr(rows / 2, 2, text, cols > 2 ? cols - 2 : 0);
	refresh();
}

/* ---- refresh ------------------------------------------------------------------------------ */

static void watch_end(struct screen *s)
{
	if (s->pidfd >= 0)
		close(s->pidfd);
	s->pidfd = s->is_open && !s->source.ended ? (int)syscall(SYS_pidfd_open, s->source.pid, 0)
	                                          : -1;
}

static struct seep_error *open_process(struct screen *s, const char *what)
{
	struct seep_error *err;

	wait_message(s, "Reading the ledger and the symbols...");
	err = top_source_open(s->cli, what, &s->source);
	if (err)
		return err;
	s->is_open = true;
	s->ui.kinds = s->source.top->wanted->kinds;
	snprintf(s->ui.filter, sizeof(s->ui.filter), "%s",
	         s->cli->focus.n ? s->cli->focus.items[0] : "");
	watch_end(s);
	return top_ui_update(&s->ui, s->source.top);
}

static void close_process(struct screen *s)
{
	struct top_ui *ui = &s->ui;

	top_source_close(&s->source);
	s->is_open = false;
	watch_end(s);
	top_rows_release(&ui->rows);
	ui->nlines = ui->nopened = ui->selected = ui->first = 0;
	ui->members.n = 0;
	s->next = 0;
}

static struct seep_error *refresh_now(struct screen *s)
{
	uint64_t start = top_now(), cost;
	struct seep_error *err;

	if (s->is_open) {
		bool ended = s->source.ended;

		err = top_source_refresh(&s->source);
		if (!err && !ended)
			err = top_ui_update(&s->ui, s->source.top);
		if (s->source.problem && !s->ui.message[0])
			snprintf(s->ui.message, sizeof(s->ui.message), "%s", s->source.problem);
		if (s->source.ended != ended)
			watch_end(s);
	} else {
		err = top_list_refresh(&s->list);
		if (!err)
			top_list_sort(&s->list, s->ui.order, s->ui.reverse);
	}
	cost = top_now() - start;
	s->next = start + (cost * SLOW_PART > s->interval ? cost * SLOW_PART : s->interval);
	return err;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static struct seep_error *changed(struct screen *s)
{
	if (s->is_open)
		return top_ui_update(&s->ui, s->source.top);
	top_list_sort(&s->list, s->ui.order, s->ui.reverse);
	return NULL;
}

static struct seep_error *set_by(struct screen *s, enum group_by by)
{
	if (!s->is_open)
		return NULL;
	s->ui.by = by;
	s->ui.selected = s->ui.first = 0;
	if (by == GROUP_THREAD && (s->ui.order == TOP_RATE || s->ui.order == TOP_AGE))
		s->ui.order = TOP_INUSE;
	return changed(s);
}

/* The view with what was typed; a bad expression is told, and the old one stays. */
static struct seep_error *set_filter(struct screen *s, const char *text, unsigned int kinds)
{
	const char *focus[] = { text };
	struct view_options o = *s->source.top->wanted;
	struct seep_error *err;

	o.focus = focus;
	o.nfocus = *text ? 1 : 0;
	o.kinds = kinds;
	err = top_filter(s->source.top, &o);
	if (err) {
		snprintf(s->ui.message, sizeof(s->ui.message), "%s", err->message);
		seep_error_free(err);
		return NULL;
	}
	if (text != s->ui.filter)
		snprintf(s->ui.filter, sizeof(s->ui.filter), "%s", text);
	s->ui.kinds = kinds;
	s->ui.selected = s->ui.first = 0;
	return changed(s);
}

static struct seep_error *next_kinds(struct screen *s)
{
	static const unsigned int kinds[] = { PROF_MEMORY, PROF_KIND_BIT(PROF_HEAP),
		                              PROF_KIND_BIT(PROF_MMAP), PROF_KIND_BIT(PROF_STACK),
		                              PROF_ALL_KINDS };
	unsigned int now = s->ui.kinds ? s->ui.kinds : PROF_MEMORY;
	size_t at = 0;

	while (at < ARRAY_SIZE(kinds) && kinds[at] != now)
		at++;
	return set_filter(s, s->ui.filter, kinds[(at + 1) % ARRAY_SIZE(kinds)]);
}

static struct seep_error *edit_key(struct screen *s, int type, wint_t key)
{
	char *edit = s->ui.edit;
	size_t n = strlen(edit);

	if ((type == KEY_CODE_YES && key == KEY_ENTER) ||
	    (type == OK && (key == '\r' || key == '\n'))) {
		s->ui.editing = false;
		return set_filter(s, edit, s->ui.kinds);
	}
	if (type == OK && (key == KEY_ESCAPE || key == CONTROL('g'))) {
		s->ui.editing = false;
	} else if ((type == KEY_CODE_YES && key == KEY_BACKSPACE) ||
	           (type == OK && (key == 127 || key == 8))) {
		while (n && ((unsigned char)edit[n - 1] & 0xc0) == 0x80)
			n--;
		edit[n ? n - 1 : 0] = '\0';
	} else if (type == OK && key == CONTROL('u')) {
		edit[0] = '\0';
	} else if (type == OK && key >= ' ' && n + MB_LEN_MAX < sizeof(s->ui.edit)) {
		mbstate_t state = { 0 };
		size_t len = wcrtomb(edit + n, (wchar_t)key, &state);

		edit[len == (size_t)-1 ? n : n + len] = '\0';
	}
	return NULL;
}

static void move_by(struct screen *s, long lines)
{
	if (s->is_open)
		top_ui_move(&s->ui, lines);
	else
		top_ui_list_move(&s->ui, &s->list, lines);
}

static struct seep_error *open_selected(struct screen *s)
{
	struct seep_error *err;

	if (s->is_open)
		return top_ui_toggle(&s->ui, s->source.top);
	if (s->ui.list_selected >= s->list.n)
		return NULL;
	err = open_process(s, s->list.items[s->ui.list_selected].path);
	if (err) { /* it may just have ended */
		snprintf(s->ui.message, sizeof(s->ui.message), "%s", err->message);
		if (s->is_open)
			close_process(s);
		seep_error_free(err);
	}
	return NULL;
}

static void set_interval(struct screen *s, bool longer)
{
	uint64_t ns = longer ? s->interval * 2 : s->interval / 2;

	if (ns < 100000000u || ns > 3600000000000u)
		return;
	s->interval = ns;
	s->next = 0;
	snprintf(s->ui.message, sizeof(s->ui.message), "every %.3g s", (double)ns / 1e9);
}

static void set_base(struct screen *s, bool on)
{
	if (!s->is_open)
		return;
	if (on)
		top_base_set(s->source.top);
	else
		top_base_clear(s->source.top);
	snprintf(s->ui.message, sizeof(s->ui.message), "%s",
	         on ? "Base marked: SINCE is from now on." : "Base forgotten.");
}

static struct seep_error *letter(struct screen *s, wint_t key)
{
	static const enum group_by by[] = { GROUP_SITE, GROUP_FUNCTION, GROUP_MODULE, GROUP_THREAD,
		                            GROUP_KIND };

	switch (key) {
	case 'q':
	case 'Q':
		s->quit = true;
		return NULL;
	case 'j':
	case 'k':
		move_by(s, key == 'j' ? 1 : -1);
		return NULL;
	case CONTROL('f'):
	case CONTROL('b'):
		move_by(s, key == CONTROL('f') ? (long)s->ui.page : -(long)s->ui.page);
		return NULL;
	case '\r':
	case '\n':
	case 'l':
		return open_selected(s);
	case '\t':
		return set_by(s, (enum group_by)((s->ui.by + 1) % ARRAY_SIZE(by)));
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
		return set_by(s, by[key - '1']);
	case '>':
	case 's':
	case '<':
	case 'S':
		top_ui_sort_step(&s->ui, key == '>' || key == 's' ? 1 : -1, !s->is_open);
		return changed(s);
	case 'r':
		s->ui.reverse = !s->ui.reverse;
		return changed(s);
	case ' ':
	case 'p':
		s->ui.paused = !s->ui.paused;
		s->next = 0;
		return NULL;
	case 'h':
	case '?':
		s->ui.help = true;
		return NULL;
	case 'g':
		s->ui.plot = (enum top_plot)((s->ui.plot + 1) % TOP_PLOT_NMODES);
		return NULL;
	case '+':
	case '-':
		set_interval(s, key == '+');
		return NULL;
	case 'b':
	case 'B':
		set_base(s, key == 'b');
		return s->is_open ? changed(s) : NULL;
	case '/':
		if (s->is_open) {
			s->ui.editing = true;
			snprintf(s->ui.edit, sizeof(s->ui.edit), "%s", s->ui.filter);
		}
		return NULL;
	case 'K':
		return s->is_open ? next_kinds(s) : NULL;
	case CONTROL('l'):
		clearok(curscr, TRUE);
		return NULL;
	case KEY_ESCAPE:
	case 127:
	case 8:
		if (s->is_open && s->has_list)
			close_process(s);
		return NULL;
	}
	return NULL;
}

static struct seep_error *key_code(struct screen *s, wint_t key)
{
	switch (key) {
	case KEY_UP:
	case KEY_DOWN:
		move_by(s, key == KEY_DOWN ? 1 : -1);
		return NULL;
	case KEY_NPAGE:
	case KEY_PPAGE:
		move_by(s, key == KEY_NPAGE ? (long)s->ui.page : -(long)s->ui.page);
		return NULL;
	case KEY_HOME:
	case KEY_END:
		move_by(s, key == KEY_END ? INT_MAX : -INT_MAX);
		return NULL;
	case KEY_ENTER:
	case KEY_RIGHT:
		return open_selected(s);
	case KEY_BTAB:
		return set_by(s, (enum group_by)((s->ui.by + 4) % 5));
	case KEY_BACKSPACE:
	case KEY_LEFT:
		return letter(s, KEY_ESCAPE);
	default:
		return NULL;
	}
}

static struct seep_error *take_keys(struct screen *s)
{
	struct seep_error *err = NULL;
	wint_t key;
	int type;

	while (!err && !s->quit && (type = get_wch(&key)) != ERR) {
		s->ui.message[0] = '\0';
		if (s->ui.editing)
			err = edit_key(s, type, key);
		else if (s->ui.help && !(type == KEY_CODE_YES && key == KEY_RESIZE))
			s->ui.help = false;
		else
			err = type == KEY_CODE_YES ? key_code(s, key) : letter(s, key);
	}
	return err;
}

/* ---- loop --------------------------------------------------------------------------------------- */

/* Waits for a key, a signal, the end of the process, or the time of the next refresh. */
static void wait_for_something(struct screen *s, bool *ret_keys)
{
	struct pollfd p[] = { { .fd = STDIN_FILENO, .events = POLLIN },
		              { .fd = s->signals, .events = POLLIN },
		              { .fd = s->pidfd, .events = POLLIN } };
	uint64_t now = top_now();
	bool still = s->ui.paused || (s->is_open && s->source.ended);
	int timeout = still ? -1 : s->next > now ? (int)((s->next - now + 999999) / 1000000) : 0;

	if (s->ui.paused)
		p[2].fd = -1;
	*ret_keys = false;
	if (poll(p, ARRAY_SIZE(p), timeout) < 0)
		return;
	if (p[0].revents & (POLLHUP | POLLERR | POLLNVAL))
		s->quit = true; /* the terminal is gone */
	*ret_keys = p[0].revents & POLLIN;
	if (p[1].revents)
		take_signals(s);
	if (p[2].revents) {
		close(s->pidfd);
		s->pidfd = -1;
		s->next = 0;
	}
}

static struct seep_error *loop(struct screen *s)
{
	struct seep_error *err = draw(s);

	while (!err && !s->quit) {
		bool keys;

		wait_for_something(s, &keys);
		if (s->quit)
			break;
		if (keys)
			err = take_keys(s);
		if (!err && !s->quit && !s->ui.paused && !(s->is_open && s->source.ended) &&
		    top_now() >= s->next)
			err = refresh_now(s);
		if (!err && !s->quit)
			err = draw(s);
	}
	return err;
}

int top_screen(const struct top_cli *c, const char *what, char **names, size_t n)
{
	struct screen s = { .cli = c, .signals = -1, .pidfd = -1, .interval = c->interval_ns };
	struct seep_error *err = take_terminal(&s);
	int status = CLI_OK;

	top_ui_init(&s.ui, c);
	top_list_init(&s.list, c, names, n);
	s.has_list = !what;
	s.source.fd = -1;
	if (!err && what)
		err = open_process(&s, what);
	else if (!err)
		err = refresh_now(&s);
	if (!err)
		s.next = top_now() + s.interval;
	if (!err)
		err = loop(&s);
	give_terminal_back(&s);
	if (s.is_open)
		close_process(&s);
	watch_end(&s);
	top_list_release(&s.list);
	top_ui_release(&s.ui);
	canvas_release(&s.canvas);
	if (err)
		status = cli_fail("top", err);
	if (s.died_of) {
		signal(s.died_of, SIG_DFL);
		raise(s.died_of);
	}
	return status;
}
