/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page is put together from what there is already: its data is the JSON of `seep report` (or `seep diff`), so it cannot
 * say anything else than they do; the flame graph is the page of --flame in a frame, the call graph is Graphviz's.
 * Only the template and its script (report.html, report.js) are its own.
 *
 * Data stands in script elements that are not run.  JSON there may hold anything but what could end the element: the
 * characters < > & only ever occur inside strings, where they are written as escapes, and the rest of the page's
 * text goes through markup_text().
 */
#include "output/html_report.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/diff.h"
#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/diff_report.h"
#include "output/dot.h"
#include "output/emit.h"
#include "output/flame.h"
#include "output/markup.h"
#include "output/report.h"
#include "output/timeline.h"
#include "output/units.h"
#include "profile/profile.h"

#define GRAPH_NODES 60

/* report.html and report.js, from build time. */
extern const char report_page[], report_script[];
extern const size_t report_page_len, report_script_len;

struct page {
	const struct view *v;
	const struct html_report_options *o;
	struct buf *out;
};

/* ---- data ---------------------------------------------------------------------------- */

/* JSON without its blanks, safe in a script element. */
static void put_packed(struct buf *out, const struct buf *json)
{
	bool string = false;

	for (size_t i = 0; i < json->len; i++) {
		char c = json->data[i];

		if (c == '"')
			string = !string;
		if (string && c == '\\' && i + 1 < json->len) {
			buf_putc(out, c);
			buf_putc(out, json->data[++i]);
		} else if (c == '<' || c == '>' || c == '&') {
			buf_printf(out, "\\u%04x", (unsigned char)c);
		} else if (string || (c != ' ' && c != '\n')) {
			buf_putc(out, c);
		}
	}
	out->failed |= json->failed;
}

/* One report as JSON; groups_only: without what the first one has said. */
static struct seep_error *put_report(const struct page *p, enum group_by by, bool groups_only)
{
	const struct emit_options eo = { .format = EMIT_JSON, .width = 100 };
	_cleanup_buf_ struct buf json = { 0 };
	_cleanup_emit_ struct emit *e = emit_new(&eo, &json);
	struct seep_error *err;

	if (!e)
		return &seep_error_nomem;
	if (p->o->diff) {
		const struct diff_report_options d = { .measure = p->o->measure,
			                               .by = by,
			                               .normalize = p->o->normalize,
			                               .noise = p->o->noise,
			                               .top = HTML_REPORT_ROWS,
			                               .warnings = p->o->warnings };

		err = diff_report_emit(e, p->o->diff, p->v, &d);
	} else {
		const struct report_options r = { .measure = p->o->measure,
			                          .by = by,
			                          .top = HTML_REPORT_ROWS,
			                          .groups_only = groups_only,
			                          .warnings = p->o->warnings };
		struct report_options threads = r;

		threads.measure = (struct measure){ MEASURE_INUSE, false }; /* all that is known */
		err = report_emit(e, p->v, by == GROUP_THREAD ? &threads : &r);
	}
	if (!err)
		put_packed(p->out, &json);
	return err;
}

static struct seep_error *put_data(const struct page *p)
{
	static const struct {
		const char *key;
		enum group_by by;
	} parts[] = {
		{ "report", GROUP_SITE },
		{ "functions", GROUP_FUNCTION },
		{ "modules", GROUP_MODULE },
		{ "threads", GROUP_THREAD },
	};
	struct seep_error *err = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(parts) && !err; i++) {
		if (p->o->diff && parts[i].by == GROUP_THREAD)
			continue;
		buf_printf(p->out, "%s\"%s\":", i ? ",\n" : "{", parts[i].key);
		err = put_report(p, parts[i].by, i > 0);
	}
	buf_putc(p->out, '}');
	return err;
}

/* A page in a page: as a JSON string, which the script gives to the frame. */
static struct seep_error *put_flame(const struct page *p)
{
	const struct flame_options o = { .measure = p->o->measure,
		                         .diff = p->o->diff,
		                         .normalize = p->o->normalize,
		                         .colorblind = p->o->colorblind,
		                         .most = HTML_REPORT_BOXES };
	_cleanup_buf_ struct buf page = { 0 };
	struct seep_error *err = flame_html(p->v, &o, &page);

	if (!err)
		markup_json(p->out, page.data ? page.data : "");
	return err;
}

/* ---- pictures ---------------------------------------------------------------------------- */

static void put_sentence(struct buf *out, const char *text)
{
	buf_puts(out, "<p class=\"dim\">");
	markup_text(out, text);
	buf_puts(out, "</p>\n");
}

static struct seep_error *put_course(const struct page *p, const struct profile *prof)
{
	/* two, of which the page shows the one that fits */
	const struct diff *d = p->o->diff;
	uint64_t before = d && d->same_run ? d->sides[0]->duration_ns : 0;
	const struct timeline_svg_options wide = { .part = true, .before = before },
					  narrow = { .part = true, .narrow = true, .before = before };
	_cleanup_buf_ struct buf svg = { 0 };
	struct seep_error *err = NULL;

	buf_puts(&svg, "<div class=\"picture wide\">");
	err = timeline_svg(prof, &wide, &svg);
	buf_puts(&svg, "</div>\n<div class=\"picture narrow\">");
	if (!err)
		err = timeline_svg(prof, &narrow, &svg);
	buf_puts(&svg, "</div>\n");
	if (err == &seep_error_nomem || svg.failed)
		return &seep_error_nomem;
	if (!err) {
		buf_add(p->out, svg.data, svg.len);
		return NULL;
	}
	put_sentence(p->out, err->message);
	seep_error_free(err);
	return NULL;
}

static void put_caption(const struct page *p, const char *which, const struct profile *side)
{
	buf_printf(p->out, "<h3>%s: ", which);
	markup_text(p->out, side->source ? side->source : "");
	buf_puts(p->out, "</h3>\n");
}

/* Of one process the later profile has the course of the earlier one in it. */
static struct seep_error *put_timeline(const struct page *p)
{
	const struct diff *d = p->o->diff;
	struct seep_error *err = NULL;

	if (!d)
		return put_course(p, p->v->profile);
	if (!d->same_run) {
		put_caption(p, "Before", d->sides[0]);
		err = put_course(p, d->sides[0]);
		put_caption(p, "After", d->sides[d->nsides - 1]);
	}
	return err ? err : put_course(p, d->sides[d->nsides - 1]);
}

static struct seep_error *put_graph(const struct page *p)
{
	const struct dot_options o = { .measure = p->o->measure,
		                       .diff = p->o->diff,
		                       .normalize = p->o->normalize,
		                       .noise = p->o->noise,
		                       .nodecount = GRAPH_NODES,
		                       .nodefraction = DOT_NODEFRACTION,
		                       .edgefraction = DOT_EDGEFRACTION,
		                       .colorblind = p->o->colorblind };
	_cleanup_buf_ struct buf dot = { 0 }, svg = { 0 };
	struct seep_error *err = dot_write(p->v, &o, &dot);
	const char *at;

	if (err)
		return err;
	err = dot_to_svg(&dot, &svg);
	if (err == &seep_error_nomem)
		return err;
	at = !err && svg.data ? strstr(svg.data, "<svg") : NULL;
	if (!at) { /* a page without it is better than none */
		put_sentence(p->out, err ? err->message : "Graphviz's dot drew nothing.");
		if (err && err->hint)
			put_sentence(p->out, "With Graphviz installed the next page has it.");
		seep_error_free(err);
		return NULL;
	}
	buf_puts(p->out, "<div class=\"picture fit\" id=\"graph\" tabindex=\"0\" role=\"group\" "
	                 "aria-label=\"Call graph\">");
	buf_puts(p->out, at);
	buf_puts(p->out,
	         "</div>\n<p class=\"screen\"><button id=\"graph-fit\" aria-pressed=\"true\">Full "
	         "size</button><span class=\"dim\">A box holds what its function allocated itself, "
	         "“of” what that and all it called allocated; the boxes and arrows that matter "
	         "most.</span></p>\n");
	return NULL;
}

/* ---- the page ------------------------------------------------------------------------------ */

static void put_title(const struct page *p)
{
	const struct profile *prof = p->o->diff ? p->o->diff->sides[p->o->diff->nsides - 1]
	                                        : p->v->profile;
	const char *name = profile_title(prof);
	_cleanup_buf_ struct buf clean = { 0 }, cut = { 0 };

	text_clean(&clean, name);
	text_cut(&cut, clean.data ? clean.data : "", 300, 0);
	markup_text(p->out, cut.data ? cut.data : "");
	if (p->o->diff)
		buf_puts(p->out, ": what changed");
}

static struct seep_error *put_part(const struct page *p, const char *name, size_t len)
{
	static const struct {
		const char *name;
		struct seep_error *(*put)(const struct page *);
	} parts[] = {
		{ "TIMELINE", put_timeline },
		{ "GRAPH", put_graph },
		{ "DATA", put_data },
		{ "FLAME", put_flame },
	};

	if (len == 5 && !memcmp(name, "TITLE", 5))
		put_title(p);
	if (len == 6 && !memcmp(name, "SCRIPT", 6))
		buf_add(p->out, report_script, report_script_len);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (strlen(parts[i].name) == len && !memcmp(parts[i].name, name, len))
			return parts[i].put(p);
	return NULL;
}

/* The template's places are @NAME@; every other @ in it stands for itself. */
struct seep_error *html_report(const struct view *v, const struct html_report_options *o,
                               struct buf *out)
{
	const struct page p = { v, o, out };
	const char *at = report_page, *end = report_page + report_page_len;
	struct seep_error *err = NULL;

	while (at < end && !err) {
		const char *mark = memchr(at, '@', (size_t)(end - at));
		size_t len = 0;

		if (!mark)
			mark = end;
		buf_add(out, at, (size_t)(mark - at));
		while (mark + 1 + len < end && mark[1 + len] >= 'A' && mark[1 + len] <= 'Z')
			len++;
		if (mark < end && len && mark + 1 + len < end && mark[1 + len] == '@') {
			err = put_part(&p, mark + 1, len);
			at = mark + len + 2;
		} else {
			if (mark < end)
				buf_putc(out, '@');
			at = mark + 1;
		}
	}
	return err ? err : out->failed ? &seep_error_nomem : NULL;
}
