/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages drawn.  A narrow terminal loses columns, the least telling first, so that a name always has room; a
 * low one loses the plot.  The order of the columns is that of enum top_order.
 */
#include "cli/top_ui.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "output/units.h"
#include "profile/profile.h"

#define NAME_WANTS 30u /* columns a name should have before anything else is shown */
#define RECENT_NS 600000000000ull

struct column {
	const char *title;
	enum top_order order;
	unsigned int width;
	unsigned int rank; /* those of a higher rank go first */
};

/* Not to be sorted by: the margin of what is in use; resident memory. */
#define UNSORTED TOP_NORDERS

enum { AT_INUSE, AT_MARGIN, AT_BLOCKS, AT_GROWTH, AT_SINCE, AT_RATE, AT_AGE, NCOLUMNS };

/* In use and the name always stay. */
static const struct column columns[NCOLUMNS] = {
	[AT_INUSE] = { "IN USE", TOP_INUSE, 9, 0 },
	[AT_MARGIN] = { "±", UNSORTED, 9, 3 },
	[AT_BLOCKS] = { "BLOCKS", TOP_BLOCKS, 10, 6 },
	[AT_GROWTH] = { "GROWTH/s", TOP_GROWTH, 9, 1 },
	[AT_SINCE] = { "SINCE", TOP_BASE, 9, 4 },
	[AT_RATE] = { "ALLOC/s", TOP_RATE, 8, 2 },
	[AT_AGE] = { "OLDEST", TOP_AGE, 7, 5 },
};
static const struct column list_columns[NCOLUMNS] = {
	[AT_INUSE] = { "IN USE", TOP_INUSE, 9, 0 },
	[AT_MARGIN] = { "RSS", UNSORTED, 9, 3 },
	[AT_BLOCKS] = { "BLOCKS", TOP_BLOCKS, 10, 5 },
	[AT_GROWTH] = { "GROWTH/s", TOP_GROWTH, 9, 1 },
	[AT_SINCE] = { "", UNSORTED, 0, 0 }, /* never shown */
	[AT_RATE] = { "ALLOC/s", TOP_RATE, 8, 2 },
	[AT_AGE] = { "TRACKED", TOP_AGE, 7, 4 },
};

static const char *text_of(const struct buf *b)
{
	return b->data ? b->data : "";
}

void top_short_age(struct buf *b, uint64_t ns)
{
	unsigned long long s = ns / 1000000000u;

	if (ns < 1000000000u)
		buf_printf(b, "%ums", (unsigned int)(ns / 1000000u));
	else if (s < 60)
		buf_printf(b, "%.1fs", (double)(ns / 100000000u) / 10);
	else if (s < 3600)
		buf_printf(b, "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		buf_printf(b, "%lluh%02llum", s / 3600, s / 60 % 60);
	else
		buf_printf(b, "%llud%lluh", s / 86400, s / 3600 % 24);
}

/* ---- columns ----------------------------------------------------------------------- */

static void choose(const struct column *all, bool *shown, unsigned int cols)
{
	for (;;) {
		unsigned int used = 2, worst = 0;
		size_t at = 0;

		for (size_t i = 0; i < NCOLUMNS; i++) {
			if (!shown[i])
				continue;
			used += all[i].width + 1;
			if (all[i].rank > worst) {
				worst = all[i].rank;
				at = i;
			}
		}
		if (!worst || used + NAME_WANTS <= cols)
			return;
		shown[at] = false;
	}
}

/* Titles; returns where the names begin. */
static unsigned int titles(const struct top_ui *ui, struct canvas *c, unsigned int row,
                           const struct column *all, const bool *shown, const char *name)
{
	const char *arrow = ui->reverse ? "▲" : "▼";
	unsigned int at = 2, used;

	for (size_t i = 0; i < NCOLUMNS; i++) {
		bool sorted = ui->order == all[i].order && all[i].order != UNSORTED;
		char title[32];

		if (!shown[i])
			continue;
		snprintf(title, sizeof(title), "%s%s", all[i].title, sorted ? arrow : "");
		canvas_right(c, row, at, all[i].width, sorted ? CANVAS_BOLD : CANVAS_PLAIN, title);
		at += all[i].width + 1;
	}
	used = canvas_put(c, row, at + 1, c->cols,
	                  ui->order == TOP_NAME ? CANVAS_BOLD : CANVAS_PLAIN, name);
	if (ui->order == TOP_NAME)
		canvas_put(c, row, at + 1 + used, 1, CANVAS_BOLD, arrow);
	canvas_row_style(c, row, CANVAS_REVERSE);
	return at + 1;
}

static uint64_t whole(double v)
{
	return (uint64_t)fmin(fmax(v, 0), 1e18);
}

/* One number of a row as text, "" where it is not known, and its style. */
static unsigned int number(const struct top *t, enum group_by by, const struct top_row *r,
                           enum top_order what, struct buf *b)
{
	double v;

	switch (what) {
	case TOP_INUSE:
		unit_bytes(b, r->inuse.bytes);
		return CANVAS_PLAIN;
	case TOP_BLOCKS:
		unit_count(b, r->inuse.blocks);
		return CANVAS_PLAIN;
	case TOP_GROWTH:
	case TOP_BASE:
		v = what == TOP_GROWTH ? r->growth : (double)(t->based ? r->base : r->delta);
		if (fabs(v) < 0.5)
			return CANVAS_PLAIN;
		top_signed(b, v, "");
		return v > 0 ? CANVAS_WARN : CANVAS_LESS;
	case TOP_RATE:
		if (r->rate >= 0.5 && by != GROUP_THREAD)
			unit_bytes(b, whole(r->rate));
		return CANVAS_PLAIN;
	case TOP_AGE:
		if (top_row_age(t, r) != UINT64_MAX)
			top_short_age(b, top_row_age(t, r));
		return CANVAS_PLAIN;
	case UNSORTED: /* the margin */
		if (top_row_margin(t, r)) {
			buf_puts(b, "±");
			unit_bytes(b, top_row_margin(t, r));
		}
		return CANVAS_DIM;
	default:
		return CANVAS_PLAIN;
	}
}

static void numbers(const struct top *t, enum group_by by, const struct top_row *r,
                    const bool *shown, struct canvas *c, unsigned int row, unsigned int dim)
{
	unsigned int at = 2;

	for (size_t i = 0; i < NCOLUMNS; i++) {
		_cleanup_buf_ struct buf text = { 0 };
		unsigned int style;

		if (!shown[i])
			continue;
		style = number(t, by, r, columns[i].order, &text);
		canvas_right(c, row, at, columns[i].width, style | dim, text_of(&text));
		at += columns[i].width + 1;
	}
}

/* A function, and where: the place has what the function leaves, at least a third. */
static void place(struct canvas *c, unsigned int row, unsigned int at, const char *mark,
                  const struct top_place *p, unsigned int style, unsigned int place_style)
{
	unsigned int room, function, where = canvas_width(c, p->where), used;
	const char *text = p->where, *slash = strrchr(text, '/');

	at += canvas_put(c, row, at, c->cols, style, mark);
	room = c->cols > at ? c->cols - at : 0;
	function = canvas_width(c, p->function);
	if (function + 2 + where > room && slash && strncmp(text, "in ", 3) != 0) {
		text = slash + 1; /* the file's name rather than half its path */
		where = canvas_width(c, text);
	}
	if (function + 2 + where > room) {
		unsigned int least = room / 2;

		if (room < 20 || !where)
			function = function < room ? function : room;
		else if (where < least)
			function = room - where - 2;
		else if (function > least)
			function = least;
	}
	used = canvas_fit(c, row, at, function, style, p->function, false);
	if (where && room > used + 2 + 6)
		canvas_fit(c, row, at + used + 2, room - used - 2, place_style, text, true);
}

/* ---- head ------------------------------------------------------------------------------ */

/* "name  value" pieces on as many lines as they need, at most `most`; returns the lines. */
struct pieces {
	struct canvas *c;
	unsigned int row, col, most, first;
};

static void piece(struct pieces *p, const char *name, const char *value, unsigned int style)
{
	unsigned int need = canvas_width(p->c, name) + canvas_width(p->c, value) + (*name ? 1 : 0);

	if (p->col > 1 && p->col + need > p->c->cols) {
		if (p->row + 1 >= p->first + p->most)
			return;
		p->row++;
		p->col = 1;
	}
	if (*name) {
		p->col += canvas_put(p->c, p->row, p->col, p->c->cols, CANVAS_DIM, name);
		p->col++;
	}
	p->col += canvas_put(p->c, p->row, p->col, p->c->cols, style, value) + 2;
}

static void head_line(const struct top_ui *ui, const struct top_source *s, struct canvas *c)
{
	const struct profile *p = s->top->profile;
	_cleanup_buf_ struct buf left = { 0 }, right = { 0 };
	char clock[16] = "";
	time_t now = (time_t)(s->time_ns / 1000000000u);
	struct tm tm;
	unsigned int used;

	buf_printf(&left, " %s  pid %d", s->name, (int)s->pid);
	if (s->uptime_ns && !s->ended) {
		buf_puts(&left, "  up ");
		top_short_age(&left, s->uptime_ns);
	}
	if (p->sampled) {
		buf_puts(&left, "  sampled 1/");
		unit_bytes(&left, p->period);
	} else {
		buf_puts(&left, "  every block");
	}
	if (localtime_r(&now, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	if (s->ended)
		buf_puts(&right, p->killed     ? "KILLED "
		                 : p->execed   ? "REPLACED BY EXEC "
		                 : p->detached ? "DETACHED "
		                               : "ENDED ");
	else if (s->problem)
		buf_puts(&right, "CANNOT READ ");
	if (ui->paused)
		buf_puts(&right, "PAUSED ");
	buf_printf(&right, "%s ", clock);
	used = canvas_width(c, text_of(&right));
	canvas_fit(c, 0, 0, c->cols > used ? c->cols - used : 0, CANVAS_BOLD, text_of(&left), false);
	canvas_right(c, 0, 0, c->cols,
	             s->ended || ui->paused ? CANVAS_BOLD | CANVAS_WARN : CANVAS_BOLD,
	             text_of(&right));
}

static void growth_piece(struct pieces *p, const char *name, double v, const char *per)
{
	_cleanup_buf_ struct buf b = { 0 };

	top_signed(&b, v, per);
	piece(p, name, text_of(&b),
	      v >= 0.5    ? CANVAS_WARN
	      : v <= -0.5 ? CANVAS_LESS
	                  : CANVAS_PLAIN);
}

static void bytes_piece(struct pieces *p, const char *name, uint64_t v, const char *tail)
{
	_cleanup_buf_ struct buf b = { 0 };

	unit_bytes(&b, v);
	buf_puts(&b, tail);
	piece(p, name, text_of(&b), CANVAS_PLAIN);
}

/* What there is to say beside the name; returns the lines it took. */
static unsigned int head(const struct top_ui *ui, const struct top_source *s, struct canvas *c)
{
	struct pieces p = { .c = c, .row = 1, .col = 1, .first = 1, .most = c->rows >= 20 ? 4 : 2 };
	const struct top *t = s->top;
	const struct top_row *sum = &ui->rows.sum;
	_cleanup_buf_ struct buf b = { 0 };

	unit_bytes(&b, sum->inuse.bytes);
	if (top_row_margin(t, sum)) {
		buf_puts(&b, " ± ");
		unit_bytes(&b, top_row_margin(t, sum));
	}
	piece(&p, "in use", text_of(&b), CANVAS_BOLD);
	growth_piece(&p, t->average ? "average growth" : "growth", sum->growth * 60, "/min");
	if (ui->by != GROUP_THREAD)
		bytes_piece(&p, "allocated", whole(sum->rate), "/s");
	if (s->rss != TOP_UNKNOWN && !s->ended)
		bytes_piece(&p, "RSS", s->rss, "");
	if (s->has_cgroup && s->cgroup.limit) {
		buf_reset(&b);
		unit_bytes(&b, s->cgroup.used);
		buf_puts(&b, " of ");
		unit_bytes(&b, s->cgroup.limit);
		buf_puts(&b, " (");
		unit_ratio(&b, (double)s->cgroup.used / (double)s->cgroup.limit);
		buf_puts(&b, ")");
		piece(&p, "cgroup", text_of(&b),
		      s->cgroup.used > s->cgroup.limit / 10 * 9 ? CANVAS_WARN : CANVAS_PLAIN);
	}
	if (t->based) {
		buf_reset(&b);
		buf_puts(&b, "since base ");
		top_short_age(&b, t->profile->duration_ns - t->base_time);
		buf_puts(&b, " ago");
		growth_piece(&p, text_of(&b), (double)sum->base, "");
	}
	if (top_losses(t->profile)) {
		buf_reset(&b);
		unit_count(&b, top_losses(t->profile));
		buf_puts(&b, " events");
		piece(&p, "lost", text_of(&b), CANVAS_WARN);
	}
	if (t->profile->attached)
		piece(&p, "", "attached: older blocks are not seen", CANVAS_WARN);
	if (t->profile->forked)
		piece(&p, "", "forked: inherited blocks are not seen", CANVAS_PLAIN);
	if (t->profile->bypassed)
		piece(&p, "", "the program's own malloc is not seen", CANVAS_WARN);
	if (ui->filter[0])
		piece(&p, "filter", ui->filter, CANVAS_MARK);
	buf_reset(&b);
	top_choice_words(&b, &t->options);
	if (b.len)
		piece(&p, "only blocks", text_of(&b), CANVAS_MARK);
	return p.row;
}

static unsigned int tabs(const struct top_ui *ui, struct canvas *c, unsigned int row)
{
	static const struct {
		const char *name;
		enum group_by by;
	} all[] = {
		{ "1 sites", GROUP_SITE },     { "2 functions", GROUP_FUNCTION },
		{ "3 modules", GROUP_MODULE }, { "4 threads", GROUP_THREAD },
		{ "5 kinds", GROUP_KIND },
	};
	static const struct {
		unsigned int kinds;
		const char *name;
	} kinds[] = {
		{ PROF_KIND_BIT(PROF_HEAP), "heap only" },
		{ PROF_KIND_BIT(PROF_MMAP), "mappings only" },
		{ PROF_KIND_BIT(PROF_STACK), "thread stacks only" },
		{ PROF_ALL_KINDS, "all kinds" },
	};
	_cleanup_buf_ struct buf n = { 0 };
	unsigned int at = 1;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		at += canvas_put(c, row, at, c->cols,
		                 all[i].by == ui->by ? CANVAS_BOLD | CANVAS_UNDERLINE : CANVAS_DIM,
		                 all[i].name) +
		      2;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].kinds == ui->kinds && at < c->cols)
			at += canvas_put(c, row, at, c->cols, CANVAS_MARK, kinds[i].name) + 2;
	unit_count(&n, ui->rows.n);
	if (at + canvas_width(c, text_of(&n)) + 6 < c->cols) {
		buf_puts(&n, ui->rows.n == 1 ? " row " : " rows ");
		canvas_right(c, row, 0, c->cols, CANVAS_DIM, text_of(&n));
	}
	return 1;
}

/* ---- lines ----------------------------------------------------------------------------- */

static void row_line(const struct top_ui *ui, const struct top *t, const struct top_line *l,
                     const bool *shown, unsigned int names, struct canvas *c, unsigned int row)
{
	bool member = l->type == TOP_LINE_MEMBER;
	const struct top_row *r = member ? &ui->members.items[l->row] : &ui->rows.items[l->row];
	enum group_by by = member ? GROUP_SITE : ui->by;
	struct top_place p;

	/* What one thread has of a site is not known by age and rate. */
	numbers(t, member ? ui->by : by, r, shown, c, row, member ? CANVAS_DIM : 0);
	canvas_put(c, row, 0, 1, CANVAS_DIM, l->open ? "▾" : member ? "" : "▸");
	top_row_place(t, by, r, ui->cli->cwd, &p);
	place(c, row, names, member ? (l->open ? "▾ " : "▸ ") : "", &p,
	      member ? CANVAS_PLAIN : CANVAS_BOLD, CANVAS_DIM);
}

static void frame_line(const struct top_ui *ui, const struct top *t, const struct top_line *l,
                       unsigned int names, struct canvas *c, unsigned int row)
{
	unsigned int at = names > 12 && c->cols < 100 ? 12 : names, style = CANVAS_PLAIN;
	struct top_place p;

	if (!l->node) {
		canvas_put(c, row, at, c->cols, CANVAS_WARN,
		           "stack unknown: the tracker found no room or no way to record it");
		return;
	}
	top_place_of(t, t->view->nodes[l->node].location, ui->cli->cwd, &p);
	if (l->culprit)
		style = CANVAS_MARK | CANVAS_BOLD;
	else if (t->view->locations[t->view->nodes[l->node].location].flags & VIEW_RUNTIME)
		style = CANVAS_DIM;
	place(c, row, at, l->culprit ? "▶ " : "  ", &p, style,
	      l->culprit ? CANVAS_MARK : CANVAS_DIM);
}

static void one_line(const struct top_ui *ui, const struct top *t, const struct top_line *l,
                     const bool *shown, unsigned int names, struct canvas *c, unsigned int row)
{
	char text[64];

	switch (l->type) {
	case TOP_LINE_ROW:
	case TOP_LINE_MEMBER:
		row_line(ui, t, l, shown, names, c, row);
		break;
	case TOP_LINE_FRAME:
		frame_line(ui, t, l, names, c, row);
		break;
	case TOP_LINE_MORE:
		snprintf(text, sizeof(text), "  … and %u more sites", l->more);
		canvas_put(c, row, names, c->cols, CANVAS_DIM, text);
		break;
	}
}

/* Scrolls so that line `at` of n is among `page` lines from *first on. */
static void scroll_to(size_t at, size_t n, unsigned int page, size_t *first)
{
	if (at < *first)
		*first = at;
	if (page && at >= *first + page)
		*first = at - page + 1;
	if (*first + page > n)
		*first = n > page ? n - page : 0;
}

static void lines(struct top_ui *ui, const struct top *t, struct canvas *c, unsigned int row,
                  unsigned int end)
{
	static const char *const names[] = { "SITE", "FUNCTION", "MODULE", "THREAD", "KIND" };
	bool shown[NCOLUMNS];
	unsigned int at;

	memset(shown, true, sizeof(shown));
	shown[AT_MARGIN] = t->profile->sampled;
	shown[AT_RATE] = shown[AT_AGE] = ui->by != GROUP_THREAD;
	shown[AT_SINCE] = t->based || t->readings > 1;
	choose(columns, shown, c->cols);
	at = titles(ui, c, row++, columns, shown, names[ui->by]);
	ui->page = end > row ? end - row : 0;
	scroll_to(ui->selected, ui->nlines, ui->page, &ui->first);
	for (size_t i = ui->first; i < ui->nlines && row < end; i++, row++) {
		one_line(ui, t, &ui->lines[i], shown, at, c, row);
		if (i == ui->selected)
			canvas_row_style(c, row, CANVAS_REVERSE);
	}
	if (!ui->nlines)
		canvas_put(c, row, 2, c->cols, CANVAS_DIM,
		           ui->filter[0] ? "No stack matches the filter." : "Nothing is in use.");
}

void top_page_one(struct top_ui *ui, const struct top_source *s, struct canvas *c)
{
	unsigned int row, plot = c->rows >= 40 ? 10 : c->rows >= 30 ? 8 : 6;
	uint64_t now = s->top->profile->duration_ns, from = 0;

	head_line(ui, s, c);
	row = 1 + head(ui, s, c);
	if (ui->plot != TOP_PLOT_OFF && c->rows >= 20) {
		if (ui->plot == TOP_PLOT_RECENT && now > RECENT_NS)
			from = now - RECENT_NS;
		top_plot_draw(&s->history, from, now, c, row, plot);
		row += plot;
	}
	row += tabs(ui, c, row);
	lines(ui, s->top, c, row, c->rows - 1);
}

/* ---- list -------------------------------------------------------------------------------- */

static void list_numbers(const struct top_process *p, const bool *shown, struct canvas *c,
                         unsigned int row)
{
	struct buf text[NCOLUMNS] = { { 0 } };
	double growth = top_process_growth(p);
	unsigned int at = 2;

	unit_bytes(&text[AT_INUSE], p->inuse);
	unit_count(&text[AT_BLOCKS], p->blocks);
	if (fabs(growth) >= 0.5)
		top_signed(&text[AT_GROWTH], growth, "");
	if (p->rss != TOP_UNKNOWN)
		unit_bytes(&text[AT_MARGIN], p->rss);
	if (top_process_rate(p) >= 0.5)
		unit_bytes(&text[AT_RATE], whole(top_process_rate(p)));
	top_short_age(&text[AT_AGE], p->duration_ns);
	for (size_t i = 0; i < NCOLUMNS; i++) {
		unsigned int style = i != AT_GROWTH || fabs(growth) < 0.5 ? CANVAS_PLAIN
		                     : growth > 0                         ? CANVAS_WARN
		                                                          : CANVAS_LESS;

		if (!shown[i])
			continue;
		canvas_right(c, row, at, list_columns[i].width, style, text_of(&text[i]));
		at += list_columns[i].width + 1;
	}
	for (size_t i = 0; i < NCOLUMNS; i++)
		buf_release(&text[i]);
}

void top_page_list(struct top_ui *ui, const struct top_list *l, struct canvas *c)
{
	bool shown[NCOLUMNS];
	unsigned int row = 0, at;
	char text[96];

	memset(shown, true, sizeof(shown));
	shown[AT_SINCE] = false;

	for (size_t i = 0; i < l->n; i++)
		if ((uint32_t)l->items[i].pid == ui->selected_pid && ui->list_selected)
			ui->list_selected = i;
	if (ui->list_selected >= l->n)
		ui->list_selected = l->n ? l->n - 1 : 0;
	ui->selected_pid = l->n ? (uint32_t)l->items[ui->list_selected].pid : 0;
	snprintf(text, sizeof(text), " seep top  %zu tracked process%s%s", l->n,
	         l->n == 1 ? "" : "es", ui->paused ? "  PAUSED" : "");
	canvas_put(c, row, 0, c->cols, CANVAS_BOLD, text);
	row += 2;
	choose(list_columns, shown, c->cols);
	at = titles(ui, c, row++, list_columns, shown, "    PID  PROGRAM");
	ui->page = c->rows > row + 1 ? c->rows - 1 - row : 0;
	scroll_to(ui->list_selected, l->n, ui->page, &ui->list_first);
	for (size_t i = ui->list_first; i < l->n && row + 1 < c->rows; i++, row++) {
		const struct top_process *p = &l->items[i];
		unsigned int used;

		list_numbers(p, shown, c, row);
		snprintf(text, sizeof(text), "%d", (int)p->pid);
		canvas_right(c, row, at, 7, CANVAS_PLAIN, text);
		used = canvas_put(c, row, at + 9, c->cols, CANVAS_BOLD, p->name);
		used += at + 9 + 2;
		if (c->cols >= 120)
			canvas_fit(c, row, c->cols - 20, 20, CANVAS_DIM, p->allocator, false);
		if (c->cols >= 100 && used < c->cols)
			canvas_fit(c, row, used, c->cols - used - (c->cols >= 120 ? 22 : 0),
			           CANVAS_DIM, p->command, false);
		if (i == ui->list_selected)
			canvas_row_style(c, row, CANVAS_REVERSE);
	}
	if (!l->n)
		canvas_put(c, row, 2, c->cols, CANVAS_DIM,
		           "Nothing is tracked. Start something with: seep run -- COMMAND");
}

/* ---- help and the last line ------------------------------------------------------------------ */

void top_page_help(struct canvas *c)
{
	static const char *const text[][2] = {
		{ "↑ ↓  j k  PgUp PgDn  Home End", "move" },
		{ "Enter  →", "open or close: a stack, a row's sites" },
		{ "1 2 3 4 5  Tab", "by site, function, module, thread, kind" },
		{ "< >  s S", "sort by the next or previous column" },
		{ "r", "reverse the order" },
		{ "/", "only stacks that match an expression" },
		{ "K", "heap, mappings, thread stacks or all" },
		{ "b  B", "mark a base to compare with; forget it" },
		{ "Space  p", "pause" },
		{ "g", "plot: last ten minutes, whole time, off" },
		{ "+ -", "refresh less or more often" },
		{ "Esc  Backspace", "back to the list" },
		{ "q", "quit" },
	};
	unsigned int width = 74 < c->cols ? 74 : c->cols, left = (c->cols - width) / 2;
	unsigned int rows = (unsigned int)ARRAY_SIZE(text) + 2;
	unsigned int top = c->rows > rows ? (c->rows - rows) / 2 : 0;

	for (unsigned int i = 0; i < rows && top + i < c->rows; i++) {
		for (unsigned int x = 0; x < width; x++)
			canvas_cell_set(c, top + i, left + x, L' ', CANVAS_REVERSE);
		if (!i || i + 1 == rows)
			continue;
		canvas_put(c, top + i, left + 2, 30, CANVAS_REVERSE | CANVAS_BOLD, text[i - 1][0]);
		canvas_put(c, top + i, left + 33, width > 34 ? width - 34 : 0, CANVAS_REVERSE,
		           text[i - 1][1]);
	}
	canvas_put(c, top, left + 2, width, CANVAS_REVERSE | CANVAS_BOLD, "seep top: keys");
}

static void key(struct canvas *c, unsigned int row, unsigned int *at, const char *keys,
                const char *what)
{
	if (*at + canvas_width(c, keys) + 1 + canvas_width(c, what) > c->cols)
		return;
	*at += canvas_put(c, row, *at, c->cols, CANVAS_BOLD, keys) + 1;
	*at += canvas_put(c, row, *at, c->cols, CANVAS_DIM, what) + 2;
}

void top_page_footer(const struct top_ui *ui, struct canvas *c, bool list, bool back)
{
	unsigned int row = c->rows - 1, at = 1;

	if (ui->editing) {
		at += canvas_put(c, row, at, c->cols, CANVAS_BOLD, "filter: ");
		at += canvas_put(c, row, at, c->cols, CANVAS_PLAIN, ui->edit);
		canvas_put(c, row, at, 1, CANVAS_REVERSE, " ");
		return;
	}
	if (ui->message[0]) {
		canvas_fit(c, row, at, c->cols, CANVAS_WARN, ui->message, false);
		return;
	}
	key(c, row, &at, "q", "quit");
	key(c, row, &at, "h", "help");
	key(c, row, &at, "⏎", "open");
	key(c, row, &at, "<>", "sort");
	if (!list) {
		key(c, row, &at, "Tab", "by");
		key(c, row, &at, "/", "filter");
		key(c, row, &at, "b", "base");
		key(c, row, &at, "g", "plot");
	}
	key(c, row, &at, "Space", ui->paused ? "go on" : "pause");
	if (back)
		key(c, row, &at, "Esc", "back");
}
