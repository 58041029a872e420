/* SPDX-License-Identifier: Apache-2.0 */
/* The table of pictures: export_picture.h. */
#include "cli/export_picture.h"

#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/dot.h"
#include "output/flame.h"
#include "output/html_report.h"
#include "output/timeline.h"
#include "profile/profile.h"

static struct seep_error *write_html(const struct export_source *s, struct buf *out)
{
	const struct html_report_options o = { .measure = s->measure,
		                               .diff = s->diff,
		                               .warnings = s->warnings };

	return html_report(s->view, &o, out);
}

static struct seep_error *write_timeline(const struct export_source *s, struct buf *out)
{
	const struct timeline_svg_options o = { 0 };

	return timeline_svg(s->profile, &o, out);
}

static struct flame_options flame_of(const struct export_source *s)
{
	return (struct flame_options){ .measure = s->measure, .diff = s->diff };
}

static struct seep_error *write_flame(const struct export_source *s, struct buf *out)
{
	const struct flame_options o = flame_of(s);

	return flame_html(s->view, &o, out);
}

static struct seep_error *write_flame_svg(const struct export_source *s, struct buf *out)
{
	const struct flame_options o = flame_of(s);

	return flame_svg(s->view, &o, out);
}

static struct seep_error *write_dot(const struct export_source *s, struct buf *out)
{
	const struct dot_options o = { .measure = s->measure,
		                       .diff = s->diff,
		                       .nodecount = DOT_NODECOUNT,
		                       .nodefraction = DOT_NODEFRACTION,
		                       .edgefraction = DOT_EDGEFRACTION };

	return dot_write(s->view, &o, out);
}

static struct seep_error *write_svg(const struct export_source *s, struct buf *out)
{
	_cleanup_buf_ struct buf dot = { 0 };
	struct seep_error *err = write_dot(s, &dot);

	return err ? err : dot_to_svg(&dot, out);
}

const struct export_picture export_pictures[] = {
	{ "html", "a page with everything", ".html .htm", true, write_html },
	{ "timeline", "the course over time (SVG)", ".timeline.svg", false, write_timeline },
	{ "flame", "flame graph (page)", ".flame.html", true, write_flame },
	{ "flame-svg", "flame graph (SVG)", ".flame.svg", true, write_flame_svg },
	{ "dot", "call graph (Graphviz)", ".dot .gv", true, write_dot },
	{ "svg", "call graph (SVG, by Graphviz)", ".svg", true, write_svg },
	{ .name = NULL },
};

const struct export_picture *export_picture_by_name(const char *name)
{
	for (const struct export_picture *p = export_pictures; p->name; p++)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

/* The length of the longest of the suffixes, separated by blanks, that the path ends in; 0 none. */
static size_t fit(const char *path, const char *suffixes)
{
	size_t len = strlen(path), best = 0;

	for (const char *s = suffixes; *s; s += strspn(s, " ")) {
		size_t n = strcspn(s, " ");

		if (n > best && len > n && !memcmp(path + len - n, s, n))
			best = n;
		s += n;
	}
	return best;
}

const struct export_picture *export_picture_by_suffix(const char *path)
{
	const struct export_picture *best = NULL;
	size_t longest = 0;

	for (const struct export_picture *p = export_pictures; p->name; p++) {
		size_t n = fit(path, p->suffixes);

		if (n > longest) {
			longest = n;
			best = p;
		}
	}
	return best;
}
