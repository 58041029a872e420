/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages of `seep top`: what is shown, what is selected, and how it is drawn.  No terminal here: keys come in
 * as calls, a page comes out as a canvas.
 */
#ifndef SEEP_CLI_TOP_UI_H
#define SEEP_CLI_TOP_UI_H

#include "cli/canvas.h"
#include "cli/top.h"

enum top_line_type { TOP_LINE_ROW, TOP_LINE_MEMBER, TOP_LINE_FRAME, TOP_LINE_MORE };

/* What can be scrolled over: rows, the sites of one that is open, the frames of a stack. */
struct top_line {
	enum top_line_type type;
	uint32_t row;  /* in rows, or of a member in members */
	uint32_t node; /* of a frame, in the view */
	uint32_t more; /* how many are not shown */
	bool culprit;  /* the frame to look at */
	bool open;
	uint64_t key, sub; /* of the row, and of the line in it: finds the selected line again */
};

enum top_plot { TOP_PLOT_OFF, TOP_PLOT_RECENT, TOP_PLOT_ALL, TOP_PLOT_NMODES };

struct top_ui {
	const struct top_cli *cli;
	enum group_by by;
	enum top_order order;
	bool reverse, paused, help;
	enum top_plot plot;
	unsigned int kinds;
	char filter[256];
	bool editing; /* the filter's line is open */
	char edit[256];
	char message[256]; /* of the last key; "" none */

	struct top_rows rows, members;
	struct top_line *lines;
	size_t nlines, cap_lines, nmembers_cap;
	uint64_t *opened; /* (by, key) of what is open, hashed */
	size_t nopened;

	size_t selected, first; /* line, and the topmost one shown */
	uint32_t selected_pid;  /* on the list */
	size_t list_selected, list_first;
	unsigned int page; /* lines shown at the last drawing */
};

void top_ui_init(struct top_ui *ui, const struct top_cli *cli);
void top_ui_release(struct top_ui *ui);

/* After a reading, or a change of by, order, filter or what is open: the selection stays on its line. */
struct seep_error *top_ui_update(struct top_ui *ui, const struct top *t);
void top_ui_move(struct top_ui *ui, long lines);
/* Opens or closes what is selected. */
struct seep_error *top_ui_toggle(struct top_ui *ui, const struct top *t);
void top_ui_list_move(struct top_ui *ui, const struct top_list *l, long lines);
/* The next or previous (-1) column that can be sorted by. */
void top_ui_sort_step(struct top_ui *ui, int step, bool list);

/* Pages; the canvas has been cleared. */
void top_page_one(struct top_ui *ui, const struct top_source *s, struct canvas *c);
void top_page_list(struct top_ui *ui, const struct top_list *l, struct canvas *c);
void top_page_help(struct canvas *c);
void top_page_footer(const struct top_ui *ui, struct canvas *c, bool list, bool back);
void top_plot_draw(const struct top_history *h, uint64_t from, uint64_t to, struct canvas *c,
                   unsigned int row, unsigned int rows);

/* 12m30s, 3h12m, 2d4h, 850ms: ages in seven columns. */
void top_short_age(struct buf *b, uint64_t ns);

#endif
