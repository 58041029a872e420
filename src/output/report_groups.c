/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sites with their stacks, tables of functions, modules, threads and kinds, and
 * call trees.  A site is what the reader came for: its numbers on one line, then
 * the stack, leaf first, with the innermost frame of the program's own marked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/names.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "output/report_private.h"
#include "output/units.h"

#define AFTER_CULPRIT 6u /* callers shown beyond the marked line, however deep it lies */

const struct kind_name kind_names[PROF_NKINDS] = {
	[PROF_HEAP] = { "heap", "heap" },
	[PROF_MMAP] = { "mmap", "mmap" },
	[PROF_STACK] = { "stack", "thread stack" },
};

/* ---- sites ------------------------------------------------------------------ */

static const struct emit_column frame_columns[] = {
	{ NULL, "", 0, 0 },
	{ NULL, "", EMIT_SHRINK, 0 },
	{ NULL, "", EMIT_SHRINK_PATH, 0 },
};

static void frame_row(const struct report *r, uint32_t node, bool culprit)
{
	uint32_t location = r->v->nodes[node].location;
	const struct view_location *l = &r->v->locations[location];
	struct location_text text;

	report_location(r, location, &text);
	emit_row(r->e, 0,
	         culprit                   ? EMIT_MARK
	         : l->flags & VIEW_RUNTIME ? EMIT_DIM
	                                   : EMIT_PLAIN,
	         (struct emit_value[]){ emit_string(culprit ? "▶" : ""), emit_string(text.function),
	                                emit_string(text.where) });
}

/*
 * How many frames of the stack text shows: `depth` of them, but always the marked one and
 * some callers; never the start-up code outside of main.
 */
static size_t frames_shown(const struct report *r, uint32_t leaf, uint32_t culprit, size_t *ret_all)
{
	size_t all = 0, own = 0, at = 0, want = r->o->depth;

	for (uint32_t n = leaf; n; n = r->v->nodes[n].parent) {
		const struct view_location *l = &r->v->locations[r->v->nodes[n].location];

		all++;
		if (n == culprit)
			own = at = all;
		/* the outermost frame of a stripped program is its nameless _start */
		if (!(l->flags & VIEW_RUNTIME) && (l->function || r->v->nodes[n].parent))
			own = all;
	}
	*ret_all = own ? own : all;
	if (!want)
		return *ret_all;
	if (want < at + AFTER_CULPRIT)
		want = at + AFTER_CULPRIT;
	/* "1 more caller" takes the line the caller itself would take */
	return want + 1 < *ret_all ? want : *ret_all;
}

/* JSON: all of the stack, and which of its frames is the one to look at. */
static void stack_numbers(const struct report *r, uint32_t leaf, uint32_t culprit)
{
	int64_t depth = 0, look_here = -1;

	emit_list(r->e, "stack");
	for (uint32_t n = leaf; n; n = r->v->nodes[n].parent, depth++) {
		emit_item(r->e, report_frame(r, r->v->nodes[n].location));
		if (n == culprit)
			look_here = depth;
	}
	emit_list_end(r->e);
	emit_field(r->e, "look_here", NULL, look_here < 0 ? emit_none() : emit_number(look_here));
}

void report_stack(const struct report *r, uint32_t leaf)
{
	uint32_t culprit = view_culprit(r->v, leaf), node = leaf;
	size_t all, shown;

	if (!emit_is_text(r->e)) {
		stack_numbers(r, leaf, culprit);
		return;
	}
	emit_table(r->e, NULL, 4, frame_columns, ARRAY_SIZE(frame_columns));
	shown = frames_shown(r, leaf, culprit, &all);
	for (size_t i = 0; i < shown && node; i++, node = r->v->nodes[node].parent)
		frame_row(r, node, node == culprit);
	emit_table_end(r->e);
	if (!leaf)
		emit_text(r->e, EMIT_WARN, 4,
		          "stack unknown: the tracker found no room or no way to record it");
	else if (shown < all)
		emit_text(r->e, EMIT_DIM, 7, "… %zu more callers (--depth 0 shows all)",
		          all - shown);
}

static void site(const struct report *r, size_t rank, const struct group *g,
                 const struct group_sum *all)
{
	const struct measure m = r->o->measure;
	const struct group_sum *s = &g->self;
	const struct prof_value *v = &s->value[m.value];
	uint64_t age = s->oldest < r->p->duration_ns ? r->p->duration_ns - s->oldest : 0;
	bool aged = s->oldest != UINT64_MAX && m.value == MEASURE_INUSE;
	struct buf format = { 0 };
	struct emit_part parts[] = {
		{ "rank", emit_number((int64_t)rank), false },
		{ m.blocks ? "blocks" : "bytes", report_value(r->p, s, m.value, m.blocks), false },
		{ "share",
		  emit_ratio(report_share(measure_of(v, m.blocks),
		                          measure_of(&all->value[m.value], m.blocks))),
		  false },
		{ m.blocks ? "bytes" : "blocks", report_value(r->p, s, m.value, !m.blocks), false },
		{ "average_bytes", emit_bytes(v->blocks ? v->bytes / v->blocks : 0), v->blocks < 2 },
		{ "oldest_age_ns", aged ? emit_duration(age) : emit_none(), !aged },
		{ NULL, emit_count(s->value[MEASURE_ALLOC].blocks), false },
		{ NULL, emit_count(s->value[MEASURE_FREED].blocks), false },
		{ NULL, emit_string(kind_names[g->kind].words), g->kind == PROF_HEAP },
		{ "kind", emit_string(kind_names[g->kind].key), true },
		{ "samples", emit_count(s->samples), true },
		{ "sites", emit_count(s->sites), true },
		{ "stack_cut", emit_bool(g->cut), true },
	};

	buf_puts(&format, "%.  %  (%)  ");
	buf_puts(&format, m.blocks ? "%" : v->blocks == 1 ? "% block" : "% blocks");
	if (v->blocks >= 2)
		buf_puts(&format, m.blocks ? " in blocks of %" : " of %");
	if (aged)
		buf_puts(&format, ", oldest %");
	buf_puts(&format, "; % allocated, % freed");
	if (g->kind != PROF_HEAP)
		buf_puts(&format, "; %");
	emit_object(r->e, NULL);
	emit_line(r->e, EMIT_BOLD, format.data, parts, ARRAY_SIZE(parts));
	for (enum measure_value k = 0; k < MEASURE_NVALUES && !emit_is_text(r->e); k++) {
		emit_object(r->e, value_names[k].key);
		emit_field(r->e, "bytes", NULL, report_value(r->p, s, k, false));
		emit_field(r->e, "blocks", NULL, report_value(r->p, s, k, true));
		emit_object_end(r->e);
	}
	report_stack(r, g->id);
	emit_object_end(r->e);
	emit_blank(r->e);
	buf_release(&format);
}

/* ---- tables ------------------------------------------------------------------ */

static const struct emit_column code_columns[] = {
	{ "total", "total", 0, 0 },
	{ "total_share", "%", 0, 0 },
	{ "self", "self", 0, 0 },
	{ "self_share", "%", 0, 0 },
	{ "total_blocks", "blocks", 0, 0 },
	{ "sites", NULL, 0, 0 },
	{ "name", "function", EMIT_SHRINK, 0 },
	{ "module", "module", EMIT_SHRINK_PATH, 0 },
};
static const struct emit_column module_columns[] = {
	{ "total", "total", 0, 0 },
	{ "total_share", "%", 0, 0 },
	{ "self", "self", 0, 0 },
	{ "self_share", "%", 0, 0 },
	{ "total_blocks", "blocks", 0, 0 },
	{ "sites", NULL, 0, 0 },
	{ "name", "module", EMIT_SHRINK_PATH, 0 },
};
static const struct emit_column thread_columns[] = {
	{ "in_use", "in use", 0, 0 },         { "share", "%", 0, 0 },  { "blocks", "blocks", 0, 0 },
	{ "average_bytes", "average", 0, 0 }, { "sites", NULL, 0, 0 }, { "tid", "tid", 0, 0 },
	{ "name", "thread", EMIT_SHRINK, 0 }, { "ended", NULL, 0, 0 }, { NULL, "", 0, 0 },
};
static const struct emit_column kind_columns[] = {
	{ "value", "", 0, 0 },        { "share", "%", 0, 0 },
	{ "blocks", "blocks", 0, 0 }, { "average_bytes", "average", 0, 0 },
	{ "sites", NULL, 0, 0 },      { "kind", NULL, 0, 0 },
	{ NULL, "kind", 0, 0 },       { NULL, "", 0, 0 },
};

static const struct {
	const char *key, *word; /* the word takes an s in the plural */
	const struct emit_column *columns;
	size_t ncolumns;
} tables[] = {
	[GROUP_SITE] = { "sites", "site", NULL, 0 },
	[GROUP_FUNCTION] = { "functions", "function", code_columns, ARRAY_SIZE(code_columns) },
	[GROUP_MODULE] = { "modules", "module", module_columns, ARRAY_SIZE(module_columns) },
	[GROUP_THREAD] = { "threads", "thread", thread_columns, ARRAY_SIZE(thread_columns) },
	[GROUP_KIND] = { "kinds", "kind", kind_columns, ARRAY_SIZE(kind_columns) },
};

static const char *shown_path(const struct report *r, const char *path)
{
	return r->o->full_paths || !emit_is_text(r->e) ? path : path_base(path);
}

static void code_row(const struct report *r, const struct group *g, uint64_t all)
{
	const char *name = group_name(r->v, r->o->by, g);
	struct emit_value values[ARRAY_SIZE(code_columns)] = {
		report_measure(r, &g->total),
		emit_ratio(report_share(group_measure(&g->total, r->o->measure), all)),
		report_measure(r, &g->self),
		emit_ratio(report_share(group_measure(&g->self, r->o->measure), all)),
		report_value(r->p, &g->total, r->o->measure.value, true),
		emit_count(g->total.sites),
	};
	uint32_t module = PROF_NO_MODULE;

	if (r->o->by == GROUP_MODULE) {
		values[6] = emit_string(name ? shown_path(r, name) : "(no module)");
		emit_row(r->e, 0, EMIT_PLAIN, values);
		return;
	}
	if (g->id < r->v->nfunctions)
		module = r->v->functions[g->id].module;
	values[6] = emit_string(name                       ? name
	                        : g->id < r->v->nfunctions ? "(functions without a name)"
	                                                   : "(stack unknown)");
	values[7] = emit_string(
		module == PROF_NO_MODULE ? NULL : shown_path(r, r->p->modules[module].path));
	emit_row(r->e, 0,
	         g->id < r->v->nfunctions && r->v->functions[g->id].runtime ? EMIT_DIM : EMIT_PLAIN,
	         values);
}

static void thread_row(const struct report *r, const struct group *g, uint64_t all)
{
	const struct prof_thread *t = &r->p->threads[g->id];
	const struct prof_value *v = &g->self.value[MEASURE_INUSE];

	emit_row(r->e, 0, EMIT_PLAIN,
	         (struct emit_value[]){
			 report_measure(r, &g->self),
			 emit_ratio(report_share(group_measure(&g->self, r->o->measure), all)),
			 report_value(r->p, &g->self, MEASURE_INUSE, true),
			 emit_bytes(v->blocks ? v->bytes / v->blocks : 0),
			 emit_count(g->self.sites), t->tid ? emit_number(t->tid) : emit_none(),
			 emit_string(t->name && *t->name ? t->name
	                             : g->id             ? ""
	                                                 : "(unknown)"),
			 emit_bool(t->died), emit_string(t->died ? "ended" : "") });
}

static void kind_row(const struct report *r, const struct group *g, uint64_t all)
{
	const struct prof_value *v = &g->self.value[r->o->measure.value];
	bool apart = g->kind == PROF_STACK && r->v->kinds & PROF_MEMORY; /* not in the sum */

	emit_row(r->e, 0, EMIT_PLAIN,
	         (struct emit_value[]){
			 report_measure(r, &g->self),
			 apart ? emit_none()
			       : emit_ratio(
					 report_share(group_measure(&g->self, r->o->measure), all)),
			 report_value(r->p, &g->self, r->o->measure.value, true),
			 emit_bytes(v->blocks ? v->bytes / v->blocks : 0),
			 emit_count(g->self.sites), emit_string(kind_names[g->kind].key),
			 emit_string(kind_names[g->kind].words),
			 emit_string(apart ? "reserved, not in the sum" : "") });
}

/* ---- groups ------------------------------------------------------------------- */

static const char *const value_titles[MEASURE_NVALUES] = {
	[MEASURE_INUSE] = "In use",
	[MEASURE_ALLOC] = "Allocated",
	[MEASURE_FREED] = "Freed",
	[MEASURE_PEAK] = "In use at the peak",
};

static const char *measure_words(const struct measure *m)
{
	return m->blocks ? "blocks" : "bytes";
}

static bool is_shown(const struct report *r, const struct group *g)
{
	uint64_t value = group_measure(&g->total, r->o->measure);

	return value && value >= r->min;
}

/* How many are shown; *ret_rest, *ret_left: the value and number of those that have a value but are not. */
static size_t groups_shown(const struct report *r, const struct groups *g, uint64_t *ret_rest,
                           size_t *ret_left)
{
	size_t shown = 0;

	*ret_rest = *ret_left = 0;
	for (size_t i = 0; i < g->n; i++) {
		uint64_t value = group_measure(&g->items[i].total, r->o->measure);

		if (is_shown(r, &g->items[i]) && (!r->o->top || shown < r->o->top)) {
			shown++;
			continue;
		}
		*ret_rest += value;
		*ret_left += value != 0;
	}
	return shown;
}

static void groups_rest(const struct report *r, size_t left, uint64_t rest, uint64_t all)
{
	bool sums = r->o->by != GROUP_FUNCTION &&
	            r->o->by != GROUP_MODULE; /* totals of functions overlap */
	struct emit_part parts[] = {
		{ "count", emit_count(left), false },
		{ "value",
		  sums ? (r->o->measure.blocks ? emit_count(rest) : emit_bytes(rest)) : emit_none(),
		  !sums },
		{ "share", sums ? emit_ratio(report_share(rest, all)) : emit_none(), !sums },
	};
	struct buf format = { 0 };

	buf_printf(&format, "  … %% more %s%s%s", tables[r->o->by].word, left == 1 ? "" : "s",
	           sums ? ": % (%)" : "");
	emit_object(r->e, "rest");
	emit_line(r->e, EMIT_DIM, left ? format.data : NULL, parts, ARRAY_SIZE(parts));
	emit_object_end(r->e);
	buf_release(&format);
}

/* Which kinds, where it is not the usual ones. */
static void kinds_words(const struct report *r, struct buf *b)
{
	const char *before = ", only ";

	if (r->v->kinds == PROF_MEMORY || r->o->by == GROUP_KIND)
		return;
	if (r->v->kinds == PROF_ALL_KINDS) {
		buf_puts(b, ", of all kinds");
		return;
	}
	for (uint8_t k = 0; k < PROF_NKINDS; k++) {
		if (!(r->v->kinds & PROF_KIND_BIT(k)))
			continue;
		buf_printf(b, "%s%s", before, kind_names[k].words);
		before = " and ";
	}
}

/* n: how many groups have a value at all */
static void groups_heading(const struct report *r, const struct groups *g, size_t n)
{
	struct buf all = { 0 }, whole = { 0 }, count = { 0 }, kinds = { 0 };
	struct emit_value sum = report_measure(r, &g->sum);
	const struct measure m = r->o->measure;

	emit_value_text(&all, &sum);
	if (r->v->filtered) {
		struct prof_totals t = profile_totals_of(r->p, r->v->kinds);
		const struct prof_value *values[] = { &t.inuse, &t.alloc, &t.freed, &t.peak };
		struct emit_value v = m.blocks ? emit_count(values[m.value]->blocks)
		                               : emit_bytes(values[m.value]->bytes);

		buf_puts(&whole, " of ");
		emit_value_text(&whole, &v);
		buf_puts(&whole, " match the filter");
	}
	unit_count(&count, n);
	kinds_words(r, &kinds);
	emit_heading(r->e, "%s by %s%s: %s%s%s, %s %s%s", value_titles[m.value],
	             tables[r->o->by].word, kinds.data ? kinds.data : "", all.data ? all.data : "",
	             m.blocks ? " blocks" : "", whole.data ? whole.data : "",
	             count.data ? count.data : "", tables[r->o->by].word, n == 1 ? "" : "s");
	buf_release(&all);
	buf_release(&whole);
	buf_release(&count);
	buf_release(&kinds);
}

static void view_object(const struct report *r)
{
	emit_object(r->e, "view");
	emit_field(r->e, "value", NULL, emit_string(value_names[r->o->measure.value].key));
	emit_field(r->e, "unit", NULL, emit_string(measure_words(&r->o->measure)));
	emit_list(r->e, "kinds");
	for (uint8_t k = 0; k < PROF_NKINDS; k++)
		if (r->v->kinds & PROF_KIND_BIT(k))
			emit_item(r->e, emit_string(kind_names[k].key));
	emit_list_end(r->e);
	emit_field(r->e, "filtered", NULL, emit_bool(r->v->filtered));
	emit_field(r->e, "sites_left_out", NULL, emit_count(r->v->dropped));
	emit_object_end(r->e);
}

static void take_stacks(const struct report *r, const struct groups *g, size_t shown)
{
	size_t rank = 0;

	for (size_t i = 0; i < g->n && rank < shown; i++) {
		if (!is_shown(r, &g->items[i]))
			continue;
		rank++;
		for (uint32_t n = g->items[i].id; n; n = r->v->nodes[n].parent)
			frames_take(r->frames, r->v->nodes[n].location);
	}
}

struct seep_error *report_groups(struct report *r, const struct groups *g)
{
	_cleanup_frames_ struct frame_table frames = { 0 };
	uint64_t all = group_measure(&g->sum, r->o->measure), rest;
	size_t left, shown = groups_shown(r, g, &rest, &left), rank = 0;
	bool sites = r->o->by == GROUP_SITE;

	view_object(r);
	if (sites && !emit_is_text(r->e)) {
		struct seep_error *err = frames_init(&frames, r->v);

		if (err)
			return err;
		r->frames = &frames;
		take_stacks(r, g, shown);
		report_frames(r);
	}
	groups_heading(r, g, shown + left);
	emit_blank(r->e);
	if (!shown && g->n == 0)
		emit_text(r->e, EMIT_PLAIN, 2,
		          r->v->filtered ? "No stack matches the filter." : "Nothing was recorded.");
	else if (!shown)
		emit_text(r->e, EMIT_PLAIN, 2, "Nothing %s%s.",
		          value_names[r->o->measure.value].words,
		          r->min ? " above the minimum" : "");
	if (sites)
		emit_array(r->e, tables[r->o->by].key);
	else
		emit_table(r->e, tables[r->o->by].key, 2, tables[r->o->by].columns,
		           tables[r->o->by].ncolumns);
	for (size_t i = 0; i < g->n && rank < shown; i++) {
		if (!is_shown(r, &g->items[i]))
			continue;
		rank++;
		if (sites)
			site(r, rank, &g->items[i], &g->sum);
		else if (r->o->by == GROUP_THREAD)
			thread_row(r, &g->items[i], all);
		else if (r->o->by == GROUP_KIND)
			kind_row(r, &g->items[i], all);
		else
			code_row(r, &g->items[i], all);
	}
	if (sites)
		emit_array_end(r->e);
	else
		emit_table_end(r->e);
	groups_rest(r, left, rest, all);
	r->frames = NULL;
	return NULL;
}

/* ---- trees ---------------------------------------------------------------------- */

static const struct emit_column tree_columns[] = {
	{ "value", "", 0, 0 },
	{ "share", "%", 0, 0 },
	{ "self", "self", 0, 0 },
	{ "blocks", "blocks", 0, 0 },
	{ NULL, "function", EMIT_INDENT | EMIT_SHRINK, 0 },
	{ NULL, "where", EMIT_SHRINK_PATH, 0 },
	{ "frame", NULL, 0, 0 },
	{ "cut_children", NULL, 0, 0 },
	{ "cut_value", NULL, 0, 0 },
};

static struct emit_value tree_value(const struct report *r, const struct prof_value *v)
{
	return r->o->measure.blocks ? emit_count(v->blocks) : emit_bytes(v->bytes);
}

static void tree_row(const struct report *r, const struct tree_node *n, uint32_t depth, uint64_t all)
{
	const struct view_location *l = n->location == UINT32_MAX ? NULL
	                                                          : &r->v->locations[n->location];
	uint64_t self = measure_of(&n->self, r->o->measure.blocks);
	struct location_text text;

	report_location(r, n->location, &text);
	emit_row(r->e, depth,
	         l && l->flags & (VIEW_RUNTIME | VIEW_ALLOCATOR) ? EMIT_DIM : EMIT_PLAIN,
	         (struct emit_value[]){
			 tree_value(r, &n->value),
			 emit_ratio(report_share(measure_of(&n->value, r->o->measure.blocks), all)),
			 self || !emit_is_text(r->e) ? tree_value(r, &n->self) : emit_none(),
			 emit_count(n->value.blocks), emit_string(n->depth ? text.function : "(all)"),
			 emit_string(n->depth ? text.where : ""),
			 r->frames ? report_frame(r, n->location) : emit_none(),
			 emit_count(n->cut_children), emit_count(n->cut_value) });
}

/* In text the children that were cut are a row of their own, after those that were not. */
static void cut_row(const struct report *r, const struct tree_node *n, uint32_t depth, uint64_t all)
{
	struct emit_value values[ARRAY_SIZE(tree_columns)] = {
		r->o->measure.blocks ? emit_count(n->cut_value) : emit_bytes(n->cut_value),
		emit_ratio(report_share(n->cut_value, all)),
	};
	char text[64];

	snprintf(text, sizeof(text), "(%u smaller)", n->cut_children);
	values[4] = emit_string(text);
	emit_row(r->e, depth, EMIT_DIM, values);
}

/* What was cut from a node is worth a row in text where it reaches the minimum together. */
static bool cut_shown(const struct report *r, const struct tree_node *n)
{
	return emit_is_text(r->e) && n->cut_children && n->cut_value >= r->min;
}

/*
 * How far each node is indented in text: a step only where there is a choice.  Stacks are dozens of
 * frames deep, most of them with one callee; they stay in one column, below each other.
 */
static uint32_t *tree_indents(const struct report *r, const struct tree *t)
{
	uint32_t *indent = calloc(t->n + 1, sizeof(*indent));
	uint32_t *children = calloc(t->n + 1, sizeof(*children));
	size_t *path = calloc(t->n + 1, sizeof(*path)); /* by depth: the node last seen there */

	for (size_t i = 0; indent && children && path && i < t->n; i++) {
		children[i] = cut_shown(r, &t->nodes[i]);
		path[t->nodes[i].depth] = i;
		if (i)
			children[path[t->nodes[i].depth - 1]]++;
	}
	for (size_t i = 1; indent && children && path && i < t->n; i++) {
		size_t parent;

		path[t->nodes[i].depth] = i;
		parent = path[t->nodes[i].depth - 1];
		indent[i] = indent[parent] + (!parent || children[parent] > 1 ||
		                              t->nodes[parent].self.blocks ||
		                              t->nodes[parent].self.bytes);
	}
	free(children);
	free(path);
	return indent;
}

struct seep_error *report_tree(struct report *r, const struct tree *t)
{
	_cleanup_frames_ struct frame_table frames = { 0 };
	uint64_t all = measure_of(&t->nodes[0].value, r->o->measure.blocks);
	_cleanup_free_ size_t *open =
		calloc(t->n, sizeof(*open)); /* nodes whose subtree is not done */
	_cleanup_free_ uint32_t *indent = emit_is_text(r->e) ? tree_indents(r, t) : NULL;
	size_t nopen = 0;

	view_object(r);
	if (!emit_is_text(r->e)) {
		struct seep_error *err = frames_init(&frames, r->v);

		if (err)
			return err;
		r->frames = &frames;
		for (size_t i = 0; i < t->n && all; i++)
			frames_take(&frames, t->nodes[i].location);
		report_frames(r);
	}
	emit_heading(r->e, "%s: %s", value_titles[r->o->measure.value],
	             r->o->direction == TREE_ROOT_FIRST
	                     ? "who called what, from the outermost callers down"
	                     : "who allocated, each with its callers below it");
	emit_blank(r->e);
	if (!all)
		emit_text(r->e, EMIT_PLAIN, 2,
		          r->v->filtered ? "No stack matches the filter." : "Nothing to show.");
	emit_table(r->e, "tree", 2, tree_columns, ARRAY_SIZE(tree_columns));
	for (size_t i = 0; i <= t->n && all && open; i++) {
		while (nopen && (i == t->n || t->nodes[open[nopen - 1]].depth >= t->nodes[i].depth)) {
			size_t n = open[--nopen];

			cut_row(r, &t->nodes[n], indent ? indent[n] + 1 : t->nodes[n].depth + 1,
			        all);
		}
		if (i == t->n)
			break;
		tree_row(r, &t->nodes[i], indent ? indent[i] : t->nodes[i].depth, all);
		if (cut_shown(r, &t->nodes[i]))
			open[nopen++] = i;
	}
	emit_table_end(r->e);
	r->frames = NULL;
	return NULL;
}
