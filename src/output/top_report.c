/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A refresh written down.  Those who come from memleak find its listing here: stacks with what is outstanding, and
 * under each, where asked for, the address and size of every block; with what memleak has not: how fast it grows.
 */
#include "output/top_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/names.h"
#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/report_private.h"
#include "output/units.h"
#include "wire/ledger.h"

static const struct {
	const char *key, *title;
} names[] = {
	[GROUP_SITE] = { "site", "SITE" },       [GROUP_FUNCTION] = { "function", "FUNCTION" },
	[GROUP_MODULE] = { "module", "MODULE" }, [GROUP_THREAD] = { "thread", "THREAD" },
	[GROUP_KIND] = { "kind", "KIND" },
};

uint64_t top_losses(const struct profile *p)
{
	static const enum ledger_loss losing[] = { LOSS_NESTED,      LOSS_LIVE_FULL,
		                                   LOSS_STACKS_FULL, LOSS_NO_SPACE,
		                                   LOSS_CONTENDED,   LOSS_BOOTSTRAP,
		                                   LOSS_SIZE_CLAMPED };
	/* Of one that runs, torn records are those being written just now: the next reading has them. */
	uint64_t n = p->live ? 0 : p->losses.torn;

	for (size_t i = 0; i < ARRAY_SIZE(losing); i++)
		if (__builtin_add_overflow(n, p->losses.count[losing[i]], &n))
			return UINT64_MAX;
	return n;
}

void top_signed(struct buf *b, double bytes, const char *per)
{
	double size = fabs(bytes);

	if (!(size >= 0.5)) {
		buf_puts(b, "0 B");
		return;
	}
	buf_putc(b, bytes < 0 ? '-' : '+');
	unit_bytes(b, size < 1e19 ? (uint64_t)(size + 0.5) : UINT64_MAX);
	buf_puts(b, per);
}

void top_choice_words(struct buf *b, const struct top_options *o)
{
	const char *between = "";

	if (o->min_age) {
		buf_puts(b, "at least ");
		unit_duration(b, o->min_age);
		buf_puts(b, " old");
		between = ", ";
	}
	if (o->min_size) {
		buf_puts(b, between);
		unit_bytes(b, o->min_size);
		buf_puts(b, " or more");
		between = ", ";
	}
	if (o->max_size) {
		buf_puts(b, between);
		unit_bytes(b, o->max_size);
		buf_puts(b, " or less");
	}
}

static struct report report_for(struct emit *e, const struct top *t, const struct report_options *o)
{
	return (struct report){ .e = e, .v = t->view, .p = t->profile, .o = o };
}

void top_place_of(const struct top *t, uint32_t location, const char *cwd,
                  struct top_place *ret_place)
{
	const struct report_options o = { .cwd = cwd };
	struct report r = report_for(NULL, t, &o);
	struct location_text text;

	report_location(&r, location, &text);
	memcpy(ret_place->function, text.function, sizeof(text.function));
	memcpy(ret_place->where, text.where, sizeof(text.where));
}

/* That is for a stack to tell; in a row it would push the file's name out. */
static void without_inlined(char *where)
{
	static const char word[] = " (inlined)";
	size_t n = strlen(where), len = sizeof(word) - 1;

	if (n > len && !strcmp(where + n - len, word))
		where[n - len] = '\0';
}

void top_row_place(const struct top *t, enum group_by by, const struct top_row *row,
                   const char *cwd, struct top_place *ret_place)
{
	const char *name = top_row_name(t, by, row);
	const struct prof_thread *thread;
	uint32_t module;

	if (by == GROUP_SITE) {
		top_place_of(t, top_row_location(t, by, row), cwd, ret_place);
		without_inlined(ret_place->where);
		if (row->kind != PROF_HEAP) {
			size_t n = strlen(ret_place->where);

			snprintf(ret_place->where + n, sizeof(ret_place->where) - n, "%s(%s)",
			         n ? " " : "", kind_names[row->kind].words);
		}
		return;
	}
	ret_place->where[0] = '\0';
	if (by == GROUP_MODULE && name)
		name = path_base(name);
	snprintf(ret_place->function, sizeof(ret_place->function), "%s",
	         name && *name                                   ? name
	         : by == GROUP_THREAD                            ? "(unknown)"
	         : by == GROUP_FUNCTION && row->id == UINT32_MAX ? "(stack unknown)"
	         : by == GROUP_MODULE                            ? "(no module)"
	                                                         : "??");
	if (by == GROUP_THREAD && row->id < t->profile->nthreads) {
		thread = &t->profile->threads[row->id];
		if (thread->tid)
			snprintf(ret_place->where, sizeof(ret_place->where), "%d%s", thread->tid,
			         thread->died ? " (ended)" : "");
	} else if (by == GROUP_FUNCTION && row->id < t->view->nfunctions) {
		module = t->view->functions[row->id].module;
		if (module < t->profile->nmodules)
			snprintf(ret_place->where, sizeof(ret_place->where), "%s",
			         path_base(t->profile->modules[module].path));
	}
}

/* ---- head ------------------------------------------------------------------------- */

static double share(double part, double whole)
{
	return whole > 0 ? part / whole : 0;
}

static void head_text(struct emit *e, const struct top *t, const struct top_facts *f,
                      const struct top_row *sum)
{
	const struct profile *p = t->profile;
	_cleanup_buf_ struct buf line = { 0 };

	unit_time(&line, f->time_ns);
	buf_printf(&line, "  %s (pid %d)", f->name, f->pid);
	if (f->ended)
		buf_printf(&line, ", %s",
		           p->killed     ? "killed"
		           : p->execed   ? "replaced by exec"
		           : p->detached ? "detached from"
		                         : "ended");
	if (f->uptime_ns && !f->ended) {
		buf_puts(&line, ", up ");
		unit_duration(&line, f->uptime_ns);
	}
	buf_puts(&line, ", tracked for ");
	unit_duration(&line, p->duration_ns);
	emit_text(e, EMIT_BOLD, 0, "%s", line.data ? line.data : "");

	buf_reset(&line);
	buf_puts(&line, "in use ");
	unit_bytes(&line, sum->inuse.bytes);
	if (top_row_margin(t, sum)) {
		buf_puts(&line, " ± ");
		unit_bytes(&line, top_row_margin(t, sum));
	}
	buf_puts(&line, " in ");
	unit_count(&line, sum->inuse.blocks);
	buf_puts(&line, sum->inuse.blocks == 1 ? " block; growth " : " blocks; growth ");
	top_signed(&line, sum->growth * 60, "/min");
	if (sum->rate > 0) {
		buf_puts(&line, "; allocated ");
		unit_bytes(&line, (uint64_t)fmin(sum->rate, 1e18));
		buf_puts(&line, "/s");
	}
	if (t->average)
		buf_puts(&line, " (averages since tracking began)");
	if (f->rss != TOP_UNKNOWN) {
		buf_puts(&line, "; resident ");
		unit_bytes(&line, f->rss);
	}
	if (f->limit) {
		buf_puts(&line, "; cgroup ");
		unit_bytes(&line, f->used);
		buf_puts(&line, " of ");
		unit_bytes(&line, f->limit);
		buf_puts(&line, " (");
		unit_ratio(&line, share((double)f->used, (double)f->limit));
		buf_puts(&line, ")");
	}
	emit_text(e, EMIT_PLAIN, 2, "%s", line.data ? line.data : "");

	buf_reset(&line);
	top_choice_words(&line, &t->options);
	if (line.len)
		emit_text(e, EMIT_MARK, 2, "only blocks %s", line.data);
	buf_reset(&line);
	if (p->sampled) {
		buf_puts(&line, "sampled, every ");
		unit_bytes(&line, p->period);
		buf_puts(&line, " on average");
	}
	if (p->attached)
		buf_printf(&line, "%sattached: what is older is not seen", line.len ? "; " : "");
	if (p->forked)
		buf_printf(&line, "%sforked: inherited blocks are not seen", line.len ? "; " : "");
	if (p->bypassed)
		buf_printf(&line, "%sthe program's own malloc is not seen", line.len ? "; " : "");
	if (top_losses(p)) {
		buf_puts(&line, line.len ? "; lost: " : "lost: ");
		unit_count(&line, top_losses(p));
		buf_puts(&line, " events (`seep report` says which)");
	}
	if (line.len)
		emit_text(e, EMIT_WARN, 2, "%s", line.data);
	emit_blank(e);
}

static void head_json(struct emit *e, const struct top *t, const struct top_facts *f,
                      const struct top_row *sum, const struct top_report_options *o)
{
	const struct profile *p = t->profile;

	emit_field(e, "seep_top", NULL, emit_number(TOP_JSON_VERSION));
	emit_field(e, "time_ns", NULL, emit_number((int64_t)f->time_ns));
	emit_object(e, "process");
	emit_field(e, "pid", NULL, emit_number(f->pid));
	emit_field(e, "name", NULL, emit_string(f->name));
	emit_field(e, "command", NULL, emit_string(p->command));
	emit_field(e, "uid", NULL, emit_number(f->uid));
	emit_field(e, "state", NULL, emit_string(profile_state(p)));
	emit_field(e, "uptime_ns", NULL, f->uptime_ns ? emit_duration(f->uptime_ns) : emit_none());
	emit_field(e, "rss_bytes", NULL, f->rss != TOP_UNKNOWN ? emit_bytes(f->rss) : emit_none());
	emit_field(e, "cgroup", NULL, emit_string(f->cgroup));
	emit_field(e, "cgroup_limit_bytes", NULL, f->limit ? emit_bytes(f->limit) : emit_none());
	emit_field(e, "cgroup_used_bytes", NULL, f->limit ? emit_bytes(f->used) : emit_none());
	emit_object_end(e);
	emit_object(e, "tracking");
	emit_field(e, "ledger", NULL, emit_string(f->ledger));
	emit_field(e, "duration_ns", NULL, emit_duration(p->duration_ns));
	emit_field(e, "sampled", NULL, emit_bool(p->sampled));
	emit_field(e, "period", NULL, emit_bytes(p->period));
	emit_field(e, "attached", NULL, emit_bool(p->attached));
	emit_field(e, "bypassed", NULL, emit_bool(p->bypassed));
	emit_field(e, "lost_events", NULL, emit_count(top_losses(p)));
	emit_field(e, "allocator", NULL, emit_string(p->allocator));
	emit_object_end(e);
	emit_field(e, "readings", NULL, emit_number(t->readings));
	emit_field(e, "rates", NULL, emit_string(t->average ? "since_start" : "smoothed"));
	emit_object(e, "total");
	emit_field(e, "inuse_bytes", NULL, emit_bytes(sum->inuse.bytes));
	emit_field(e, "inuse_blocks", NULL, emit_count(sum->inuse.blocks));
	emit_field(e, "growth_per_s", NULL, emit_number(llround(sum->growth)));
	emit_field(e, "alloc_per_s", NULL, emit_number(llround(sum->rate)));
	emit_object_end(e);
	emit_field(e, "by", NULL, emit_string(names[o->by].key));
}

/* ---- rows as a table ---------------------------------------------------------------- */

struct numbers { /* of a row, in words */
	struct buf growth, base, rate, age, average;
};

static void numbers_release(struct numbers *n)
{
	buf_release(&n->growth);
	buf_release(&n->base);
	buf_release(&n->rate);
	buf_release(&n->age);
}

static const char *text_of(const struct buf *b)
{
	return b->data ? b->data : "";
}

static void row_numbers(const struct top *t, const struct top_row *r, struct numbers *ret)
{
	uint64_t age = top_row_age(t, r);

	top_signed(&ret->growth, r->growth, "/s");
	top_signed(&ret->base, (double)(t->based ? r->base : r->delta), "");
	if (r->alloc.blocks || r->rate > 0) {
		unit_bytes(&ret->rate, (uint64_t)fmin(fmax(r->rate, 0), 1e18));
		buf_puts(&ret->rate, "/s");
	}
	if (age != UINT64_MAX)
		unit_duration(&ret->age, age);
}

static struct emit_value inuse_value(const struct top *t, const struct top_row *r)
{
	const struct group_sum s = { .value = { r->inuse }, .inuse_samples = r->samples };

	return report_value(t->profile, &s, MEASURE_INUSE, false);
}

static void table(struct emit *e, const struct top *t, const struct top_rows *rows, size_t shown,
                  const struct top_report_options *o)
{
	const struct emit_column columns[] = {
		{ NULL, "IN USE", 0, 0 },
		{ NULL, "BLOCKS", 0, 0 },
		{ NULL, "GROWTH/s", EMIT_RIGHT, 0 },
		{ NULL,
		  t->based          ? "SINCE BASE"
		  : t->readings > 1 ? "SINCE LAST"
		                    : NULL,
		  EMIT_RIGHT, 0 },
		{ NULL, o->by == GROUP_THREAD ? NULL : "ALLOC/s", EMIT_RIGHT, 0 },
		{ NULL, o->by == GROUP_THREAD ? NULL : "OLDEST", EMIT_RIGHT, 0 },
		{ NULL, names[o->by].title, EMIT_SHRINK, 0 },
		{ NULL, "", EMIT_SHRINK_PATH, 0 },
	};

	emit_table(e, NULL, 2, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < shown; i++) {
		const struct top_row *r = &rows->items[i];
		struct numbers n = { 0 };
		struct top_place place;

		row_numbers(t, r, &n);
		top_row_place(t, o->by, r, o->cwd, &place);
		emit_row(e, 0, EMIT_PLAIN,
		         (struct emit_value[]){
				 inuse_value(t, r), emit_count(r->inuse.blocks),
				 emit_string(text_of(&n.growth)), emit_string(text_of(&n.base)),
				 emit_string(text_of(&n.rate)), emit_string(text_of(&n.age)),
				 emit_string(place.function), emit_string(place.where) });
		numbers_release(&n);
	}
	emit_table_end(e);
}

/* ---- rows with stacks and blocks ----------------------------------------------------- */

static struct seep_error *row_blocks(struct emit *e, const struct top *t, const struct top_row *row)
{
	static const struct emit_column columns[] = {
		{ "address", "addr", 0, 0 },  { "size", "size", 0, 0 }, { "age_ns", "age", 0, 0 },
		{ "thread", "thread", 0, 0 }, { "weight", NULL, 0, 0 },
	};
	const struct profile *p = t->profile;
	_cleanup_free_ uint32_t *blocks = NULL;
	struct seep_error *err;
	size_t n = 0;

	err = top_row_blocks(t, row, &blocks, &n);
	if (err)
		return err;
	emit_table(e, "blocks", 4, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < n; i++) {
		const struct prof_block *b = &p->blocks[blocks[i]];
		uint64_t age = p->duration_ns > b->born ? p->duration_ns - b->born : 0;

		emit_row(e, 0, EMIT_PLAIN,
		         (struct emit_value[]){
				 emit_address(b->address),
				 emit_is_text(e) ? emit_count(b->size) : emit_bytes(b->size),
				 emit_duration(age), emit_number(p->threads[b->thread].tid),
				 emit_ratio(b->weight > 1 ? b->weight : 1) });
	}
	emit_table_end(e);
	return NULL;
}

static void row_line(struct emit *e, const struct top *t, const struct top_row *r, size_t rank)
{
	struct numbers n = { 0 };
	_cleanup_buf_ struct buf format = { 0 }, tail = { 0 };
	const struct emit_part parts[] = {
		{ NULL, emit_number((int64_t)rank), false },
		{ NULL, inuse_value(t, r), false },
		{ NULL, emit_count(r->inuse.blocks), false },
		{ NULL, emit_none(), false },
	};
	struct emit_part all[ARRAY_SIZE(parts)];

	row_numbers(t, r, &n);
	buf_puts(&format, r->inuse.blocks == 1 ? "%.  % in % block%" : "%.  % in % blocks%");
	buf_printf(&tail, "; growth %s", text_of(&n.growth));
	if (t->based || t->readings > 1)
		buf_printf(&tail, ", %s since the %s", text_of(&n.base), t->based ? "base" : "last");
	if (n.rate.len)
		buf_printf(&tail, "; allocated %s", n.rate.data);
	if (n.age.len)
		buf_printf(&tail, "; oldest %s", n.age.data);
	if (r->kind != PROF_HEAP)
		buf_printf(&tail, "; %s", kind_names[r->kind].words);
	memcpy(all, parts, sizeof(all));
	all[3].value = emit_string(text_of(&tail));
	emit_line(e, EMIT_BOLD, text_of(&format), all, ARRAY_SIZE(all));
	numbers_release(&n);
}

static void row_json(const struct report *r, const struct top *t, const struct top_row *row,
                     const struct top_report_options *o)
{
	uint64_t age = top_row_age(t, row);
	const struct prof_thread *thread = o->by == GROUP_THREAD ? &t->profile->threads[row->id]
	                                                         : NULL;
	uint32_t location = top_row_location(t, o->by, row);
	const struct view_location *l = location == UINT32_MAX ? NULL
	                                                       : &t->view->locations[location];
	uint32_t module = l ? l->module
	                  : o->by == GROUP_FUNCTION && row->id < t->view->nfunctions
	                          ? t->view->functions[row->id].module
	                          : PROF_NO_MODULE;
	const char *name = top_row_name(t, o->by, row);

	emit_field(r->e, "name", NULL, emit_string(name && *name ? name : NULL));
	emit_field(r->e, "file", NULL, emit_string(l ? l->file : NULL));
	emit_field(r->e, "line", NULL, l && l->line ? emit_number(l->line) : emit_none());
	if (o->by == GROUP_SITE || o->by == GROUP_FUNCTION)
		emit_field(r->e, "module", NULL,
		           emit_string(module == PROF_NO_MODULE ? NULL
		                                                : t->profile->modules[module].path));
	if (thread)
		emit_field(r->e, "tid", NULL, emit_number(thread->tid));
	if (o->by == GROUP_SITE || o->by == GROUP_KIND)
		emit_field(r->e, "kind", NULL, emit_string(kind_names[row->kind].key));
	emit_field(r->e, "inuse_bytes", NULL, inuse_value(t, row));
	emit_field(r->e, "inuse_blocks", NULL, emit_count(row->inuse.blocks));
	if (o->by == GROUP_FUNCTION || o->by == GROUP_MODULE)
		emit_field(r->e, "self_bytes", NULL, emit_bytes(row->self.bytes));
	emit_field(r->e, "alloc_bytes", NULL, thread ? emit_none() : emit_bytes(row->alloc.bytes));
	emit_field(r->e, "delta_bytes", NULL,
	           t->readings > 1 ? emit_number(row->delta) : emit_none());
	emit_field(r->e, "growth_per_s", NULL, emit_number(llround(row->growth)));
	emit_field(r->e, "alloc_per_s", NULL,
	           thread ? emit_none() : emit_number(llround(row->rate)));
	emit_field(r->e, "oldest_age_ns", NULL,
	           age == UINT64_MAX ? emit_none() : emit_duration(age));
}

static struct seep_error *row_in_full(struct report *r, const struct top *t,
                                      const struct top_row *row, size_t rank,
                                      const struct top_report_options *o)
{
	bool text = emit_is_text(r->e);
	struct seep_error *err = NULL;

	emit_object(r->e, NULL);
	if (text)
		row_line(r->e, t, row, rank);
	else
		row_json(r, t, row, o);
	if (o->by == GROUP_SITE && !o->combined)
		report_stack(r, row->id);
	if (o->blocks)
		err = row_blocks(r->e, t, row);
	emit_object_end(r->e);
	emit_blank(r->e);
	return err;
}

static void take_stack(struct frame_table *f, const struct view *v, uint32_t leaf)
{
	for (uint32_t n = leaf; n; n = v->nodes[n].parent)
		frames_take(f, v->nodes[n].location);
}

static struct seep_error *rows_in_full(struct emit *e, const struct top *t,
                                       const struct top_rows *rows, size_t shown,
                                       const struct top_report_options *o)
{
	const struct report_options ro = { .cwd = o->cwd,
		                           .depth = o->depth,
		                           .full_paths = o->full_paths };
	_cleanup_frames_ struct frame_table frames = { 0 };
	struct report r = report_for(e, t, &ro);
	struct seep_error *err = NULL;

	if (!emit_is_text(e) && o->by == GROUP_SITE && !o->combined) {
		err = frames_init(&frames, t->view);
		if (err)
			return err;
		r.frames = &frames;
		for (size_t i = 0; i < shown; i++)
			take_stack(&frames, t->view, rows->items[i].id);
		report_frames(&r);
	}
	emit_array(e, "rows");
	for (size_t i = 0; i < shown && !err; i++)
		err = row_in_full(&r, t, &rows->items[i], i + 1, o);
	emit_array_end(e);
	return err;
}

struct seep_error *top_report_emit(struct emit *e, const struct top *t, const struct top_facts *f,
                                   const struct top_report_options *o)
{
	_cleanup_top_rows_ struct top_rows rows = { 0 };
	struct seep_error *err = top_rows_make(t, o->by, &rows);
	size_t shown;

	if (err)
		return err;
	top_rows_sort(t, &rows, o->order, o->reverse);
	shown = o->top && o->top < rows.n ? o->top : rows.n;
	emit_object(e, NULL);
	if (emit_is_text(e))
		head_text(e, t, f, &rows.sum);
	else
		head_json(e, t, f, &rows.sum, o);
	if (!rows.n)
		emit_text(e, EMIT_PLAIN, 2,
		          t->view->filtered ? "No stack matches the filter." : "Nothing is in use.");
	else if (emit_is_text(e) && (o->combined || o->by != GROUP_SITE))
		table(e, t, &rows, shown, o);
	if (!emit_is_text(e) || (!o->combined && o->by == GROUP_SITE))
		err = rows_in_full(e, t, &rows, shown, o);
	emit_field(e, "rows_left_out", NULL, emit_count(rows.n - shown));
	if (emit_is_text(e) && shown < rows.n)
		emit_text(e, EMIT_DIM, 2, "… and %zu more (--top 0 shows all)", rows.n - shown);
	emit_object_end(e);
	emit_blank(e);
	return err;
}
