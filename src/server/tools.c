/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The remote pprof protocol, for every tracked process, though none of them has a port: google-pprof, jeprof, go tool pprof and
 * scrapers ask this server, and it reads the process's ledger.
 *
 *     /p/NAME/pprof/...         gperftools' way: text with addresses; names are asked for at /pprof/symbol
 *     /p/NAME/debug/pprof/...   Go's: a gzip'd protobuf that has the names in it
 *     /p/NAME/jemalloc/...      jemalloc's: heap_v2 text
 *
 * Addresses: a stack's are return addresses; readers look for the call one byte before.  google-pprof asks for the leaf as it is and
 * for callers less one, Go for all less one; so an address and the one after it mean the same frame.
 */
#include "server/api.h"
#include "server/profiles.h"
#include "server/recorder.h"

#include "analysis/view.h"
#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "base/parse.h"
#include "format/format.h"
#include "output/emit.h"
#include "output/report.h"
#include "output/units.h"
#include "proc/procfs.h"
#include "profile/profile.h"
#include "server/symbol_query.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_WIDTH 100
#define TEXT_TOP 20
#define CMDLINE_MOST 65536

/* ---- which process ---------------------------------------------------------------------------------- */

/* A pid, or a name that one tracked process has.  False: answered, in words. */
static bool find(struct server *s, const char *name, struct subject *ret, struct reply *r)
{
	_cleanup_free_ struct subject *list = NULL;
	const struct subject *found = NULL;
	size_t n, matches = 0;
	uint64_t pid = 0;
	bool number = parse_u64(name, &pid) == 0;

	list = recorder_list(s->recorder, &n);
	for (size_t i = 0; list && i < n; i++) {
		if (!list[i].tracked ||
		    (number ? (uint64_t)list[i].pid != pid : strcmp(list[i].name, name) != 0))
			continue;
		found = &list[i];
		matches++;
	}
	if (matches == 1) {
		*ret = *found;
		return true;
	}
	reply_text(r, matches ? 409 : 404,
	           matches ? "%s: %zu tracked processes have that name; use a pid.  /p lists them.\n"
	                   : "%s: no tracked process has that name or pid.  /p lists them.\n",
	           name, matches);
	return false;
}

void route_tool_list(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_free_ struct subject *list = NULL;
	size_t n, shown = 0;

	(void)q;
	list = recorder_list(s->recorder, &n);
	reply_text(r, 200, "  PID  NAME                      IN USE  COMMAND\n");
	for (size_t i = 0; list && i < n; i++) {
		_cleanup_buf_ struct buf size = { 0 }, name = { 0 }, command = { 0 };

		if (!list[i].tracked)
			continue;
		unit_bytes(&size, list[i].inuse);
		text_clean(&name, list[i].name);
		text_clean(&command, list[i].command);
		buf_printf(&r->body, "%5d  %-20s  %10s  %s\n", list[i].pid,
		           name.data ? name.data : "", size.data ? size.data : "",
		           command.data ? command.data : "");
		shown++;
	}
	if (!shown)
		reply_text(r, 200, "Nothing is tracked: seep run -- PROGRAM, or seep attach PID.\n");
}

/* ---- what they ask for ------------------------------------------------------------------------------- */

static void put_format(const char *name, const char *type, const struct profile *p, struct reply *r)
{
	const struct format_output o = { 0 };
	struct seep_error *err = format_write(format_by_name(name), p, &o, &r->body);

	r->status = 200;
	r->type = type;
	if (err) {
		reply_text(r, 500, "%s\n", err->message);
		seep_error_free(err);
	}
}

static void put_report(const struct profile *p, struct reply *r)
{
	const struct emit_options eo = { .format = EMIT_TEXT, .width = TEXT_WIDTH };
	const struct report_options o = { .by = GROUP_SITE, .top = TEXT_TOP };
	const struct view_options shown = { 0 };
	_cleanup_view_ struct view *v = NULL;
	_cleanup_emit_ struct emit *e = NULL;
	struct seep_error *err = view_new(p, &shown, &v);

	r->status = 200;
	r->type = "text/plain; charset=utf-8";
	if (!err)
		e = emit_new(&eo, &r->body);
	if (!err)
		err = e ? report_emit(e, v, &o) : &seep_error_nomem;
	if (err) {
		reply_text(r, 500, "%s\n", err->message);
		seep_error_free(err);
	}
}

/* Arguments, one a line, or as Go has them with NULs. */
static void put_cmdline(const struct subject *p, char separator, struct reply *r)
{
	_cleanup_buf_ struct buf b = { 0 };

	reply_text(r, 200, "%s", "");
	if (procfs_read(p->pid, "cmdline", CMDLINE_MOST, &b) < 0 || !b.len) {
		buf_printf(&r->body, "%s\n", p->command);
		return;
	}
	for (size_t i = 0; i < b.len; i++) {
		char c = b.data[i];

		buf_putc(&r->body, c ? (c == '\n' ? ' ' : c) : separator);
	}
}

static void put_symbols(struct server *s, const struct request *q, const struct subject *p,
                        struct reply *r)
{
	struct held *h = NULL;
	struct seep_error *err;

	if (request_is_get(q)) {
		reply_text(r, 200, "num_symbols: 1\n");
		return;
	}
	err = profiles_now(s->profiles, p->pid, p->id, false, &h);
	if (err) {
		reply_text(r, 500, "%s\n", err->message);
		seep_error_free(err);
		return;
	}
	reply_text(r, 200, "%s", "");
	symbol_query(h->profile, q->body.data ? q->body.data : "", &r->body);
	profiles_release(s->profiles, h);
}

enum tool {
	TOOL_HEAP,
	TOOL_GROWTH,
	TOOL_PROTO,
	TOOL_JEMALLOC,
	TOOL_CMDLINE,
	TOOL_GO_CMDLINE,
	TOOL_SYMBOL
};

static const struct {
	const char *path;
	enum tool tool;
} tools[] = {
	{ "pprof/heap", TOOL_HEAP },
	{ "pprof/growth", TOOL_GROWTH },
	{ "pprof/cmdline", TOOL_CMDLINE },
	{ "pprof/symbol", TOOL_SYMBOL },
	{ "debug/pprof/heap", TOOL_PROTO },
	{ "debug/pprof/allocs", TOOL_PROTO },
	{ "debug/pprof/cmdline", TOOL_GO_CMDLINE },
	{ "debug/pprof/symbol", TOOL_SYMBOL },
	{ "jemalloc/heap", TOOL_JEMALLOC },
	{ "jemalloc/pprof/heap", TOOL_JEMALLOC },
	{ "jemalloc/pprof/cmdline", TOOL_CMDLINE },
	{ "jemalloc/pprof/symbol", TOOL_SYMBOL },
};

static void put_profile(struct server *s, const struct request *q, const struct subject *p,
                        enum tool tool, bool report, struct reply *r)
{
	const char *debug = request_param(q, "debug");
	struct held *h = NULL;
	struct seep_error *err = profiles_now(s->profiles, p->pid, p->id, false, &h);

	if (err) {
		reply_text(r, err->code == ESRCH ? 410 : 500, "%s\n", err->message);
		seep_error_free(err);
		return;
	}
	if (report || (tool == TOOL_PROTO && debug && strcmp(debug, "0") != 0))
		put_report(h->profile, r);
	else if (tool == TOOL_PROTO)
		put_format("pprof", "application/octet-stream", h->profile, r);
	else
		put_format(tool == TOOL_HEAP     ? "gperftools"
		           : tool == TOOL_GROWTH ? "growth"
		                                 : "jemalloc",
		           "text/plain; charset=utf-8", h->profile, r);
	profiles_release(s->profiles, h);
}

void route_tool(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_buf_ struct buf path = { 0 };
	struct subject p;
	size_t i = 0;

	for (size_t k = 1; k < q->nargs; k++)
		buf_printf(&path, "%s%s", k > 1 ? "/" : "", q->args[k]);
	while (path.len && i < ARRAY_SIZE(tools) && strcmp(tools[i].path, path.data) != 0)
		i++;
	if (i == ARRAY_SIZE(tools)) {
		reply_text(
			r, 404,
			"There is no %s; pprof/heap, pprof/growth, debug/pprof/heap, debug/pprof/allocs.\n",
			path.data);
		return;
	}
	if (!find(s, q->args[0], &p, r))
		return;
	if (!path.len)
		put_profile(s, q, &p, TOOL_HEAP, true, r);
	else if (tools[i].tool == TOOL_SYMBOL)
		put_symbols(s, q, &p, r);
	else if (tools[i].tool == TOOL_CMDLINE || tools[i].tool == TOOL_GO_CMDLINE)
		put_cmdline(&p, tools[i].tool == TOOL_CMDLINE ? '\n' : '\0', r);
	else
		put_profile(s, q, &p, tools[i].tool, false, r);
}
