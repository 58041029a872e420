/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree both pictures are drawn from, and the page's data.  The view's nodes tell lines apart; here the lines of
 * one function below one caller are one node, which at the same time is what keeps a page of a hundred thousand stacks
 * small.  Parents come before children throughout, so every sum is one pass from the end.
 *
 * The data is columns (parents, names, values), not objects: a tenth of the size, and the page can use the arrays as
 * they are.  It stands in a script element that is not run; what could end the element or a line of it is escaped.
 */
#include "output/flame.h"

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
#include "base/select.h"
#include "output/flame_private.h"
#include "output/markup.h"
#include "output/report_private.h"
#include "output/units.h"
#include "profile/profile.h"

/* ---- the tree ----------------------------------------------------------------- */

static bool has_value(const struct picture *p, const struct node_pair *pair)
{
	const struct prof_value *a = &pair->first.value[p->measure.value];
	const struct prof_value *b = &pair->last.value[p->measure.value];

	return a->bytes || a->blocks || b->bytes || b->blocks;
}

/* Nodes of the view with something at them or below them. */
static bool *used_nodes(const struct picture *p)
{
	bool *used = calloc(p->pairs.n, sizeof(*used));

	for (size_t i = p->pairs.n; used && i-- > 0;) {
		used[i] |= has_value(p, &p->pairs.items[i]);
		if (used[i])
			used[p->v->nodes[i].parent] = true;
	}
	return used;
}

/* Same function; code without a name is told apart by its address. */
static bool same_frame(const struct view *v, uint32_t a, uint32_t b)
{
	const struct view_location *x = &v->locations[a], *y = &v->locations[b];

	return a == b || (x->func == y->func && x->function && y->function);
}

static uint32_t child_of(struct flame *f, struct idmap *map, uint32_t parent, uint32_t location)
{
	const struct view *v = f->pic.v;
	const struct view_location *l = &v->locations[location];
	uint64_t hash = hash_mix(parent, l->function ? l->func : ~(uint64_t)location);
	size_t pos = idmap_first(map, hash);
	uint32_t id;

	while (idmap_get(map, &pos, hash, &id))
		if (f->nodes[id].parent == parent && same_frame(v, f->nodes[id].location, location))
			return id;
	if (idmap_add(map, hash, (uint32_t)f->n) < 0)
		return 0;
	f->nodes[f->n] = (struct flame_node){ .parent = parent,
		                              .location = location,
		                              .depth = f->nodes[parent].depth + 1,
		                              .heaviest = -1 };
	return (uint32_t)f->n++;
}

/* The view's own sums, to name a node by its heaviest line. */
static double *view_weights(const struct picture *p)
{
	double *w = large_zero(p->pairs.n * sizeof(*w));

	for (size_t i = p->pairs.n; w && i-- > 0;) {
		w[i] += fabs((double)picture_value(p, &p->pairs.items[i]));
		if (i)
			w[p->v->nodes[i].parent] += w[i];
	}
	return w;
}

static int fill(struct flame *f)
{
	const struct view *v = f->pic.v;
	size_t n = f->pic.pairs.n;
	_cleanup_free_ bool *used = used_nodes(&f->pic);
	_cleanup_free_ double *weights = view_weights(&f->pic);
	_cleanup_free_ uint32_t *node_of = calloc(n, sizeof(*node_of));
	_cleanup_idmap_ struct idmap map = { 0 };
	size_t want = 2;

	if (!used || !weights || !node_of)
		return -1;
	for (size_t i = 1; i < n; i++)
		want += used[i];
	f->nodes = large_zero(want * sizeof(*f->nodes));
	if (!f->nodes)
		return -1;
	f->nodes[0].location = UINT32_MAX;
	f->n = 1;
	for (size_t i = 1; i < n; i++) {
		uint32_t location = v->nodes[i].location, id;

		if (!used[i])
			continue;
		id = node_of[i] = child_of(f, &map, node_of[v->nodes[i].parent], location);
		if (!id)
			return -1;
		if (weights[i] > f->nodes[id].heaviest) {
			f->nodes[id].heaviest = weights[i];
			f->nodes[id].location = location;
		}
		picture_pair_add(&f->nodes[id].self, &f->pic.pairs.items[i]);
	}
	if (has_value(&f->pic, &f->pic.pairs.items[0]))
		f->nodes[f->n++] = (struct flame_node){ .location = UINT32_MAX,
			                                .depth = 1,
			                                .self = f->pic.pairs.items[0] };
	return 0;
}

/* Of numbers that are not negative, in the order of the numbers. */
static uint64_t bits_of(double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

/* Keeps the `most` widest.  A caller is at least as wide as what it called, and comes before it: it stays where that stays. */
static int fold(struct flame *f, size_t most)
{
	_cleanup_free_ uint64_t *widths = NULL;
	_cleanup_free_ uint32_t *to = NULL;
	uint64_t least;
	size_t n = 1, equal = most; /* how many of that width there is room for */

	if (!most || f->n <= most)
		return 0;
	widths = calloc(f->n, sizeof(*widths));
	to = calloc(f->n, sizeof(*to));
	if (!widths || !to)
		return -1;
	for (size_t i = 0; i < f->n; i++)
		widths[i] = bits_of(f->nodes[i].width);
	least = select_largest(widths, f->n, most);
	for (size_t i = 0; i < f->n; i++)
		equal -= widths[i] > least;
	for (size_t i = 1; i < f->n; i++) {
		struct flame_node *node = &f->nodes[i];
		uint32_t parent = to[node->parent];

		if (bits_of(node->width) < least || (bits_of(node->width) == least && !equal)) {
			to[i] = parent;
			picture_pair_add(&f->nodes[parent].self, &node->self);
			continue;
		}
		equal -= bits_of(node->width) == least;
		node->parent = parent;
		to[i] = (uint32_t)n;
		f->nodes[n++] = *node;
	}
	f->folded = f->n - n;
	f->n = n;
	return 0;
}

struct seep_error *flame_make(const struct view *v, const struct flame_options *o, struct flame *f)
{
	struct seep_error *err;

	memset(f, 0, sizeof(*f));
	err = picture_init(&f->pic, v, o->diff, o->measure, o->normalize);
	if (err)
		return err;
	if (fill(f) < 0)
		return &seep_error_nomem;
	for (size_t i = f->n; i-- > 0;) {
		struct flame_node *n = &f->nodes[i];

		picture_pair_add(&n->total, &n->self);
		n->width += fabs((double)picture_value(&f->pic, &n->self));
		if (i) {
			picture_pair_add(&f->nodes[n->parent].total, &n->total);
			f->nodes[n->parent].width += n->width;
		}
	}
	return fold(f, o->most) < 0 ? &seep_error_nomem : NULL;
}

void flame_release(struct flame *f)
{
	picture_release(&f->pic);
	free(f->nodes);
	memset(f, 0, sizeof(*f));
}

/* ---- data of the page ------------------------------------------------------------ */

/* Strings are written once and named by number. */
struct strings {
	struct idmap map;
	struct buf json;
	const char **items;
	size_t n, cap;
	bool failed;
};

static uint32_t string_number(struct strings *t, const char *s)
{
	uint64_t hash = hash_str(s ? s : "");
	size_t pos = idmap_first(&t->map, hash);
	uint32_t id;

	s = s ? s : "";
	while (idmap_get(&t->map, &pos, hash, &id))
		if (!strcmp(t->items[id], s))
			return id;
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 256;
		const char **items = reallocarray(t->items, cap, sizeof(*items));

		if (!items) {
			t->failed = true;
			return 0;
		}
		t->items = items;
		t->cap = cap;
	}
	if (idmap_add(&t->map, hash, (uint32_t)t->n) < 0) {
		t->failed = true;
		return 0;
	}
	t->items[t->n] = s;
	buf_putc(&t->json, t->n ? ',' : ' ');
	markup_json(&t->json, s);
	return (uint32_t)t->n++;
}

static void strings_release(struct strings *t)
{
	idmap_release(&t->map);
	buf_release(&t->json);
	free(t->items);
}

/* Five numbers a location: function, file, line, module, flags; functions without a name have their address in it. */
static void put_location(const struct flame *f, struct strings *t, const struct view_location *l,
                         struct buf *b)
{
	const char *module =
		l->module == PROF_NO_MODULE ? NULL : f->pic.v->profile->modules[l->module].path;
	/* One after the other: the order in which strings get their numbers is the output's. */
	uint32_t function = string_number(t, l->function ? l->function : "??");
	uint32_t module_name = string_number(t, module);
	uint32_t file = string_number(t, l->file);

	buf_printf(b, "%u,%u,%u,%u,%u", function, file, l->line, module_name,
	           l->flags & VIEW_RUNTIME ? 1u : 0u);
}

static int put_locations(const struct flame *f, struct buf *out, struct buf *numbers)
{
	size_t nlocations = f->pic.v->nlocations;
	_cleanup_free_ uint32_t *number = malloc((nlocations + 1) * sizeof(*number));
	struct strings t = { 0 };
	uint32_t n = 0;
	bool failed;

	if (!number)
		return -1;
	memset(number, 0xff, (nlocations + 1) * sizeof(*number));
	string_number(&t, "");
	buf_puts(out, ",\n\"locations\":[");
	for (size_t i = 0; i < f->n; i++) {
		uint32_t location = f->nodes[i].location;

		if (location == UINT32_MAX) {
			buf_puts(numbers, i ? ",-1" : "-1");
			continue;
		}
		if (number[location] == UINT32_MAX) {
			buf_puts(out, n ? "," : "");
			put_location(f, &t, &f->pic.v->locations[location], out);
			number[location] = n++;
		}
		buf_printf(numbers, ",%u", number[location]);
	}
	buf_puts(out, "],\n\"addresses\":{");
	for (size_t i = 0, any = 0; i < nlocations; i++) {
		const struct view_location *l = &f->pic.v->locations[i];

		if (number[i] != UINT32_MAX && !l->function && l->address)
			buf_printf(out, "%s\"%u\":\"0x%" PRIx64 "\"", any++ ? "," : "", number[i],
			           l->address);
	}
	buf_puts(out, "},\n\"strings\":[");
	buf_add(out, t.json.data, t.json.len);
	buf_putc(out, ']');
	failed = t.failed || t.json.failed;
	strings_release(&t);
	return failed ? -1 : 0;
}

enum column { COL_PARENT, COL_BYTES, COL_BLOCKS, COL_BYTES_BEFORE, COL_BLOCKS_BEFORE };

static uint64_t cell(const struct flame *f, const struct flame_node *n, enum column c)
{
	const enum measure_value m = f->pic.measure.value;

	switch (c) {
	case COL_PARENT:
		return n->parent;
	case COL_BYTES:
		return n->self.last.value[m].bytes;
	case COL_BLOCKS:
		return n->self.last.value[m].blocks;
	case COL_BYTES_BEFORE:
		return n->self.first.value[m].bytes;
	case COL_BLOCKS_BEFORE:
		return n->self.first.value[m].blocks;
	}
	return 0;
}

static void put_column(const struct flame *f, const char *key, enum column c, struct buf *out)
{
	buf_printf(out, ",\n\"%s\":[", key);
	for (size_t i = 0; i < f->n; i++)
		buf_printf(out, "%s%" PRIu64, i ? "," : "", cell(f, &f->nodes[i], c));
	buf_putc(out, ']');
}

static struct prof_interval interval_of(const struct flame *f, const struct group_sum *s)
{
	const struct measure m = f->pic.measure;
	uint64_t samples = group_samples(s, m.value);
	uint64_t period = samples ? f->pic.v->profile->period : 0;

	return m.blocks ? prof_interval_blocks(&s->value[m.value], samples, period)
	                : prof_interval_bytes(&s->value[m.value], samples, period);
}

/* ± of every node's total (of a difference, of its change), and which changes may be chance. */
static void put_margins(const struct flame *f, struct buf *out)
{
	_cleanup_buf_ struct buf noise = { 0 };

	buf_puts(out, ",\n\"margins\":[");
	for (size_t i = 0; i < f->n; i++) {
		const struct node_pair *total = &f->nodes[i].total;
		uint64_t margin;

		if (f->pic.diff) {
			struct diff_change c = picture_weight(&f->pic, total);

			margin = (uint64_t)(c.high - c.value > c.value - c.low ? c.high - c.value
			                                                       : c.value - c.low);
			if (c.noise)
				buf_printf(&noise, "%s%zu", noise.len ? "," : "", i);
		} else {
			struct prof_interval r = interval_of(f, &total->last);

			margin = prof_interval_margin(&r,
			                              group_measure(&total->last, f->pic.measure));
		}
		buf_printf(out, "%s%" PRIu64, i ? "," : "", margin);
	}
	buf_printf(out, "],\n\"noise\":[%s]", noise.data ? noise.data : "");
	out->failed |= noise.failed;
}

static int put_data(const struct flame *f, const struct flame_options *o, struct buf *out)
{
	const struct profile *p = f->pic.v->profile;
	_cleanup_buf_ struct buf numbers = { 0 };

	buf_puts(out, "{\"title\":");
	markup_json(out, profile_title(p));
	buf_printf(out,
	           ",\"value\":\"%s\",\"unit\":\"%s\",\"diff\":%s,\"sampled\":%s,\"scale\":%.9g",
	           value_names[f->pic.measure.value].words,
	           f->pic.measure.blocks ? "blocks" : "bytes", f->pic.diff ? "true" : "false",
	           p->sampled ? "true" : "false", f->pic.pairs.scale);
	buf_printf(out, ",\"colorblind\":%s", o->colorblind ? "true" : "false");
	if (f->folded)
		buf_printf(out, ",\"folded\":%zu", f->folded);
	if (f->pic.diff) {
		const struct diff *d = f->pic.diff;

		buf_puts(out, ",\"before\":");
		markup_json(out, d->sides[0]->source ? d->sides[0]->source : "");
		buf_puts(out, ",\"after\":");
		markup_json(out,
		            d->sides[d->nsides - 1]->source ? d->sides[d->nsides - 1]->source : "");
	}
	if (put_locations(f, out, &numbers) < 0 || numbers.failed)
		return -1;
	buf_printf(out, ",\n\"location\":[%s]", numbers.data);
	put_column(f, "parent", COL_PARENT, out);
	put_column(f, "bytes", COL_BYTES, out);
	put_column(f, "blocks", COL_BLOCKS, out);
	if (f->pic.diff) {
		put_column(f, "bytesBefore", COL_BYTES_BEFORE, out);
		put_column(f, "blocksBefore", COL_BLOCKS_BEFORE, out);
	}
	if (p->sampled)
		put_margins(f, out);
	buf_puts(out, "}");
	return out->failed ? -1 : 0;
}

struct seep_error *flame_html(const struct view *v, const struct flame_options *o, struct buf *out)
{
	static const char marker[] = "@DATA@";
	_cleanup_flame_ struct flame f = { 0 };
	struct seep_error *err = flame_make(v, o, &f);
	const char *at;

	if (err)
		return err;
	at = memmem(flame_page, flame_page_len, marker, sizeof(marker) - 1);
	if (!at)
		return seep_error_new(0, "the flame graph's page has no place for data");
	buf_add(out, flame_page, (size_t)(at - flame_page));
	if (put_data(&f, o, out) < 0)
		return &seep_error_nomem;
	at += sizeof(marker) - 1;
	buf_add(out, at, flame_page_len - (size_t)(at - flame_page));
	return out->failed ? &seep_error_nomem : NULL;
}
