/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From stacks to a graph: every distinct stack is walked twice.  First from its leaf outwards, to sum up what each
 * function holds itself and with all it called; then the boxes are chosen, and the second walk adds its weight to every
 * arrow between two chosen boxes that follow each other.  A function or an arrow that occurs several times in one
 * stack (recursion) counts once, which stamps keep.
 */
#include "output/dot.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/names.h"
#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "base/large.h"
#include "output/picture.h"
#include "output/units.h"
#include "profile/profile.h"

#define REDUNDANT_MAX 400 /* boxes up to which arrows that say nothing new are looked for */

struct box {
	struct node_pair self, total;
	int64_t self_weight, weight;
	size_t stamp;
	uint32_t number; /* in the picture, from 1; 0: dropped */
};

struct arrow {
	uint32_t from, to; /* functions */
	uint32_t rank;     /* the caller's box */
	int64_t weight;
	size_t stamp;
	bool residual, inlined, dropped;
};

struct graph {
	struct picture pic;
	const struct view *v;
	const struct dot_options *o;
	struct box *boxes; /* by function of the view; the last is for stacks that are unknown */
	size_t nboxes;
	uint32_t *chosen; /* functions, heaviest first */
	size_t nchosen;
	struct arrow *arrows;
	size_t narrows, cap_arrows;
	struct idmap map;
	int64_t largest_self;
	size_t dropped_boxes, beyond_count, dropped_arrows;
	double min_box, min_arrow;
};

static double size_of(int64_t v)
{
	return fabs((double)v);
}

/* ---- boxes ------------------------------------------------------------------ */

static uint32_t function_of(const struct graph *g, uint32_t node)
{
	return g->v->locations[g->v->nodes[node].location].func;
}

static void sum_boxes(struct graph *g)
{
	uint32_t unknown = (uint32_t)g->nboxes - 1;

	for (size_t i = 0; i < g->pic.pairs.n; i++) {
		const struct node_pair *pair = &g->pic.pairs.items[i];

		if (picture_pair_empty(pair))
			continue;
		picture_pair_add(&g->boxes[i ? function_of(g, (uint32_t)i) : unknown].self, pair);
		if (!i)
			picture_pair_add(&g->boxes[unknown].total, pair);
		for (uint32_t n = (uint32_t)i; n; n = g->v->nodes[n].parent) {
			struct box *b = &g->boxes[function_of(g, n)];

			if (b->stamp == i + 1)
				continue;
			b->stamp = i + 1;
			picture_pair_add(&b->total, pair);
		}
	}
}

struct box_key {
	double total, self;
	uint32_t function;
};

static int by_weight(const void *a, const void *b)
{
	const struct box_key *x = a, *y = b;

	if (x->total != y->total)
		return x->total > y->total ? -1 : 1;
	if (x->self != y->self)
		return x->self > y->self ? -1 : 1;
	return x->function < y->function ? -1 : 1;
}

static int choose_boxes(struct graph *g)
{
	_cleanup_free_ struct box_key *keys = calloc(g->nboxes, sizeof(*keys));
	size_t n = 0;

	g->chosen = calloc(g->nboxes, sizeof(*g->chosen));
	if (!keys || !g->chosen)
		return -1;
	g->min_box = g->pic.total * g->o->nodefraction;
	g->min_arrow = g->pic.total * g->o->edgefraction;
	for (uint32_t i = 0; i < g->nboxes; i++) {
		struct box *b = &g->boxes[i];
		struct diff_change c;

		if (picture_pair_empty(&b->total))
			continue;
		c = picture_weight(&g->pic, &b->total);
		b->weight = c.value;
		b->self_weight = picture_value(&g->pic, &b->self);
		if (!b->weight && !b->self_weight)
			continue;
		if (size_of(b->weight) < g->min_box || (c.noise && !g->o->noise)) {
			g->dropped_boxes++;
			continue;
		}
		keys[n++] = (struct box_key){ size_of(b->weight), size_of(b->self_weight), i };
	}
	qsort(keys, n, sizeof(*keys), by_weight);
	for (size_t i = 0; i < n; i++) {
		struct box *b = &g->boxes[keys[i].function];

		if (g->o->nodecount && i >= g->o->nodecount) {
			g->beyond_count++;
			continue;
		}
		g->chosen[g->nchosen++] = keys[i].function;
		b->number = (uint32_t)g->nchosen;
		if (size_of(b->self_weight) > size_of(g->largest_self))
			g->largest_self = b->self_weight;
	}
	return 0;
}

/* ---- arrows ------------------------------------------------------------------ */

static struct arrow *get_arrow(struct graph *g, uint32_t from, uint32_t to)
{
	uint64_t hash = hash_mix(from, to);
	size_t pos = idmap_first(&g->map, hash);
	uint32_t id;

	while (idmap_get(&g->map, &pos, hash, &id))
		if (g->arrows[id].from == from && g->arrows[id].to == to)
			return &g->arrows[id];
	if (g->narrows == g->cap_arrows) {
		size_t cap = g->cap_arrows ? g->cap_arrows * 2 : 256;
		void *p = cap < UINT32_MAX ? reallocarray(g->arrows, cap, sizeof(*g->arrows)) : NULL;

		if (!p)
			return NULL;
		g->arrows = p;
		g->cap_arrows = cap;
	}
	if (idmap_add(&g->map, hash, (uint32_t)g->narrows) < 0)
		return NULL;
	g->arrows[g->narrows] = (struct arrow){ .from = from, .to = to, .inlined = true };
	return &g->arrows[g->narrows++];
}

static int add_arrows(struct graph *g, size_t leaf)
{
	int64_t weight = picture_value(&g->pic, &g->pic.pairs.items[leaf]);
	uint32_t callee = UINT32_MAX;
	bool residual = false, inlined = false;

	for (uint32_t n = (uint32_t)leaf; n; n = g->v->nodes[n].parent) {
		uint32_t f = function_of(g, n);
		struct arrow *a;

		if (!g->boxes[f].number) {
			residual = callee != UINT32_MAX;
			continue;
		}
		if (callee != UINT32_MAX) {
			a = get_arrow(g, f, callee);
			if (!a)
				return -1;
			if (a->stamp != leaf + 1) {
				a->stamp = leaf + 1;
				if (__builtin_add_overflow(a->weight, weight, &a->weight))
					a->weight = weight < 0 ? -INT64_MAX : INT64_MAX;
				a->residual |= residual;
				a->inlined &= inlined && !residual;
			}
		}
		callee = f;
		residual = false;
		inlined = g->v->locations[g->v->nodes[n].location].flags & VIEW_INLINED;
	}
	return 0;
}

static int by_caller_and_weight(const void *a, const void *b)
{
	const struct arrow *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	if (size_of(x->weight) != size_of(y->weight))
		return size_of(x->weight) > size_of(y->weight) ? -1 : 1;
	return x->to < y->to ? -1 : x->to > y->to;
}

static int make_arrows(struct graph *g)
{
	for (size_t i = 1; i < g->pic.pairs.n; i++)
		if (!picture_pair_empty(&g->pic.pairs.items[i]) && add_arrows(g, i) < 0)
			return -1;
	if (!g->narrows)
		return 0;
	/* callers in the order of their boxes; the index of the arrows is of no use from here on */
	for (size_t i = 0; i < g->narrows; i++)
		g->arrows[i].rank = g->boxes[g->arrows[i].from].number;
	qsort(g->arrows, g->narrows, sizeof(*g->arrows), by_caller_and_weight);
	for (size_t i = 0; i < g->narrows; i++) {
		struct arrow *a = &g->arrows[i];

		a->dropped = !a->weight || size_of(a->weight) < g->min_arrow;
		g->dropped_arrows += a->dropped;
	}
	return 0;
}

struct search {
	size_t *first; /* by box number: its first arrow; one more ends the last */
	uint32_t *queue;
	bool *seen;
};

/* Is there a way from a->from to a->to without a itself? */
static bool has_detour(const struct graph *g, const struct arrow *a, const struct search *s)
{
	size_t n = 0;

	memset(s->seen, 0, (g->nchosen + 1) * sizeof(*s->seen));
	s->queue[n++] = g->boxes[a->from].number;
	s->seen[s->queue[0]] = true;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = s->first[s->queue[i]]; k < s->first[s->queue[i] + 1]; k++) {
			const struct arrow *b = &g->arrows[k];
			uint32_t to = g->boxes[b->to].number;

			if (b == a || b->dropped)
				continue;
			if (b->to == a->to)
				return true;
			if (!s->seen[to])
				s->queue[n++] = to;
			s->seen[to] = true;
		}
	}
	return false;
}

static void drop_detours(struct graph *g, const struct search *s)
{
	for (size_t i = 0; i < g->narrows; i++)
		s->first[g->boxes[g->arrows[i].from].number + 1]++;
	for (size_t i = 0; i <= g->nchosen; i++)
		s->first[i + 1] += s->first[i];
	for (size_t i = 0; i < g->narrows; i++)
		if (!g->arrows[i].dropped && g->arrows[i].residual && has_detour(g, &g->arrows[i], s))
			g->arrows[i].dropped = true;
}

/* A dotted arrow beside a way that is drawn tells nothing; pictures of big programs are full of them. */
static int drop_redundant(struct graph *g)
{
	struct search s = {
		.first = calloc(g->nchosen + 3, sizeof(*s.first)),
		.queue = calloc(g->nchosen + 1, sizeof(*s.queue)),
		.seen = calloc(g->nchosen + 1, sizeof(*s.seen)),
	};
	int r = s.first && s.queue && s.seen ? 0 : -1;

	if (!r && g->nchosen <= REDUNDANT_MAX)
		drop_detours(g, &s);
	free(s.first);
	free(s.queue);
	free(s.seen);
	return r;
}

/* ---- text -------------------------------------------------------------------- */

/* Graphviz knows entities in every string. */
static bool is_entity(const char *s)
{
	size_t n = strspn(s + 1, "#abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");

	return n && s[n + 1] == ';';
}

/* Inside "": no control characters, no escapes, no entities of the target's making. */
static void put_escaped(struct buf *out, const char *s)
{
	_cleanup_buf_ struct buf clean = { 0 };

	text_clean(&clean, s);
	for (const char *p = clean.data ? clean.data : ""; *p; p++) {
		if (*p == '"' || *p == '\\')
			buf_putc(out, '\\');
		if (*p == '&' && is_entity(p))
			buf_puts(out, "&amp;");
		else
			buf_putc(out, *p);
	}
}

/* A box is narrow: names without arguments, one line for each namespace. */
static void put_name(struct buf *out, const char *function)
{
	char plain[512];
	const char *name = name_plain(function, plain, sizeof(plain)), *colons;

	if (!*name)
		name = function;
	while ((colons = strstr(name, "::")) && colons != name && colons[2]) {
		_cleanup_free_ char *part = strndup(name, (size_t)(colons - name));

		put_escaped(out, part ? part : "");
		buf_puts(out, "\\n");
		name = colons + 2;
	}
	put_escaped(out, name);
}

static const char *module_name(const struct graph *g, uint32_t function)
{
	uint32_t module = function < g->v->nfunctions ? g->v->functions[function].module
	                                              : PROF_NO_MODULE;

	return module == PROF_NO_MODULE ? "" : path_base(g->v->profile->modules[module].path);
}

static void put_box_name(const struct graph *g, uint32_t function, bool whole, struct buf *out)
{
	const char *name = function < g->v->nfunctions ? g->v->functions[function].name : NULL;

	if (name && whole)
		put_escaped(out, name);
	else if (name)
		put_name(out, name);
	else if (function >= g->v->nfunctions)
		buf_puts(out, "(stack unknown)");
	else
		buf_puts(out, "??");
	if (!name && *module_name(g, function)) {
		buf_puts(out, whole ? " in " : "\\nin ");
		put_escaped(out, module_name(g, function));
	}
}

static void put_share(const struct graph *g, int64_t v, struct buf *out)
{
	unit_ratio(out, g->pic.total > 0 ? size_of(v) / g->pic.total : 0);
}

static void put_color(const struct graph *g, int64_t v, bool background, struct buf *out)
{
	double score = g->pic.total > 0 ? (double)v / g->pic.total : 0;
	struct picture_rgb c = picture_color(score, background, g->o->colorblind);

	buf_printf(out, "\"#%02x%02x%02x\"", c.r, c.g, c.b);
}

static void put_box(const struct graph *g, uint32_t function, struct buf *out)
{
	const struct box *b = &g->boxes[function];
	double share = g->largest_self ? size_of(b->self_weight) / size_of(g->largest_self) : 0;

	buf_printf(out, "N%u [label=\"", b->number);
	put_box_name(g, function, false, out);
	buf_puts(out, "\\n");
	if (b->self_weight) {
		picture_amount(out, &g->pic, b->self_weight);
		buf_puts(out, " (");
		put_share(g, b->self_weight, out);
		buf_puts(out, ")");
	} else {
		buf_puts(out, "0");
	}
	if (b->weight != b->self_weight) {
		buf_puts(out, "\\nof ");
		picture_amount(out, &g->pic, b->weight);
		buf_puts(out, " (");
		put_share(g, b->weight, out);
		buf_puts(out, ")");
	}
	buf_printf(out, "\" id=\"node%u\" fontsize=%d shape=box tooltip=\"", b->number,
	           8 + (int)ceil(16 * sqrt(share)));
	put_box_name(g, function, true, out);
	buf_puts(out, " (");
	picture_amount(out, &g->pic, b->weight);
	buf_puts(out, ")\" color=");
	put_color(g, b->weight, false, out);
	buf_puts(out, " fillcolor=");
	put_color(g, b->weight, true, out);
	buf_puts(out, "]\n");
}

static void put_arrow(const struct graph *g, const struct arrow *a, struct buf *out)
{
	double share = g->pic.total > 0 ? fmin(size_of(a->weight) / g->pic.total, 1) : 0;

	buf_printf(out, "N%u -> N%u [label=\" ", g->boxes[a->from].number, g->boxes[a->to].number);
	picture_amount(out, &g->pic, a->weight);
	buf_puts(out, a->inlined ? "\\n (inline)\"" : "\"");
	buf_printf(out, " weight=%d penwidth=%d color=", 1 + (int)(share * 100),
	           1 + (int)(share * 5));
	put_color(g, a->weight, false, out);
	for (int i = 0; i < 2; i++) {
		buf_puts(out, i ? " labeltooltip=\"" : " tooltip=\"");
		put_box_name(g, a->from, true, out);
		buf_puts(out, a->residual ? " ... " : " -> ");
		put_box_name(g, a->to, true, out);
		buf_puts(out, " (");
		picture_amount(out, &g->pic, a->weight);
		buf_puts(out, ")\"");
	}
	buf_puts(out, a->residual ? " style=dotted]\n" : "]\n");
}

static void put_command(const struct graph *g, struct buf *out)
{
	const struct profile *p = g->v->profile;

	put_escaped(out, profile_title(p));
}

/* The box that says what this is, every line ending in \l: left-aligned. */
static void put_legend(const struct graph *g, struct buf *out)
{
	double shown = 0;

	for (size_t i = 0; i < g->nchosen; i++)
		shown += size_of(g->boxes[g->chosen[i]].self_weight);
	buf_puts(out, "subgraph cluster_L { L [shape=box fontsize=16 label=\"");
	put_command(g, out);
	buf_puts(out, "\\lType: ");
	picture_what(out, &g->pic);
	for (size_t i = 0; g->pic.diff && i<g->pic.diff->nsides; i += g->pic.diff->nsides> 1 && i == 0
	                           ? g->pic.diff->nsides - 1
	                           : 1) {
		buf_puts(out, i ? "\\lAfter: " : "\\lBefore: ");
		put_escaped(out,
		            g->pic.diff->sides[i]->source ? g->pic.diff->sides[i]->source : "?");
	}
	buf_puts(out, "\\lShowing nodes accounting for ");
	picture_amount(out, &(struct picture){ .measure = g->pic.measure }, (int64_t)shown);
	buf_puts(out, ", ");
	unit_ratio(out, g->pic.total > 0 ? shown / g->pic.total : 0);
	buf_puts(out, " of ");
	picture_amount(out, &(struct picture){ .measure = g->pic.measure }, (int64_t)g->pic.total);
	buf_puts(out, g->pic.diff ? " of change" : " in all");
	if (g->dropped_boxes) {
		buf_printf(out, "\\lDropped %zu node%s (cum < ", g->dropped_boxes,
		           g->dropped_boxes == 1 ? "" : "s");
		picture_amount(out, &(struct picture){ .measure = g->pic.measure },
		               (int64_t)g->min_box);
		buf_puts(out, g->pic.diff && g->v->profile->sampled && !g->o->noise
		                      ? ", or within noise)"
		                      : ")");
	}
	if (g->dropped_arrows) {
		buf_printf(out, "\\lDropped %zu edge%s (weight < ", g->dropped_arrows,
		           g->dropped_arrows == 1 ? "" : "s");
		picture_amount(out, &(struct picture){ .measure = g->pic.measure },
		               (int64_t)g->min_arrow);
		buf_puts(out, ")");
	}
	if (g->beyond_count)
		buf_printf(out, "\\lShowing top %zu nodes out of %zu", g->nchosen,
		           g->nchosen + g->beyond_count);
	buf_puts(out, "\\l\" tooltip=\"");
	put_command(g, out);
	buf_puts(out, "\"] }\n");
}

static void put_graph(const struct graph *g, struct buf *out)
{
	buf_puts(out, "digraph \"");
	put_command(g, out);
	buf_puts(out, "\" {\nnode [style=filled fillcolor=\"#f8f8f8\" fontname=\"Helvetica\"]\n"
	              "edge [fontname=\"Helvetica\" fontsize=12]\n");
	put_legend(g, out);
	for (size_t i = 0; i < g->nchosen; i++)
		put_box(g, g->chosen[i], out);
	for (size_t i = 0; i < g->narrows; i++)
		if (!g->arrows[i].dropped)
			put_arrow(g, &g->arrows[i], out);
	buf_puts(out, "}\n");
}

static void graph_release(struct graph *g)
{
	picture_release(&g->pic);
	free(g->boxes);
	free(g->chosen);
	free(g->arrows);
	idmap_release(&g->map);
}

struct seep_error *dot_write(const struct view *v, const struct dot_options *o, struct buf *out)
{
	__attribute__((cleanup(graph_release))) struct graph g = { .v = v, .o = o };
	struct seep_error *err = picture_init(&g.pic, v, o->diff, o->measure, o->normalize);

	if (err)
		return err;
	g.nboxes = v->nfunctions + 1;
	g.boxes = large_zero(g.nboxes * sizeof(*g.boxes));
	if (!g.boxes)
		return &seep_error_nomem;
	sum_boxes(&g);
	if (choose_boxes(&g) < 0 || make_arrows(&g) < 0 || drop_redundant(&g) < 0)
		return &seep_error_nomem;
	put_graph(&g, out);
	return out->failed ? &seep_error_nomem : NULL;
}
