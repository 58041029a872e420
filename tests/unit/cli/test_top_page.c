/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages of `seep top` on a canvas: columns of hostile and wide text, and whole pages of a hand-made process at
 * sizes from one cell to a wall.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "cli/top_ui.h"
#include "profile/profile.h"
#include "synth.h"

/* A row as text; the right halves of wide characters are left out, '@' is a character that is not ASCII. */
static const char *row_text(const struct canvas *c, unsigned int row)
{
	static char text[1024];
	size_t n = 0;

	for (unsigned int i = 0; i < c->cols && n + 1 < sizeof(text); i++) {
		wchar_t ch = c->cells[(size_t)row * c->cols + i].ch;

		if (ch)
			text[n++] = ch < 0x7f ? (char)ch : '@';
	}
	while (n && text[n - 1] == ' ')
		n--;
	text[n] = '\0';
	return text;
}

/* The first row with that text, UINT_MAX: none. */
static unsigned int find(const struct canvas *c, const char *what)
{
	for (unsigned int i = 0; i < c->rows; i++)
		if (strstr(row_text(c, i), what))
			return i;
	return UINT32_MAX;
}

static void hostile_text(void **state)
{
	struct canvas c = { 0 };

	assert_int_equal(canvas_clear(&c, 1, 20), 0);
	/* an escape sequence, a C1 control, half a character, a right-to-left override, a new line */
	assert_int_equal(canvas_put(&c, 0, 0, 20, 0,
	                            "a\033[2Jb\xc2\x9bz\xe2\x82"
	                            "c\xe2\x80\xae\n"),
	                 13);
	assert_string_equal(row_text(&c, 0), "a@[2Jb@z@@c@@");
	for (unsigned int i = 0; i < c.cols; i++)
		assert_true(c.cells[i].ch >= ' ' && c.cells[i].ch != 0x7f && c.cells[i].ch != 0x9b);
	canvas_release(&c);
}

static void wide_and_combining_text(void **state)
{
	struct canvas c = { 0 };

	assert_int_equal(canvas_clear(&c, 1, 8), 0);
	/* two wide characters, one with an accent put on it: 漢字é */
	assert_int_equal(canvas_width(&c, "漢字e\xcc\x81"), 5);
	assert_int_equal(canvas_put(&c, 0, 0, 8, 0, "漢字x"), 5);
	assert_true(c.cells[0].ch == L'漢' && c.cells[1].ch == 0 && c.cells[4].ch == L'x');
	/* half a wide character is none */
	assert_int_equal(canvas_clear(&c, 1, 8), 0);
	assert_int_equal(canvas_put(&c, 0, 0, 3, 0, "漢字"), 2);
	assert_int_equal(canvas_put(&c, 0, 7, 8, 0, "漢"), 0);
	assert_true(c.cells[7].ch == L' ');
	canvas_release(&c);
}

static void cut_text(void **state)
{
	struct canvas c = { 0 };

	assert_int_equal(canvas_clear(&c, 1, 10), 0);
	assert_int_equal(canvas_fit(&c, 0, 0, 6, 0, "abcdefgh", false), 6);
	assert_string_equal(row_text(&c, 0), "abcde@");
	assert_int_equal(canvas_clear(&c, 1, 10), 0);
	assert_int_equal(canvas_fit(&c, 0, 0, 6, 0, "abcdefgh", true), 6);
	assert_string_equal(row_text(&c, 0), "@defgh");
	assert_int_equal(canvas_clear(&c, 1, 10), 0);
	assert_int_equal(canvas_fit(&c, 0, 8, 6, 0, "abcdefgh", false), 2); /* the edge */
	c.ascii = true;
	assert_int_equal(canvas_clear(&c, 1, 10), 0);
	assert_int_equal(canvas_put(&c, 0, 0, 10, 0, "5 ± 1 é"), 8);
	assert_string_equal(row_text(&c, 0), "5 +- 1 ?");
	canvas_put(&c, 7, 0, 10, 0, "outside");
	canvas_right(&c, 0, 0, 3, 0, "wider than that");
	canvas_release(&c);
}

/* ---- pages ------------------------------------------------------------------------------- */

struct page {
	struct top_cli cli;
	struct top_source source;
	struct top_ui ui;
	struct canvas canvas;
};

static void page_open(struct page *p)
{
	static const struct top_options options;
	struct view_options view = { 0 };
	struct profile *first = synth_service(), *second = synth_service();

	memset(p, 0, sizeof(*p));
	p->source.cli = &p->cli;
	p->source.pid = 4242;
	p->source.rss = 50u << 20;
	snprintf(p->source.name, sizeof(p->source.name), "na\033[31mme");
	first->live = second->live = true;
	second->duration_ns += 1000000000;
	assert_null(top_new(&options, &view, &p->source.top));
	assert_int_equal(top_history_seed(&p->source.history, first), 0);
	assert_null(top_take(p->source.top, first));
	assert_null(top_take(p->source.top, second));
	top_ui_init(&p->ui, &p->cli);
	assert_null(top_ui_update(&p->ui, p->source.top));
}

static void page_draw(struct page *p, unsigned int rows, unsigned int cols)
{
	assert_int_equal(canvas_clear(&p->canvas, rows, cols), 0);
	top_page_one(&p->ui, &p->source, &p->canvas);
	top_page_footer(&p->ui, &p->canvas, false, true);
	if (p->ui.help)
		top_page_help(&p->canvas);
}

static void page_close(struct page *p)
{
	top_ui_release(&p->ui);
	canvas_release(&p->canvas);
	top_free(p->source.top);
	top_history_release(&p->source.history);
}

static void every_size(void **state)
{
	struct page p;

	page_open(&p);
	for (unsigned int i = 0; i < 2; i++) {
		p.canvas.ascii = i;
		for (unsigned int by = GROUP_SITE; by <= GROUP_KIND; by++) {
			p.ui.by = (enum group_by)by;
			assert_null(top_ui_update(&p.ui, p.source.top));
			p.ui.selected = 0;
			assert_null(top_ui_toggle(&p.ui, p.source.top));
			for (unsigned int rows = 1; rows < 64; rows += rows < 8 ? 1 : 11)
				for (unsigned int cols = 1; cols < 220; cols += cols < 12 ? 1 : 13) {
					p.ui.help = (rows + cols) % 3 == 0;
					page_draw(&p, rows, cols);
					for (size_t k = 0; k < (size_t)rows * cols; k++)
						assert_true(p.canvas.cells[k].ch == 0 ||
						            p.canvas.cells[k].ch >= ' ');
				}
		}
	}
	page_close(&p);
}

static void a_page(void **state)
{
	struct page p;
	unsigned int titles;

	page_open(&p);
	page_draw(&p, 24, 80);
	assert_int_equal(find(&p.canvas, "pid 4242"), 0);
	assert_non_null(strstr(row_text(&p.canvas, 0), "na@[31mme"));
	assert_true(find(&p.canvas, "in use") == 1);
	titles = find(&p.canvas, "GROWTH/s");
	assert_true(titles < 24);
	assert_null(strstr(row_text(&p.canvas, titles), "BLOCKS")); /* no room beside the names */
	assert_true(p.canvas.cells[(titles + 1) * 80].style & CANVAS_REVERSE); /* selected */
	page_draw(&p, 24, 120);
	assert_non_null(strstr(row_text(&p.canvas, find(&p.canvas, "GROWTH/s")), "BLOCKS"));
	page_draw(&p, 10, 40);
	assert_true(find(&p.canvas, "IN USE") < 10);
	assert_int_equal(find(&p.canvas, "resident"), UINT32_MAX); /* too low for a plot */
	page_close(&p);
}

static void opening_and_moving(void **state)
{
	struct page p;
	size_t n, frames;

	page_open(&p);
	n = p.ui.nlines;
	assert_int_equal(n, p.ui.rows.n);
	assert_true(n > 2);
	top_ui_move(&p.ui, 1);
	assert_null(top_ui_toggle(&p.ui, p.source.top));
	assert_true(p.ui.nlines > n);
	assert_int_equal(p.ui.selected, 1);
	assert_int_equal(p.ui.lines[2].type, TOP_LINE_FRAME);
	frames = p.ui.nlines - n;
	/* It stays open, and selected, when there are new numbers. */
	assert_null(top_ui_update(&p.ui, p.source.top));
	assert_int_equal(p.ui.nlines, n + frames);
	assert_int_equal(p.ui.selected, 1);
	/* On a frame the stack it belongs to is closed. */
	top_ui_move(&p.ui, 1);
	assert_null(top_ui_toggle(&p.ui, p.source.top));
	assert_int_equal(p.ui.nlines, n);
	assert_int_equal(p.ui.selected, 1);
	top_ui_move(&p.ui, 1000);
	assert_int_equal(p.ui.selected, n - 1);
	top_ui_move(&p.ui, -1000);
	assert_int_equal(p.ui.selected, 0);
	/* By function: the sites of a row, and their stacks. */
	p.ui.by = GROUP_FUNCTION;
	assert_null(top_ui_update(&p.ui, p.source.top));
	p.ui.selected = 0;
	n = p.ui.nlines;
	assert_null(top_ui_toggle(&p.ui, p.source.top));
	assert_int_equal(p.ui.lines[1].type, TOP_LINE_MEMBER);
	top_ui_move(&p.ui, 1);
	assert_null(top_ui_toggle(&p.ui, p.source.top));
	assert_int_equal(p.ui.lines[2].type, TOP_LINE_FRAME);
	page_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_text), cmocka_unit_test(wide_and_combining_text),
		cmocka_unit_test(cut_text),     cmocka_unit_test(every_size),
		cmocka_unit_test(a_page),       cmocka_unit_test(opening_and_moving),
	};

	if (!setlocale(LC_CTYPE, "C.UTF-8")) {
		fputs("no C.UTF-8 locale here\n", stderr);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
