/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The result of a leak check in text and JSON, from the same calls: head, leak records, summary,
 * suppressions, completeness.  A record is what the reader came for: how much memory fixing it brings back
 * on one line, what the blocks are, then the stack with the innermost frame of the program's own
 * marked.  A stack that is too wide for the terminal is written over more lines rather than cut.
 */
#include "output/check_report.h"

#include <stdio.h>
#include <string.h>

#include "analysis/names.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/check_private.h"
#include "output/emit.h"
#include "output/units.h"

#define AFTER_CULPRIT 6u /* callers shown beyond the marked line, however deep it lies */

const char *const check_class_keys[REACH_NCLASSES] = { "reachable", "possible", "indirect",
	                                               "definite", "suppressed" };
const char *const check_class_words[REACH_NCLASSES] = { "still reachable", "possibly lost",
	                                                "indirectly lost", "definitely lost",
	                                                "suppressed" };
const char *const check_content_keys[] = {
	[CONTENT_UNKNOWN] = "unknown",
	[CONTENT_VTABLE] = "vtable",
	[CONTENT_TEXT] = "text",
	[CONTENT_ZERO] = "zero",
};

const char *check_moment_key(enum check_moment m)
{
	static const char *const keys[] = {
		[CHECK_LIVE] = "live",   [CHECK_CLONE] = "clone", [CHECK_CORE] = "core",
		[CHECK_EXIT] = "exit",   [CHECK_END] = "end",     [CHECK_REQUESTED] = "requested",
		[CHECK_LOCAL] = "local",
	};

	return (size_t)m < ARRAY_SIZE(keys) ? keys[m] : "live";
}

const char *check_command(const struct check *c)
{
	return c->command && *c->command ? c->command : c->exe && *c->exe ? c->exe : "(unnamed)";
}

bool check_record_shown(const struct leak_record *r, unsigned int classes)
{
	return classes & 1u << r->class;
}

bool check_record_fails(const struct leak_record *r, unsigned int fail_on)
{
	return !r->known && fail_on & 1u << r->class;
}

struct check_failures check_failures(const struct check *c, unsigned int fail_on)
{
	struct check_failures f = { 0 };

	for (size_t i = 0; i < c->leaks.n; i++) {
		const struct leak_record *r = &c->leaks.records[i];

		if (!check_record_fails(r, fail_on))
			continue;
		f.records++;
		f.blocks += r->blocks;
		f.bytes += r->bytes;
	}
	return f;
}

/* ---- stacks --------------------------------------------------------------------------- */

struct seep_error *check_stacks_init(struct check_stacks *s, const struct check *c,
                                     const struct check_report_options *o, struct emit *e)
{
	struct view_options vo = { .kinds = PROF_ALL_KINDS };
	struct seep_error *err;

	*s = (struct check_stacks){ .c = c };
	s->options.cwd = o->cwd;
	s->options.full_paths = o->full_paths;
	s->options.depth = o->depth;
	s->report = (struct report){ .e = e, .p = c->profile, .o = &s->options };
	if (!c->profile)
		return NULL;
	err = view_new(c->profile, &vo, &s->view);
	if (!err)
		s->report.v = s->view;
	return err;
}

void check_stacks_release(struct check_stacks *s)
{
	view_free(s->view);
	s->view = NULL;
}

uint32_t check_leaf(const struct check_stacks *s, const struct leak_record *r)
{
	uint32_t node = 0;

	if (s->view && r->site && r->site < s->c->profile->nsites)
		node = s->view->site_node[r->site];
	return node == VIEW_DROPPED ? 0 : node;
}

uint32_t check_culprit(const struct check_stacks *s, uint32_t leaf)
{
	uint32_t culprit = leaf ? view_culprit(s->view, leaf) : 0;

	return culprit ? culprit : leaf;
}

size_t check_depth(const struct check_stacks *s, uint32_t leaf)
{
	size_t all = 0, own = 0;

	for (uint32_t n = leaf; n; n = s->view->nodes[n].parent) {
		const struct view_location *l = &s->view->locations[s->view->nodes[n].location];

		all++;
		/* the outermost frame of a stripped program is its nameless _start */
		if (!(l->flags & VIEW_RUNTIME) && (l->function || s->view->nodes[n].parent))
			own = all;
	}
	return own ? own : all;
}

const char *check_no_stack(const struct check *c, const struct leak_record *r)
{
	if (!c->profile)
		return "no stack: run it under seep run, or attach";
	if (r->before)
		return "before the tracker was there: no stack";
	if (c->profile->sampled)
		return "no stack: not among the blocks that were sampled";
	return "no stack: the tracker found no room or no way to record it";
}

/* How many of `all` frames text shows: `depth` of them, but always the marked one and some callers. */
static size_t frames_shown(const struct check_stacks *s, uint32_t leaf, uint32_t culprit, size_t all)
{
	size_t want = s->options.depth, at = 1;

	for (uint32_t n = leaf; n && n != culprit; n = s->view->nodes[n].parent)
		at++;
	if (!want)
		return all;
	if (want < at + AFTER_CULPRIT)
		want = at + AFTER_CULPRIT;
	/* "1 more caller" takes the line the caller itself would take */
	return want + 1 < all ? want : all;
}

static unsigned int frame_style(const struct check_stacks *s, uint32_t node, uint32_t culprit)
{
	if (node == culprit)
		return EMIT_MARK;
	return s->view->locations[s->view->nodes[node].location].flags & VIEW_RUNTIME ? EMIT_DIM
	                                                                              : EMIT_PLAIN;
}

static const struct emit_column frame_columns[] = {
	{ NULL, "", 0, 0 },
	{ NULL, "", 0, 0 },
	{ NULL, "", 0, 0 },
};

/* Do all frames fit beside each other: indent, mark, function, place, and blanks between? */
static bool stack_fits(const struct check_stacks *s, uint32_t leaf, size_t n)
{
	size_t function = 0, where = 0;
	struct location_text text;

	for (uint32_t node = leaf; n--; node = s->view->nodes[node].parent) {
		size_t f, w;

		report_location(&s->report, s->view->nodes[node].location, &text);
		f = text_columns(text.function);
		w = text_columns(text.where);
		function = f > function ? f : function;
		where = w > where ? w : where;
	}
	return 4 + 1 + 2 + function + 2 + where <= emit_width(s->report.e);
}

static void stack_text(const struct check_stacks *s, uint32_t leaf)
{
	uint32_t culprit = view_culprit(s->view, leaf), node = leaf;
	size_t all = check_depth(s, leaf), shown = frames_shown(s, leaf, culprit, all);
	bool fits = stack_fits(s, leaf, shown);
	struct emit *e = s->report.e;
	struct location_text text;

	if (fits)
		emit_table(e, NULL, 4, frame_columns, ARRAY_SIZE(frame_columns));
	for (size_t i = 0; i < shown; i++, node = s->view->nodes[node].parent) {
		unsigned int style = frame_style(s, node, culprit);

		report_location(&s->report, s->view->nodes[node].location, &text);
		if (fits) {
			emit_row(e, 0, style,
			         (struct emit_value[]){ emit_string(node == culprit ? "▶" : ""),
			                                emit_string(text.function),
			                                emit_string(text.where) });
			continue;
		}
		emit_text(e, style, 4, "%s%s", node == culprit ? "▶  " : "   ", text.function);
		emit_text(e, style, 11, "%s", text.where);
	}
	if (fits)
		emit_table_end(e);
	if (shown < all)
		emit_text(e, EMIT_DIM, 7, "… %zu more callers (--depth 0 shows all)", all - shown);
}

/* ---- records ------------------------------------------------------------------------------ */

static void amount(struct buf *b, uint64_t bytes, uint64_t blocks)
{
	unit_bytes(b, bytes);
	buf_puts(b, " in ");
	unit_count(b, blocks);
	buf_puts(b, blocks == 1 ? " block" : " blocks");
}

void check_record_sentence(struct buf *b, const struct leak_record *r)
{
	amount(b, r->bytes, r->blocks);
	buf_printf(b, " %s", check_class_words[r->class]);
	if (r->indirect_blocks) {
		buf_puts(b, ", and ");
		amount(b, r->indirect_bytes, r->indirect_blocks);
		buf_puts(b, r->blocks == 1 ? " it holds" : " they hold");
	}
	if (r->cycles == 1)
		buf_puts(b, " (a cycle)");
	else if (r->cycles)
		buf_printf(b, " (%llu cycles)", (unsigned long long)r->cycles);
}

void check_record_what(struct buf *b, const struct leak_record *r)
{
	switch (r->content) {
	case CONTENT_VTABLE:
		buf_printf(b, "%s %s", r->blocks == 1 ? "an object of" : "objects of",
		           r->what ? r->what : "?");
		break;
	case CONTENT_TEXT:
		buf_printf(b, "text%s \"%s\"", r->blocks == 1 ? "" : ", the first of them",
		           r->what ? r->what : "");
		break;
	case CONTENT_ZERO:
		buf_puts(b, "all zero");
		break;
	case CONTENT_UNKNOWN:
		break;
	}
	if (r->blocks < 2)
		return;
	if (b->len)
		buf_puts(b, "; ");
	unit_bytes(b, r->min_size);
	if (r->min_size == r->max_size) {
		buf_puts(b, " each");
	} else {
		buf_puts(b, " to ");
		unit_bytes(b, r->max_size);
		buf_puts(b, " each");
	}
}

static void record_text(const struct check_stacks *s, const struct leak_record *r, size_t rank,
                        size_t n)
{
	_cleanup_buf_ struct buf sentence = { 0 }, what = { 0 }, mark = { 0 };
	uint32_t leaf = check_leaf(s, r);
	struct emit *e = s->report.e;

	check_record_sentence(&sentence, r);
	emit_line(e, EMIT_BOLD, "% of %: %",
	          (struct emit_part[]){
			  { NULL, emit_count(rank), false },
			  { NULL, emit_count(n), false },
			  { NULL, emit_string(sentence.data ? sentence.data : ""), false },
		  },
	          3);
	check_record_what(&what, r);
	if (what.len)
		emit_text(e, EMIT_PLAIN, 4, "%s", what.data);
	if (r->class == REACH_SUPPRESSED && r->rule)
		emit_text(e, EMIT_PLAIN, 4, "suppressed by %s", r->rule);
	if (leaf)
		stack_text(s, leaf);
	else
		emit_text(e, EMIT_DIM, 4, "%s", check_no_stack(s->c, r));
	buf_printf(&mark, "fingerprint %s", r->fingerprint);
	if (r->naddresses)
		buf_printf(&mark, ", %s 0x%llx", r->blocks == 1 ? "at" : "the first at",
		           (unsigned long long)r->addresses[0]);
	if (r->known)
		buf_puts(&mark, "; known from the baseline");
	if (r->persisted > 1)
		buf_printf(&mark, "; lost in %llu checks in a row",
		           (unsigned long long)r->persisted);
	emit_text(e, EMIT_DIM, 4, "%s", mark.data ? mark.data : "");
	emit_blank(e);
}

static void record_json(const struct check_stacks *s, const struct leak_record *r)
{
	uint32_t leaf = check_leaf(s, r), culprit = leaf ? view_culprit(s->view, leaf) : 0;
	int64_t depth = 0, look_here = -1;
	struct emit *e = s->report.e;

	emit_object(e, NULL);
	emit_field(e, "class", NULL, emit_string(check_class_keys[r->class]));
	emit_field(e, "blocks", NULL, emit_count(r->blocks));
	emit_field(e, "bytes", NULL, emit_bytes(r->bytes));
	emit_object(e, "indirect");
	emit_field(e, "blocks", NULL, emit_count(r->indirect_blocks));
	emit_field(e, "bytes", NULL, emit_bytes(r->indirect_bytes));
	emit_object_end(e);
	emit_field(e, "cycles", NULL, emit_count(r->cycles));
	emit_field(e, "min_size", NULL, emit_bytes(r->min_size));
	emit_field(e, "max_size", NULL, emit_bytes(r->max_size));
	emit_list(e, "stack");
	for (uint32_t n = leaf; n; n = s->view->nodes[n].parent, depth++) {
		emit_item(e, report_frame(&s->report, s->view->nodes[n].location));
		if (n == culprit)
			look_here = depth;
	}
	emit_list_end(e);
	emit_field(e, "look_here", NULL, look_here < 0 ? emit_none() : emit_number(look_here));
	emit_field(e, "before_tracking", NULL, emit_bool(r->before));
	emit_field(e, "content", NULL, emit_string(check_content_keys[r->content]));
	emit_field(e, "what", NULL, emit_string(r->what));
	emit_list(e, "addresses");
	for (uint32_t i = 0; i < r->naddresses && i < LEAK_ADDRESSES; i++)
		emit_item(e, emit_address(r->addresses[i]));
	emit_list_end(e);
	emit_field(e, "fingerprint", NULL, emit_string(r->fingerprint));
	emit_field(e, "suppression", NULL,
	           emit_string(r->class == REACH_SUPPRESSED ? r->rule : NULL));
	emit_field(e, "known", NULL, emit_bool(r->known));
	emit_field(e, "persisted", NULL, emit_count(r->persisted));
	emit_object_end(e);
}

static struct seep_error *records_json(struct check_stacks *s, const struct check_report_options *o)
{
	_cleanup_frames_ struct frame_table frames = { 0 };
	const struct leaks *l = &s->c->leaks;
	struct emit *e = s->report.e;
	struct seep_error *err;

	if (s->view) {
		err = frames_init(&frames, s->view);
		if (err)
			return err;
		s->report.frames = &frames;
		for (size_t i = 0; i < l->n; i++)
			for (uint32_t n = check_record_shown(&l->records[i], o->show_kinds)
			                          ? check_leaf(s, &l->records[i])
			                          : 0;
			     n; n = s->view->nodes[n].parent)
				frames_take(&frames, s->view->nodes[n].location);
		report_frames(&s->report);
	} else {
		emit_array(e, "frames");
		emit_array_end(e);
	}
	emit_array(e, "records");
	for (size_t i = 0; i < l->n; i++)
		if (check_record_shown(&l->records[i], o->show_kinds))
			record_json(s, &l->records[i]);
	emit_array_end(e);
	s->report.frames = NULL;
	return NULL;
}

static void records_text(const struct check_stacks *s, const struct check_report_options *o)
{
	const struct leaks *l = &s->c->leaks;
	struct reach_total rest = { 0 };
	struct emit *e = s->report.e;
	size_t n = 0, rank = 0;

	for (size_t i = 0; i < l->n; i++)
		n += check_record_shown(&l->records[i], o->show_kinds);
	if (o->summary_only || !n)
		return;
	emit_heading(e, "Leak records");
	emit_blank(e);
	for (size_t i = 0; i < l->n; i++) {
		const struct leak_record *r = &l->records[i];

		if (!check_record_shown(r, o->show_kinds))
			continue;
		if (!o->top || rank < o->top) {
			record_text(s, r, ++rank, n);
			continue;
		}
		rest.blocks += r->blocks;
		rest.bytes += r->bytes;
	}
	if (rank < n) {
		char text[80];

		snprintf(text, sizeof(text),
		         "  … %% more record%s: %% in %% block%s (--top 0 shows all)",
		         n - rank == 1 ? "" : "s", rest.blocks == 1 ? "" : "s");
		emit_line(e, EMIT_DIM, text,
		          (struct emit_part[]){
				  { NULL, emit_count(n - rank), false },
				  { NULL, emit_bytes(rest.bytes), false },
				  { NULL, emit_count(rest.blocks), false },
			  },
		          3);
	}
}

struct seep_error *check_report_emit(struct emit *e, const struct check *c,
                                     const struct check_report_options *o)
{
	_cleanup_check_stacks_ struct check_stacks s = { 0 };
	struct seep_error *err = check_stacks_init(&s, c, o, e);

	if (err)
		return err;
	emit_object(e, NULL);
	check_head(e, c);
	if (emit_is_text(e)) {
		records_text(&s, o);
		check_summary(e, c, o);
	} else {
		check_summary(e, c, o);
		err = records_json(&s, o);
	}
	check_rules(e, c, o);
	check_completeness(e, c);
	emit_object_end(e);
	return err;
}
