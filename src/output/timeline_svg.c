/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timeline as a picture of its own, or as part of a page.
 *
 * Colours are variables with values for light and dark, so one file suits both; in a page the page may set
 * them.  Everything drawn has a <title>, which viewers show as a tooltip and screen readers say; the picture as a whole has
 * a description in words.  Marks that would touch each other are one mark with their number in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/markup.h"
#include "output/timeline.h"
#include "output/units.h"

#define WIDTH 1200.0
#define NARROW 640.0
#define HEIGHT 400.0
#define LEFT 84.0
#define RIGHT 24.0
#define TOP 84.0
#define BOTTOM 34.0
#define TICK_DISTANCE 110.0
#define BYTE_TICKS 7u
#define MARK 9.0      /* radius */
#define MARK_LINES 12 /* told in one tooltip */

struct picture {
	struct timeline t;
	double width;
	struct buf *out;
};

static const char style[] =
	".seep-timeline{--tl-back:#ffffff;--tl-text:#1c1c1c;--tl-dim:#5f6368;--tl-grid:#e3e5e8;"
	"--tl-area:#9ec5f4;--tl-edge:#1a66c9;--tl-rss:#c2410c;--tl-mark:#6b4fbb;--tl-killed:#b3261e;"
	"font-family:system-ui,sans-serif;font-size:12px}"
	"@media(prefers-color-scheme:dark){.seep-timeline{--tl-back:#16181b;--tl-text:#e6e6e6;"
	"--tl-dim:#a0a4a8;--tl-grid:#34383d;--tl-area:#234a7a;--tl-edge:#7db2f5;--tl-rss:#f59e5b;"
	"--tl-mark:#b9a5f2;--tl-killed:#f2867f}}"
	".seep-timeline text{fill:var(--tl-text)}.seep-timeline .dim{fill:var(--tl-dim)}"
	".seep-timeline .grid{stroke:var(--tl-grid);stroke-width:1}"
	".seep-timeline .area{fill:var(--tl-area)}"
	".seep-timeline .edge{fill:none;stroke:var(--tl-edge);stroke-width:1.5}"
	".seep-timeline .rss{fill:none;stroke:var(--tl-rss);stroke-width:1.5;stroke-dasharray:5 2}"
	".seep-timeline .mark{stroke:var(--tl-mark);fill:var(--tl-mark)}"
	".seep-timeline .killed .mark{stroke:var(--tl-killed);fill:var(--tl-killed)}"
	".seep-timeline .peak text{paint-order:stroke;stroke:var(--tl-back);stroke-width:4px}"
	".seep-timeline .stem{stroke-opacity:.45}"
	".seep-timeline .letter{fill:var(--tl-back);font-size:11px;font-weight:600;text-anchor:middle}";

/* Coordinates in hundredths, without the locale's decimal comma. */
static void put_number(struct buf *b, double v)
{
	long n = (long)(v * 10 + (v < 0 ? -0.5 : 0.5));

	buf_printf(b, "%s%ld", n < 0 ? "-" : "", labs(n) / 10);
	if (n % 10)
		buf_printf(b, ".%ld", labs(n) % 10);
}

static void put_attribute(struct buf *b, const char *name, double v)
{
	buf_printf(b, " %s=\"", name);
	put_number(b, v);
	buf_putc(b, '"');
}

static double x_of(const struct picture *p, uint64_t time)
{
	double share = (double)time / (double)p->t.end;

	return LEFT + (share > 1 ? 1 : share) * (p->width - LEFT - RIGHT);
}

static double y_of(const struct picture *p, uint64_t bytes)
{
	return HEIGHT - BOTTOM - (double)bytes / (double)p->t.top * (HEIGHT - TOP - BOTTOM);
}

static void put_text(struct picture *p, double x, double y, const char *class, const char *anchor,
                     const char *text)
{
	buf_puts(p->out, "<text");
	put_attribute(p->out, "x", x);
	put_attribute(p->out, "y", y);
	buf_printf(p->out, " class=\"%s\" text-anchor=\"%s\">", class, anchor);
	markup_text(p->out, text);
	buf_puts(p->out, "</text>\n");
}

static void put_line(struct picture *p, double x1, double y1, double x2, double y2,
                     const char *class)
{
	buf_puts(p->out, "<line");
	put_attribute(p->out, "x1", x1);
	put_attribute(p->out, "y1", y1);
	put_attribute(p->out, "x2", x2);
	put_attribute(p->out, "y2", y2);
	buf_printf(p->out, " class=\"%s\"/>\n", class);
}

/* ---- axes ---------------------------------------------------------------------------- */

static void put_axes(struct picture *p)
{
	for (uint64_t v = 0; v <= p->t.top; v += p->t.step) {
		_cleanup_buf_ struct buf label = { 0 };

		if (v)
			unit_bytes(&label, v);
		else
			buf_puts(&label, "0");
		put_line(p, LEFT, y_of(p, v), p->width - RIGHT, y_of(p, v), "grid");
		put_text(p, LEFT - 8, y_of(p, v) + 4, "dim", "end", label.data ? label.data : "");
	}
	for (uint64_t time = 0; time <= p->t.end; time += p->t.time_step) {
		_cleanup_buf_ struct buf label = { 0 };
		double x = x_of(p, time);

		timeline_tick(&label, &p->t, time);
		put_line(p, x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 5, "grid");
		put_text(p, x, HEIGHT - BOTTOM + 19, "dim",
		         x > p->width - RIGHT - 20 ? "end" : "middle", label.data ? label.data : "");
	}
}

/* ---- series -------------------------------------------------------------------------- */

static void put_move(struct picture *p, char command, double v)
{
	buf_putc(p->out, command);
	put_number(p->out, v);
}

/* Steps from column `from` on while it is known; returns where it stopped. */
static size_t put_steps(struct picture *p, const uint64_t *columns, size_t from)
{
	double wide = (p->width - LEFT - RIGHT) / (double)p->t.n;
	size_t i = from;

	for (; i < p->t.n && columns[i] != TIMELINE_UNKNOWN; i++) {
		if (i > from && columns[i] == columns[i - 1])
			continue;
		if (i > from)
			put_move(p, 'H', LEFT + (double)i * wide);
		put_move(p, 'V', y_of(p, columns[i]));
	}
	put_move(p, 'H', LEFT + (double)i * wide);
	return i;
}

static void put_title(struct picture *p, const char *what, uint64_t bytes)
{
	buf_printf(p->out, "<title>%s", what);
	unit_bytes(p->out, bytes);
	buf_puts(p->out, "</title>");
}

static void put_inuse(struct picture *p)
{
	const char *const classes[] = { "area", "edge" };

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		buf_printf(p->out, "<path class=\"%s\" d=\"M", classes[i]);
		put_number(p->out, LEFT);
		put_move(p, ' ', i ? y_of(p, p->t.inuse[0]) : y_of(p, 0));
		put_steps(p, p->t.inuse, 0);
		if (!i) {
			put_move(p, 'V', y_of(p, 0));
			buf_putc(p->out, 'z');
		}
		buf_puts(p->out, "\">");
		put_title(p, "In use, at most ", p->t.peak);
		buf_puts(p->out, "</path>\n");
	}
}

static void put_rss(struct picture *p)
{
	if (p->t.highest_rss == TIMELINE_UNKNOWN)
		return;
	buf_puts(p->out, "<path class=\"rss\" d=\"");
	for (size_t i = 0; i < p->t.n;) {
		if (p->t.rss[i] == TIMELINE_UNKNOWN) {
			i++;
			continue;
		}
		put_move(p, 'M', LEFT + (double)i * (p->width - LEFT - RIGHT) / (double)p->t.n);
		put_move(p, ' ', y_of(p, p->t.rss[i]));
		i = put_steps(p, p->t.rss, i);
	}
	buf_puts(p->out, "\">");
	put_title(p, "Resident, at most ", p->t.highest_rss);
	buf_puts(p->out, "</path>\n");
}

/* Of a running process there may be one value only, which makes no line. */
static void put_one_rss(struct picture *p)
{
	const struct prof_rss *r = p->t.p->rss;

	if (p->t.p->nrss != 1)
		return;
	buf_puts(p->out, "<circle class=\"rss\" r=\"3.5\" style=\"stroke-dasharray:none\"");
	put_attribute(p->out, "cx", x_of(p, r->time) - 2);
	put_attribute(p->out, "cy", y_of(p, r->bytes));
	buf_puts(p->out, ">");
	put_title(p, "Resident when this was read: ", r->bytes);
	buf_puts(p->out, "</circle>\n");
}

static void put_before(struct picture *p, uint64_t time)
{
	double x = x_of(p, time);

	if (!time)
		return;
	put_line(p, x, TOP - 14, x, HEIGHT - BOTTOM, "mark");
	put_text(p, x, TOP - 19, "", "middle", "before");
}

static void put_peak(struct picture *p)
{
	double x = x_of(p, p->t.peak_time), y = y_of(p, p->t.peak);
	_cleanup_buf_ struct buf words = { 0 };

	if (!p->t.peak)
		return;
	buf_puts(&words, "peak ");
	unit_bytes(&words, p->t.peak);
	buf_puts(&words, " after ");
	unit_duration(&words, p->t.peak_time);
	buf_puts(p->out, "<g class=\"peak\"><circle r=\"4\" class=\"edge\"");
	put_attribute(p->out, "cx", x);
	put_attribute(p->out, "cy", y);
	buf_puts(p->out, "/>");
	/* inside the plot, on the side where there is room */
	put_text(p, x > p->width / 2 ? x - 8 : x + 8, y - 7, "", x > p->width / 2 ? "end" : "start",
	         words.data ? words.data : "");
	buf_puts(p->out, "</g>\n");
}

/* ---- events ---------------------------------------------------------------------------- */

static void put_event_words(struct buf *b, const struct prof_event *e)
{
	unit_duration(b, e->time);
	buf_printf(b, "  %s", timeline_event_names[e->kind].words);
	if (e->text && *e->text) {
		buf_puts(b, ": ");
		markup_text(b, e->text);
	}
}

/* Events [from, to), which stand too close for a mark each. */
static void put_mark(struct picture *p, size_t from, size_t to)
{
	const struct prof_event *events = p->t.p->events;
	double x = (x_of(p, events[from].time) + x_of(p, events[to - 1].time)) / 2;
	char letter[16] = { timeline_event_names[events[from].kind].letter };
	bool killed = false;

	for (size_t i = from; i < to; i++)
		killed |= events[i].kind == PROF_EVENT_KILLED;
	if (to - from > 1)
		snprintf(letter, sizeof(letter), to - from > 99 ? "…" : "%zu", to - from);
	buf_printf(p->out, "<g class=\"event%s\"><title>", killed ? " killed" : "");
	for (size_t i = from; i < to && i < from + MARK_LINES; i++) {
		buf_puts(p->out, i > from ? "\n" : "");
		put_event_words(p->out, &events[i]);
	}
	if (to - from > MARK_LINES)
		buf_printf(p->out, "\nand %zu more", to - from - MARK_LINES);
	buf_puts(p->out, "</title>\n");
	put_line(p, x, TOP - 14, x, HEIGHT - BOTTOM, "mark stem");
	buf_puts(p->out, "<circle class=\"mark\"");
	put_attribute(p->out, "cx", x);
	put_attribute(p->out, "cy", TOP - 14 - MARK);
	put_attribute(p->out, "r", MARK);
	buf_puts(p->out, "/>");
	put_text(p, x, TOP - 14 - MARK + 4, "letter", "middle", letter);
	buf_puts(p->out, "</g>\n");
}

static void put_events(struct picture *p)
{
	const struct profile *prof = p->t.p;

	for (size_t i = 0, to; i < prof->nevents; i = to) {
		double x = x_of(p, prof->events[i].time);

		for (to = i + 1; to < prof->nevents; to++) {
			double next = x_of(p, prof->events[to].time);

			if (next - x > 2 * MARK + 2)
				break;
			x = next;
		}
		put_mark(p, i, to);
	}
}

/* ---- head -------------------------------------------------------------------------------- */

static void put_words(struct picture *p, struct buf *b)
{
	buf_puts(b, "In use ");
	unit_bytes(b, p->t.last);
	buf_puts(b, " at the end, at most ");
	unit_bytes(b, p->t.peak);
	if (p->t.highest_rss != TIMELINE_UNKNOWN) {
		buf_puts(b, "; resident at most ");
		unit_bytes(b, p->t.highest_rss);
	}
	buf_puts(b, "; over ");
	unit_duration(b, p->t.end);
}

/* What the letters mean, those that occur. */
static void put_letters(struct picture *p, struct buf *b)
{
	bool seen[PROF_EVENT_NKINDS] = { false };

	for (size_t i = 0; i < p->t.p->nevents; i++)
		seen[p->t.p->events[i].kind] = true;
	for (size_t k = 0; k < PROF_EVENT_NKINDS; k++)
		if (seen[k])
			buf_printf(b, "%s%c %s", b->len ? " · " : "",
			           timeline_event_names[k].letter, timeline_event_names[k].words);
}

static void put_legend(struct picture *p)
{
	_cleanup_buf_ struct buf letters = { 0 };
	double x = p->width - RIGHT;

	put_letters(p, &letters);
	if (p->t.highest_rss != TIMELINE_UNKNOWN) {
		put_text(p, x, 24, "", "end", "resident (RSS)");
		put_line(p, x - 122, 20, x - 92, 20, "rss");
		x -= 140;
	}
	put_text(p, x, 24, "", "end", "in use");
	buf_printf(p->out, "<rect class=\"area\" x=\"%.0f\" y=\"14\" width=\"30\" height=\"11\"/>",
	           x - 74);
	put_line(p, x - 74, 14, x - 44, 14, "edge");
	put_text(p, p->width - RIGHT, 42, "dim", "end", letters.data ? letters.data : "");
}

static void put_head(struct picture *p, bool part)
{
	const struct profile *prof = p->t.p;
	const char *name = profile_title(prof);
	_cleanup_buf_ struct buf words = { 0 }, clean = { 0 }, cut = { 0 };

	if (!part)
		buf_puts(p->out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	put_words(p, &words);
	text_clean(&clean, name);
	text_cut(&cut, clean.data ? clean.data : "", 100, 0);
	buf_printf(p->out,
	           "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"seep-timeline\" role=\"img\" "
	           "viewBox=\"0 0 %.0f %.0f\"%s>\n"
	           "<title>Memory over time: ",
	           p->width, HEIGHT, part ? "" : " width=\"1200\" height=\"400\"");
	markup_text(p->out, cut.data ? cut.data : "");
	buf_puts(p->out, "</title>\n<desc>");
	markup_text(p->out, words.data ? words.data : "");
	buf_printf(p->out, ".</desc>\n<style>%s</style>\n", style);
	if (!part)
		buf_puts(p->out,
		         "<rect width=\"100%\" height=\"100%\" style=\"fill:var(--tl-back)\"/>\n");
	buf_puts(p->out, "<g font-size=\"15\" font-weight=\"600\">");
	if (!part)
		put_text(p, 14, 24, "", "start", cut.data ? cut.data : "");
	buf_puts(p->out, "</g>\n");
	if (p->width == WIDTH) /* else the legend needs the room */
		put_text(p, 14, part ? 24 : 42, "dim", "start", words.data ? words.data : "");
}

struct seep_error *timeline_svg(const struct profile *prof, const struct timeline_svg_options *o,
                                struct buf *out)
{
	struct picture p = { .out = out, .width = o->narrow ? NARROW : WIDTH };
	double plot = p.width - LEFT - RIGHT; /* a column for each pixel */
	struct seep_error *err =
		timeline_make(prof, (size_t)plot, (size_t)(plot / TICK_DISTANCE), BYTE_TICKS, &p.t);

	if (err)
		return err;
	if (!p.t.n)
		return seep_error_hint(
			seep_error_new(0, "%s does not say how memory went over time",
		                       prof->source ? prof->source : "the profile"),
			"Ledgers and snapshots of seep do; most files of other tools do not.");
	put_head(&p, o->part);
	put_legend(&p);
	put_axes(&p);
	put_inuse(&p);
	put_rss(&p);
	put_one_rss(&p);
	put_before(&p, o->before);
	put_events(&p);
	put_peak(&p);
	buf_puts(out, "</svg>\n");
	timeline_release(&p.t);
	return out->failed ? &seep_error_nomem : NULL;
}
