/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flame graph as a picture: boxes of at least half a pixel, callers below, each with a title that a viewer shows
 * as a tooltip.  Children stand side by side, heaviest first, which a page can do by itself and a
 * picture cannot: here they are sorted and placed.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/names.h"
#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/flame_private.h"
#include "output/markup.h"
#include "output/units.h"
#include "profile/profile.h"

#define PAGE_WIDTH 1200.0
#define ROW 18.0
#define MARGIN 10.0
#define HEAD 56.0
#define MIN_WIDTH 0.5
#define GLYPH 6.6 /* of the 11 px monospaced font */

struct layout {
	double x;    /* of the left edge, 0..1 */
	double next; /* where its next child goes */
};

struct order_key {
	double width;
	uint32_t depth, id;
};

static int by_depth_and_width(const void *a, const void *b)
{
	const struct order_key *x = a, *y = b;

	if (x->depth != y->depth)
		return x->depth < y->depth ? -1 : 1;
	if (x->width != y->width)
		return x->width > y->width ? -1 : 1;
	return x->id < y->id ? -1 : 1;
}

/* Level by level, heaviest first: each node takes the next free place of its parent. */
static struct layout *lay_out(const struct flame *f)
{
	struct layout *at = calloc(f->n, sizeof(*at));
	_cleanup_free_ struct order_key *keys = calloc(f->n, sizeof(*keys));
	double all = f->nodes[0].width;

	if (!at || !keys) {
		free(at);
		return NULL;
	}
	for (uint32_t i = 0; i < f->n; i++)
		keys[i] = (struct order_key){ f->nodes[i].width, f->nodes[i].depth, i };
	qsort(keys, f->n, sizeof(*keys), by_depth_and_width);
	for (size_t k = 1; k < f->n; k++) {
		const struct flame_node *n = &f->nodes[keys[k].id];
		struct layout *parent = &at[n->parent], *own = &at[keys[k].id];

		own->x = own->next = parent->next;
		parent->next += all > 0 ? n->width / all : 0;
	}
	return at;
}

static void name_of(const struct flame *f, size_t i, struct buf *b)
{
	const struct flame_node *n = &f->nodes[i];
	const struct view_location *l;

	if (!i) {
		buf_puts(b, "all");
		return;
	}
	if (n->location == UINT32_MAX) {
		buf_puts(b, "(stack unknown)");
		return;
	}
	l = &f->pic.v->locations[n->location];
	if (l->function)
		buf_puts(b, l->function);
	else
		buf_printf(b, "?? 0x%" PRIx64, l->address);
}

static void put_tooltip(const struct flame *f, size_t i, const char *name, struct buf *out)
{
	const struct flame_node *n = &f->nodes[i];
	const struct view_location *l =
		n->location == UINT32_MAX ? NULL : &f->pic.v->locations[n->location];
	_cleanup_buf_ struct buf amount = { 0 };

	buf_puts(out, "<title>");
	markup_text(out, name);
	buf_puts(out, "\n");
	picture_amount(&amount, &f->pic, picture_value(&f->pic, &n->total));
	buf_puts(&amount, " (");
	unit_ratio(&amount, f->nodes[0].width > 0 ? n->width / f->nodes[0].width : 0);
	buf_puts(&amount, ")");
	markup_text(out, amount.data ? amount.data : ""); /* "<0.1 %" */
	if (l && l->file) {
		buf_puts(out, "\n");
		markup_text(out, l->file);
		if (l->line)
			buf_printf(out, ":%u", l->line);
	}
	if (l && l->module != PROF_NO_MODULE) {
		buf_puts(out, "\n");
		markup_text(out, f->pic.v->profile->modules[l->module].path);
	}
	buf_puts(out, "</title>");
}

/* -1 all of it shrank, 1 all of it grew; light enough for black letters. */
static struct picture_rgb change_color(double part, bool colorblind)
{
	static const struct picture_rgb ends[2][2] = {
		{ { 240, 118, 106 }, { 108, 192, 124 } }, /* red and green */
		{ { 242, 150, 70 }, { 104, 172, 232 } },  /* orange and blue */
	};
	const struct picture_rgb *end = &ends[colorblind][part < 0];
	double by = sqrt(fmin(fabs(part), 1)), grey = 214;

	return (struct picture_rgb){
		(uint8_t)(grey + (end->r - grey) * by),
		(uint8_t)(grey + (end->g - grey) * by),
		(uint8_t)(grey + (end->b - grey) * by),
	};
}

/* Warm colours by name; a library's are paler.  Of a difference by how much of the box grew or shrank. */
static struct picture_rgb color_of(const struct flame *f, size_t i, bool colorblind)
{
	const struct flame_node *n = &f->nodes[i];
	uint32_t hash = 0;
	bool runtime;

	if (f->pic.diff)
		return change_color(n->width > 0
		                            ? (double)picture_value(&f->pic, &n->total) / n->width
		                            : 0,
		                    colorblind);
	if (n->location == UINT32_MAX)
		return (struct picture_rgb){ 205, 205, 205 };
	hash = f->pic.v->locations[n->location].func * 2654435761u;
	runtime = f->pic.v->locations[n->location].flags & VIEW_RUNTIME;
	if (runtime)
		return (struct picture_rgb){ (uint8_t)(205 + hash % 15),
			                     (uint8_t)(195 + (hash >> 8) % 15), 175 };
	return (struct picture_rgb){ (uint8_t)(225 + hash % 25), (uint8_t)(120 + (hash >> 8) % 85),
		                     (uint8_t)(60 + (hash >> 16) % 30) };
}

static void put_box(const struct flame *f, const struct flame_options *o, size_t i, double x,
                    double width, double y, struct buf *out)
{
	_cleanup_buf_ struct buf name = { 0 };
	struct picture_rgb c = color_of(f, i, o->colorblind);
	size_t room = (size_t)((width - 6) / GLYPH);

	name_of(f, i, &name);
	buf_puts(out, "<g>");
	put_tooltip(f, i, name.data ? name.data : "", out);
	buf_printf(
		out,
		"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\" fill=\"#%02x%02x%02x\"/>",
		x, y, fmax(width - 0.5, 0.4), ROW - 1, c.r, c.g, c.b);
	if (width > 24) {
		_cleanup_buf_ struct buf clean = { 0 }, cut = { 0 };

		text_clean(&clean, name.data ? name.data : "");
		text_cut(&cut, clean.data ? clean.data : "", room, 0);
		buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\">", x + 3, y + ROW - 5);
		markup_text(out, cut.data ? cut.data : "");
		buf_puts(out, "</text>");
	}
	buf_puts(out, "</g>\n");
}

/* What the two colours of a difference mean, at the right of the head. */
static void put_legend(bool colorblind, struct buf *out)
{
	for (int k = 0; k < 2; k++) {
		struct picture_rgb c = change_color(k ? -1 : 1, colorblind);
		double x = PAGE_WIDTH - MARGIN - 60 - (k ? 0 : 76);

		buf_printf(
			out,
			"<rect x=\"%.0f\" y=\"33\" width=\"12\" height=\"12\" fill=\"#%02x%02x%02x\"/>"
			"<text x=\"%.0f\" y=\"43\" font-family=\"sans-serif\" fill=\"#555555\">%s</text>\n",
			x, c.r, c.g, c.b, x + 17, k ? "shrank" : "grew");
	}
}

static void put_head(const struct flame *f, const struct flame_options *o, double height,
                     struct buf *out)
{
	const struct profile *p = f->pic.v->profile;

	buf_printf(out,
	           "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	           "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
	           "viewBox=\"0 0 %.0f %.0f\" font-family=\"monospace\" font-size=\"11\">\n"
	           "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n"
	           "<text x=\"%.0f\" y=\"24\" font-size=\"16\" font-family=\"sans-serif\">",
	           PAGE_WIDTH, height, PAGE_WIDTH, height, MARGIN);
	markup_text(out, profile_title(p));
	buf_printf(out,
	           "</text>\n<text x=\"%.0f\" y=\"43\" font-family=\"sans-serif\" fill=\"#555555\">",
	           MARGIN);
	picture_what(out, &f->pic);
	buf_puts(out, ": ");
	picture_amount(out, &f->pic, picture_value(&f->pic, &f->nodes[0].total));
	buf_puts(out, "</text>\n");
	if (f->pic.diff)
		put_legend(o->colorblind, out);
}

struct seep_error *flame_svg(const struct view *v, const struct flame_options *o, struct buf *out)
{
	_cleanup_flame_ struct flame f = { 0 };
	_cleanup_free_ struct layout *at = NULL;
	struct seep_error *err = flame_make(v, o, &f);
	double scale, rows = 1;

	if (err)
		return err;
	at = lay_out(&f);
	if (!at)
		return &seep_error_nomem;
	scale = f.nodes[0].width > 0 ? (PAGE_WIDTH - 2 * MARGIN) / f.nodes[0].width : 0;
	for (size_t i = 0; i < f.n; i++)
		if (f.nodes[i].width * scale >= MIN_WIDTH)
			rows = fmax(rows, f.nodes[i].depth + 1);
	put_head(&f, o, HEAD + rows * ROW + MARGIN, out);
	for (size_t i = 0; i < f.n; i++) {
		double width = f.nodes[i].width * scale;

		if (width >= MIN_WIDTH)
			put_box(&f, o, i, MARGIN + at[i].x * (PAGE_WIDTH - 2 * MARGIN), width,
			        HEAD + (rows - 1 - f.nodes[i].depth) * ROW, out);
	}
	buf_puts(out, "</svg>\n");
	return out->failed ? &seep_error_nomem : NULL;
}
