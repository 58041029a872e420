/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep top as plain text or JSON: a refresh after the other, until the count is reached or the process has
 * ended.  Nothing here needs a terminal.
 */
#include "cli/top.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "cli/cli.h"
#include "output/emit.h"
#include "output/units.h"
#include "profile/profile.h"

/* Until it is time again, or the process (where there is one) has ended. */
static void wait_for_next(int pidfd, uint64_t from, uint64_t interval)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	uint64_t now = top_now(), until = from + interval;
	struct timespec left;

	if (now >= until)
		return;
	left.tv_sec = (time_t)((until - now) / 1000000000u);
	left.tv_nsec = (long)((until - now) % 1000000000u);
	(void)ppoll(&p, pidfd >= 0, &left, NULL);
}

static struct emit *new_emit(const struct top_cli *c, struct buf *out)
{
	const struct emit_options o = { .format = c->json ? EMIT_JSON : EMIT_TEXT,
		                        .width = cli_width(STDOUT_FILENO),
		                        .color = cli_color(STDOUT_FILENO) };

	return emit_new(&o, out);
}

/* *ret_closed: nobody reads on, which is no error. */
static struct seep_error *put(const struct buf *out, bool *ret_closed)
{
	struct seep_error *err = out->failed ? &seep_error_nomem : cli_write(out, NULL);

	*ret_closed = ferror(stdout) != 0;
	return err;
}

/* ---- one process ------------------------------------------------------------------------ */

static struct seep_error *show_one(const struct top_cli *c, const struct top_source *s,
                                   bool *ret_closed)
{
	const struct top_report_options o = {
		.by = c->by,
		.order = c->order,
		.reverse = c->reverse,
		.top = (size_t)c->top,
		.depth = (size_t)c->depth,
		.blocks = c->blocks,
		.combined = c->combined,
		.full_paths = c->full_paths,
		.cwd = c->cwd,
	};
	const struct top_facts facts = top_source_facts(s);
	_cleanup_buf_ struct buf out = { 0 };
	_cleanup_emit_ struct emit *e = new_emit(c, &out);
	struct seep_error *err = e ? top_report_emit(e, s->top, &facts, &o) : &seep_error_nomem;

	if (!err && s->ended && !c->json && c->count != 1)
		emit_text(e, EMIT_WARN, 0, "The process has ended; these were its last numbers.");
	return err ? err : put(&out, ret_closed);
}

int top_plain_one(const struct top_cli *c, const char *what)
{
	struct top_source s;
	struct seep_error *err = top_source_open(c, what, &s);
	_cleanup_close_ int pidfd = -1;
	bool closed = false;
	uint64_t shown = 0;

	if (err)
		return cli_fail("top", err);
	pidfd = (int)syscall(SYS_pidfd_open, s.pid, 0);
	for (;;) {
		uint64_t start = top_now();

		if (s.problem)
			cli_warn("top", "%s", s.problem);
		else
			err = show_one(c, &s, &closed);
		if (err || closed || s.ended || (c->count_given && ++shown >= c->count))
			break;
		wait_for_next(pidfd, start, c->interval_ns);
		err = top_source_refresh(&s);
		if (err)
			break;
	}
	top_source_close(&s);
	return err ? cli_fail("top", err) : CLI_OK;
}

/* ---- several --------------------------------------------------------------------------------- */

static void list_rows(struct emit *e, const struct top_list *l, size_t shown)
{
	static const struct emit_column columns[] = {
		{ "pid", "PID", 0, 0 },
		{ "rss_bytes", "RSS", 0, 0 },
		{ "inuse_bytes", "IN USE", 0, 0 },
		{ "inuse_blocks", "BLOCKS", 0, 0 },
		{ NULL, "GROWTH/s", EMIT_RIGHT, 0 },
		{ "growth_per_s", NULL, 0, 0 },
		{ NULL, "ALLOC/s", EMIT_RIGHT, 0 },
		{ "alloc_per_s", NULL, 0, 0 },
		{ "tracked_ns", "TRACKED", 0, 0 },
		{ "sampled", NULL, 0, 0 },
		{ "allocator", "ALLOCATOR", EMIT_SHRINK, 0 },
		{ "name", NULL, 0, 0 },
		{ "uid", NULL, 0, 0 },
		{ "ledger", NULL, 0, 0 },
		{ "command", "COMMAND", EMIT_SHRINK, 0 },
	};

	emit_table(e, "processes", 0, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < shown; i++) {
		const struct top_process *p = &l->items[i];
		_cleanup_buf_ struct buf growth = { 0 }, rate = { 0 };

		top_signed(&growth, top_process_growth(p), "");
		unit_bytes(&rate, (uint64_t)fmin(fmax(top_process_rate(p), 0), 1e18));
		emit_row(e, 0, EMIT_PLAIN,
		         (struct emit_value[]){
				 emit_number(p->pid),
				 p->rss == TOP_UNKNOWN ? emit_none() : emit_bytes(p->rss),
				 emit_bytes(p->inuse), emit_count(p->blocks),
				 emit_string(growth.data),
				 emit_number(llround(top_process_growth(p))),
				 emit_string(rate.data), emit_number(llround(top_process_rate(p))),
				 emit_duration(p->duration_ns), emit_bool(p->sampled),
				 emit_string(p->allocator), emit_string(p->name), emit_number(p->uid),
				 emit_string(p->path), emit_string(p->command) });
	}
	emit_table_end(e);
}

static struct seep_error *show_list(const struct top_cli *c, const struct top_list *l,
                                    bool *ret_closed)
{
	size_t shown = c->top && c->top_given && c->top < l->n ? (size_t)c->top : l->n;
	_cleanup_buf_ struct buf out = { 0 }, line = { 0 };
	_cleanup_emit_ struct emit *e = new_emit(c, &out);

	if (!e)
		return &seep_error_nomem;
	emit_object(e, NULL);
	emit_field(e, "seep_top", NULL, emit_number(TOP_JSON_VERSION));
	emit_field(e, "time_ns", NULL, emit_number((int64_t)l->time_ns));
	unit_time(&line, l->time_ns);
	emit_text(e, EMIT_BOLD, 0, "%s  %zu tracked process%s", line.data ? line.data : "", l->n,
	          l->n == 1 ? "" : "es");
	if (l->n || c->json)
		list_rows(e, l, shown);
	emit_object_end(e);
	emit_blank(e);
	return put(&out, ret_closed);
}

int top_plain_list(const struct top_cli *c, char **names, size_t n)
{
	struct top_list l;
	struct seep_error *err;
	bool closed = false;
	uint64_t shown = 0;

	top_list_init(&l, c, names, n);
	for (;;) {
		uint64_t start = top_now();

		err = top_list_refresh(&l);
		if (!err && !l.n && !c->json && !shown)
			err = seep_error_hint(
				seep_error_new(0, "no tracked process is meant by that"),
				"`seep ps` lists what is tracked; `seep run -- COMMAND` "
				"starts a program so.");
		if (!err)
			err = show_list(c, &l, &closed);
		if (err || closed || !l.n || (++shown >= c->count && c->count_given))
			break;
		wait_for_next(-1, start, c->interval_ns);
	}
	top_list_release(&l);
	return err ? cli_fail("top", err) : CLI_OK;
}
