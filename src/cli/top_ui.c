/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be scrolled over on a page of one process: its rows, and below those that are open the stack of a site, or
 * the largest sites of a function, module or thread, which can be opened in turn.
 *
 * All lines are made at once, for every row there is, when something changes; fifty thousand are a
 * millisecond.  A key that only moves the selection makes nothing.
 */
#include "cli/top_ui.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "profile/profile.h"

#define MOST_MEMBERS 10u
#define NO_SUB UINT64_MAX

void top_ui_init(struct top_ui *ui, const struct top_cli *cli)
{
	*ui = (struct top_ui){ .cli = cli,
		               .by = cli->by,
		               .order = cli->order,
		               .reverse = cli->reverse,
		               .plot = TOP_PLOT_RECENT };
}

void top_ui_release(struct top_ui *ui)
{
	top_rows_release(&ui->rows);
	top_rows_release(&ui->members);
	free(ui->lines);
	free(ui->opened);
	memset(ui, 0, sizeof(*ui));
}

/* ---- what is open -------------------------------------------------------------- */

static uint64_t open_key(enum group_by by, uint64_t key)
{
	return hash_mix(key, by);
}

static bool is_open(const struct top_ui *ui, enum group_by by, uint64_t key)
{
	for (size_t i = 0; i < ui->nopened; i++)
		if (ui->opened[i] == open_key(by, key))
			return true;
	return false;
}

static int toggle(struct top_ui *ui, uint64_t key)
{
	uint64_t *more;

	for (size_t i = 0; i < ui->nopened; i++) {
		if (ui->opened[i] != key)
			continue;
		ui->opened[i] = ui->opened[--ui->nopened];
		return 0;
	}
	more = reallocarray(ui->opened, ui->nopened + 1, sizeof(*more));
	if (!more)
		return -1;
	ui->opened = more;
	more[ui->nopened++] = key;
	return 0;
}

/* ---- lines ------------------------------------------------------------------------ */

static int add_line(struct top_ui *ui, struct top_line line)
{
	if (ui->nlines == ui->cap_lines) {
		size_t cap = ui->cap_lines ? ui->cap_lines * 2 : 256;
		struct top_line *p = reallocarray(ui->lines, cap, sizeof(*p));

		if (!p)
			return -1;
		ui->lines = p;
		ui->cap_lines = cap;
	}
	ui->lines[ui->nlines++] = line;
	return 0;
}

/* The stack at node `leaf`; sub numbers the lines under a row. */
static int add_stack(struct top_ui *ui, const struct top *t, uint32_t leaf, uint64_t key,
                     uint64_t sub)
{
	uint32_t culprit = view_culprit(t->view, leaf), depth = 0;

	if (!leaf)
		return add_line(ui, (struct top_line){ .type = TOP_LINE_FRAME,
		                                       .node = 0,
		                                       .key = key,
		                                       .sub = hash_mix(sub, 1) });
	for (uint32_t n = leaf; n; n = t->view->nodes[n].parent)
		if (add_line(ui, (struct top_line){ .type = TOP_LINE_FRAME,
		                                    .node = n,
		                                    .culprit = n == culprit,
		                                    .key = key,
		                                    .sub = hash_mix(sub, ++depth) }) < 0)
			return -1;
	return 0;
}

/* The largest sites of a row that is not a site. */
static struct seep_error *add_members(struct top_ui *ui, const struct top *t,
                                      const struct top_row *row)
{
	_cleanup_top_rows_ struct top_rows in = { 0 };
	struct seep_error *err = top_rows_within(t, ui->by, row, &in);
	size_t shown;

	if (err)
		return err;
	top_rows_sort(t, &in, ui->order == TOP_NAME ? TOP_INUSE : ui->order, false);
	shown = in.n < MOST_MEMBERS ? in.n : MOST_MEMBERS;
	for (size_t i = 0; i < shown; i++) {
		bool open = is_open(ui, GROUP_SITE, in.items[i].key);
		uint32_t at = (uint32_t)ui->members.n;

		if (ui->members.n == ui->nmembers_cap) {
			size_t cap = ui->nmembers_cap ? ui->nmembers_cap * 2 : 64;
			struct top_row *p = reallocarray(ui->members.items, cap, sizeof(*p));

			if (!p)
				return &seep_error_nomem;
			ui->members.items = p;
			ui->nmembers_cap = cap;
		}
		ui->members.items[ui->members.n++] = in.items[i];
		if (add_line(ui, (struct top_line){ .type = TOP_LINE_MEMBER,
		                                    .row = at,
		                                    .open = open,
		                                    .key = row->key,
		                                    .sub = in.items[i].key }) < 0 ||
		    (open && add_stack(ui, t, in.items[i].id, row->key, in.items[i].key) < 0))
			return &seep_error_nomem;
	}
	if (in.n > shown && add_line(ui, (struct top_line){ .type = TOP_LINE_MORE,
	                                                    .more = (uint32_t)(in.n - shown),
	                                                    .key = row->key,
	                                                    .sub = NO_SUB - 1 }) < 0)
		return &seep_error_nomem;
	return NULL;
}

static struct seep_error *make_lines(struct top_ui *ui, const struct top *t)
{
	ui->nlines = 0;
	ui->members.n = 0;
	ui->members.by = GROUP_SITE;
	for (size_t i = 0; i < ui->rows.n; i++) {
		const struct top_row *r = &ui->rows.items[i];
		bool open = ui->nopened && is_open(ui, ui->by, r->key);
		struct seep_error *err = NULL;

		if (add_line(ui, (struct top_line){ .type = TOP_LINE_ROW,
		                                    .row = (uint32_t)i,
		                                    .open = open,
		                                    .key = r->key,
		                                    .sub = NO_SUB }) < 0)
			return &seep_error_nomem;
		if (!open)
			continue;
		if (ui->by == GROUP_SITE)
			err = add_stack(ui, t, r->id, r->key, 0) < 0 ? &seep_error_nomem : NULL;
		else
			err = add_members(ui, t, r);
		if (err)
			return err;
	}
	return NULL;
}

/* The line it was on; of a row that is gone, the place it was at. */
static void find_selected(struct top_ui *ui, uint64_t key, uint64_t sub, bool was)
{
	size_t row = SIZE_MAX;
	size_t offset = ui->selected >= ui->first ? ui->selected - ui->first : 0;

	for (size_t i = 0; was && i < ui->nlines; i++) {
		if (ui->lines[i].key != key)
			continue;
		if (ui->lines[i].sub == sub || (row == SIZE_MAX && ui->lines[i].sub == NO_SUB))
			row = i;
		if (ui->lines[i].sub == sub)
			break;
	}
	/* On the first row one stays with the first row: that is where the largest come to. */
	if (row != SIZE_MAX && ui->selected)
		ui->selected = row;
	if (ui->selected >= ui->nlines)
		ui->selected = ui->nlines ? ui->nlines - 1 : 0;
	ui->first = ui->selected >= offset ? ui->selected - offset : 0;
}

struct seep_error *top_ui_update(struct top_ui *ui, const struct top *t)
{
	bool was = ui->selected < ui->nlines;
	uint64_t key = was ? ui->lines[ui->selected].key : 0,
		 sub = was ? ui->lines[ui->selected].sub : 0;
	struct top_rows rows = { 0 };
	struct seep_error *err = top_rows_make(t, ui->by, &rows);

	if (err)
		return err;
	top_rows_release(&ui->rows);
	ui->rows = rows;
	top_rows_sort(t, &ui->rows, ui->order, ui->reverse);
	err = make_lines(ui, t);
	if (!err)
		find_selected(ui, key, sub, was);
	return err;
}

struct seep_error *top_ui_toggle(struct top_ui *ui, const struct top *t)
{
	const struct top_line *l = ui->selected < ui->nlines ? &ui->lines[ui->selected] : NULL;
	size_t back = ui->selected;
	uint64_t key, sub;
	struct seep_error *err;
	size_t offset;

	if (!l || l->type == TOP_LINE_MORE)
		return NULL;
	/* On a frame: what it belongs to is closed. */
	while (back && ui->lines[back].type == TOP_LINE_FRAME)
		back--;
	l = &ui->lines[back];
	offset = back >= ui->first ? back - ui->first : 0;
	key = l->key;
	sub = l->sub;
	if (toggle(ui, l->type == TOP_LINE_MEMBER ? open_key(GROUP_SITE, sub)
	                                          : open_key(ui->by, key)) < 0)
		return &seep_error_nomem;
	err = make_lines(ui, t);
	for (size_t i = 0; !err && i < ui->nlines; i++)
		if (ui->lines[i].key == key && ui->lines[i].sub == sub)
			ui->selected = i;
	ui->first = ui->selected >= offset ? ui->selected - offset : 0;
	return err;
}

/* ---- moving ---------------------------------------------------------------------------- */

static size_t moved(size_t at, long by, size_t n)
{
	if (!n)
		return 0;
	if (by < 0)
		return at < (size_t)-by ? 0 : at - (size_t)-by;
	return at + (size_t)by < n ? at + (size_t)by : n - 1;
}

void top_ui_move(struct top_ui *ui, long lines)
{
	ui->selected = moved(ui->selected, lines, ui->nlines);
}

void top_ui_list_move(struct top_ui *ui, const struct top_list *l, long lines)
{
	ui->list_selected = moved(ui->list_selected, lines, l->n);
	ui->selected_pid = l->n ? (uint32_t)l->items[ui->list_selected].pid : 0;
}

/* In the order of the columns. */
void top_ui_sort_step(struct top_ui *ui, int step, bool list)
{
	do
		ui->order = (enum top_order)(((int)ui->order + step + TOP_NORDERS) % TOP_NORDERS);
	while ((list && ui->order == TOP_BASE) ||
	       (!list && ui->by == GROUP_THREAD && (ui->order == TOP_RATE || ui->order == TOP_AGE)));
}
