/* SPDX-License-Identifier: Apache-2.0 */
/* /api/v1/view/KIND: which kind it is, files to take away, and what may be kept. */
#include "server/api_view.h"

#include "server/api.h"
#include "server/jsonw.h"
#include "server/look.h"

#include "analysis/diff.h"
#include "analysis/names.h"
#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "format/format.h"
#include "output/diff_report.h"
#include "output/dot.h"
#include "output/emit.h"
#include "output/flame.h"
#include "output/html_report.h"
#include "output/report.h"
#include "profile/profile.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- files ----------------------------------------------------------------------------------------------- */

struct file_kind {
	const char *name, *type, *suffix;
	struct seep_error *(*write)(const struct look *l, const struct request *q, struct reply *r);
};

static struct diff *shown_diff(const struct look *l)
{
	return l->shows_diff ? l->diff : NULL;
}

static struct seep_error *write_dot(const struct look *l, const struct request *q, struct reply *r)
{
	struct dot_options o = { .measure = l->measure,
		                 .diff = shown_diff(l),
		                 .normalize = l->normalize,
		                 .noise = l->noise,
		                 .nodecount = DOT_NODECOUNT,
		                 .nodefraction = DOT_NODEFRACTION,
		                 .edgefraction = DOT_EDGEFRACTION };
	int64_t count = DOT_NODECOUNT;

	if (!request_int(q, "nodecount", 0, 2000, &count, r) ||
	    !request_real(q, "nodefraction", 0, 1, &o.nodefraction, r) ||
	    !request_real(q, "edgefraction", 0, 1, &o.edgefraction, r) ||
	    !request_bool(q, "colorblind", &o.colorblind, r))
		return NULL;
	o.nodecount = (size_t)count;
	return dot_write(l->v, &o, &r->body);
}

static struct seep_error *write_graph(const struct look *l, const struct request *q, struct reply *r)
{
	_cleanup_buf_ struct buf dot = { 0 };
	struct seep_error *err = write_dot(l, q, r);

	if (err || r->status >= 400)
		return err;
	dot = r->body;
	r->body = (struct buf){ 0 };
	err = dot_to_svg(&dot, &r->body);
	return seep_error_set_code(err, ENOSYS);
}

static struct seep_error *write_svg(const struct look *l, const struct request *q, struct reply *r)
{
	struct flame_options o = { .measure = l->measure,
		                   .diff = shown_diff(l),
		                   .normalize = l->normalize,
		                   .most = 20000 };

	if (!request_bool(q, "colorblind", &o.colorblind, r))
		return NULL;
	return flame_svg(l->v, &o, &r->body);
}

static struct seep_error *write_html(const struct look *l, const struct request *q, struct reply *r)
{
	struct html_report_options o = { .measure = l->measure,
		                         .diff = shown_diff(l),
		                         .normalize = l->normalize,
		                         .noise = l->noise };

	if (!request_bool(q, "colorblind", &o.colorblind, r))
		return NULL;
	r->inline_style = true;
	return html_report(l->v, &o, &r->body);
}

static struct seep_error *emit_report(const struct look *l, const struct request *q,
                                      enum emit_format format, struct reply *r)
{
	static const char *const words[] = { [GROUP_SITE] = "site",
		                             [GROUP_FUNCTION] = "function",
		                             [GROUP_MODULE] = "module",
		                             [GROUP_THREAD] = "thread",
		                             [GROUP_KIND] = "kind" };
	const char *by = request_param(q, "by");
	int64_t top = format == EMIT_TEXT ? 20 : 1000, width = 100;
	enum group_by group = GROUP_SITE;
	struct emit_options eo = { .format = format };
	_cleanup_emit_ struct emit *e = NULL;

	for (size_t i = 0; by && i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i], by)) {
			group = (enum group_by)i;
			by = NULL;
		}
	if (by) {
		reply_bad_param(r, "by", "site, function, module, thread, kind");
		return NULL;
	}
	if (!request_int(q, "top", 0, SERVER_ROWS, &top, r) ||
	    !request_int(q, "width", 40, 1000, &width, r))
		return NULL;
	if (group == GROUP_THREAD && l->measure.value != MEASURE_INUSE) {
		reply_bad_param(r, "by", "of threads only what is in use is known");
		return NULL;
	}
	eo.width = (unsigned int)width;
	e = emit_new(&eo, &r->body);
	if (!e)
		return &seep_error_nomem;
	if (l->shows_diff) {
		const struct diff_report_options o = { .measure = l->measure,
			                               .by = group,
			                               .normalize = l->normalize,
			                               .noise = l->noise,
			                               .top = (size_t)top };

		return diff_report_emit(e, l->diff, l->v, &o);
	}
	const struct report_options o = { .measure = l->measure, .by = group, .top = (size_t)top };

	return report_emit(e, l->v, &o);
}

static struct seep_error *write_report(const struct look *l, const struct request *q,
                                       struct reply *r)
{
	return emit_report(l, q, EMIT_JSON, r);
}

static struct seep_error *write_text(const struct look *l, const struct request *q, struct reply *r)
{
	return emit_report(l, q, EMIT_TEXT, r);
}

static struct seep_error *write_seep(const struct look *l, const struct request *q, struct reply *r)
{
	(void)q;
	if (!l->view)
		return seep_error_new(EINVAL, "this view is no snapshot");
	if (l->view->file) {
		buf_add(&r->body, l->view->file->data, l->view->file->len);
		return NULL;
	}
	return store_snapshot_data(l->server->reader, l->view->snapshot, &r->body);
}

static const struct file_kind kinds[] = {
	{ "dot", "text/vnd.graphviz; charset=utf-8", ".dot", write_dot },
	{ "graph.svg", "image/svg+xml", ".graph.svg", write_graph },
	{ "svg", "image/svg+xml", ".svg", write_svg },
	{ "html", "text/html; charset=utf-8", ".html", write_html },
	{ "report", "application/json", ".json", write_report },
	{ "text", "text/plain; charset=utf-8", ".txt", write_text },
	{ "seep", "application/octet-stream", ".seep", write_seep },
};

static unsigned int format_value(struct measure m)
{
	static const unsigned int bits[MEASURE_NVALUES][2] = {
		[MEASURE_INUSE] = { FORMAT_INUSE_BYTES, FORMAT_INUSE_BLOCKS },
		[MEASURE_ALLOC] = { FORMAT_ALLOC_BYTES, FORMAT_ALLOC_BLOCKS },
		[MEASURE_PEAK] = { FORMAT_PEAK_BYTES, FORMAT_PEAK_BLOCKS },
	};

	return bits[m.value][m.blocks];
}

/* Of a difference: what has grown, stack by stack, which is what can be drawn from a folded file. */
static struct seep_error *write_format(const struct look *l, const struct format *f, struct reply *r)
{
	const struct format_output o = { .value = format_value(l->measure), .kinds = l->v->kinds };

	if (l->shows_diff)
		return seep_error_hint(
			seep_error_new(EINVAL, "%s holds one moment, not a difference", f->name),
			"Ask for value=growth, or for dot, svg, html, report.");
	if (f->one_value && !o.value)
		return seep_error_new(EINVAL, "%s holds nothing of what was freed", f->name);
	r->type = !strcmp(f->name, "pprof") ? "application/octet-stream"
	          : !strcmp(f->name, "speedscope") || !strcmp(f->name, "dhat")
	                  ? "application/json"
	                  : "text/plain; charset=utf-8";
	return format_write(f, look_profile(l), &o, &r->body);
}

/* Letters, digits and dots of the command's name, the moment, the suffix. */
static char *file_name(const struct look *l, const char *suffix)
{
	const struct profile *p = look_profile(l);
	const char *name = p->exe && *p->exe ? path_base(p->exe) : "profile";
	struct buf b = { 0 };
	size_t n = 0;

	for (; *name && n < 60; name++, n++)
		buf_putc(&b, isalnum((unsigned char)*name) || strchr("._-", *name) ? *name : '_');
	if (l->view && l->view->snapshot)
		buf_printf(&b, ".%" PRId64, l->view->snapshot);
	if (l->base && l->base->snapshot)
		buf_printf(&b, "-since-%" PRId64, l->base->snapshot);
	for (; *suffix && *suffix != ' '; suffix++)
		buf_putc(&b, *suffix);
	return buf_steal(&b);
}

int view_file(const struct look *l, const struct request *q, const char *kind, struct reply *r)
{
	const struct format *f = format_by_name(kind);
	const char *suffix = ".txt";
	bool download = false;
	struct seep_error *err = NULL;
	size_t i = 0;

	while (i < ARRAY_SIZE(kinds) && strcmp(kinds[i].name, kind) != 0)
		i++;
	if (i == ARRAY_SIZE(kinds) && (!f || !f->write))
		return 0;
	if (!request_bool(q, "download", &download, r))
		return 1;
	if (i < ARRAY_SIZE(kinds)) {
		r->type = kinds[i].type;
		suffix = kinds[i].suffix;
		err = kinds[i].write(l, q, r);
	} else {
		suffix = f->suffixes;
		err = write_format(l, f, r);
	}
	if (err) {
		reply_fail(r, err);
	} else if (!r->status) {
		r->status = 200;
		r->file_name = download ? file_name(l, suffix) : NULL;
	}
	return 1;
}

/* ---- the route ----------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*write)(const struct look *l, const struct request *q, struct jsonw *j,
	              struct reply *r);
} views[] = {
	{ "flame", view_flame },
	{ "top", view_top },
	{ "function", view_function },
	{ "source", view_source },
};

static char *make_etag(const struct request *q)
{
	_cleanup_buf_ struct buf key = { 0 }, tag = { 0 };

	request_canonical(q, &key);
	/* Another build may say it otherwise. */
	buf_printf(&tag, "\"%016" PRIx64 "-%s\"", hash_bytes(key.data, key.len), SEEP_VERSION);
	return buf_steal(&tag);
}

void route_view(struct server *s, struct request *q, struct reply *r)
{
	const char *kind = q->args[0];
	_cleanup_look_ struct look l = { 0 };
	struct jsonw j = { .out = &r->body };
	size_t i = 0;

	if (!look_make(s, q, NULL, &l, r))
		return;
	while (i < ARRAY_SIZE(views) && strcmp(views[i].name, kind) != 0)
		i++;
	if (i < ARRAY_SIZE(views)) {
		views[i].write(&l, q, &j, r);
		if (!r->status) {
			r->status = 200;
			r->type = "application/json";
		}
	} else if (!view_file(&l, q, kind, r)) {
		reply_error(r, 404, "not_found", "docs/API.md lists them.", "there is no view '%s'",
		            kind);
	}
	/* Source is read anew: the file may have changed. */
	if (r->status == 200 && strncmp(kind, "source", 6) != 0 && look_is_fixed(&l) && !l.check) {
		r->share = true;
		r->etag = make_etag(q);
	}
}
