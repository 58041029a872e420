/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees out of a view, in any direction.  All of them are grown alike: a path of locations from the top is walked, nodes that are
 * missing are made, and the last one gets the value.  Lines of one function below one parent are one node, called by its heaviest line:
 * what a person calls a frame, and what keeps a tree of a hundred thousand stacks small.
 *
 * Parents are made before their children, so sums and cuts are single passes; the order in which it is sent (a walk, largest first) is
 * made once at the end.
 */
#include "server/stacks.h"

#include "server/jsonw.h"
#include "server/look.h"

#include "analysis/view.h"
#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/large.h"
#include "base/select.h"
#include "profile/profile.h"

#include <stdlib.h>
#include <string.h>

#define NODES_MOST (8u << 20)

void grow_init(struct tree_builder *t, const struct look *l, bool lines, uint32_t location)
{
	*t = (struct tree_builder){ .v = l->v, .lines = lines };
	if (array_grow((void **)&t->nodes, 0, &t->cap, sizeof(*t->nodes)) < 0) {
		t->failed = true;
		return;
	}
	t->nodes[0] = (struct grown_node){ .location = location };
	t->n = 1;
}

void grow_release(struct tree_builder *t)
{
	free(t->nodes);
	idmap_release(&t->map);
	memset(t, 0, sizeof(*t));
}

static bool same(const struct tree_builder *t, uint32_t a, uint32_t b)
{
	const struct view_location *x, *y;

	if (a == b || t->lines || a == FRAMES_NO_LOCATION || b == FRAMES_NO_LOCATION)
		return a == b;
	x = &t->v->locations[a];
	y = &t->v->locations[b];
	return x->function && y->function && x->func == y->func;
}

static uint64_t key_of(const struct tree_builder *t, uint32_t location)
{
	const struct view_location *l;

	if (t->lines || location == FRAMES_NO_LOCATION)
		return ~(uint64_t)location;
	l = &t->v->locations[location];
	return l->function ? l->func : ~(uint64_t)location;
}

uint32_t grow_child(struct tree_builder *t, uint32_t parent, uint32_t location,
                    const struct leaf_value *weight)
{
	uint64_t hash = hash_mix(parent, key_of(t, location));
	uint64_t w = weight->value > weight->base ? weight->value : weight->base;
	size_t pos;
	uint32_t id;

	if (t->failed)
		return 0;
	for (pos = idmap_first(&t->map, hash); idmap_get(&t->map, &pos, hash, &id);) {
		struct grown_node *n = &t->nodes[id];

		if (n->parent != parent || !same(t, n->location, location))
			continue;
		if (w > n->heaviest) {
			n->heaviest = w;
			n->location = location;
		}
		return id;
	}
	if (t->n >= NODES_MOST ||
	    array_grow((void **)&t->nodes, t->n, &t->cap, sizeof(*t->nodes)) < 0 ||
	    idmap_add(&t->map, hash, (uint32_t)t->n) < 0) {
		t->failed = true;
		return 0;
	}
	t->nodes[t->n] =
		(struct grown_node){ .parent = parent, .location = location, .heaviest = w };
	return (uint32_t)t->n++;
}

void grow_add(struct tree_builder *t, uint32_t node, const struct leaf_value *v)
{
	if (t->failed)
		return;
	t->nodes[node].value = prof_add(t->nodes[node].value, v->value);
	t->nodes[node].base = prof_add(t->nodes[node].base, v->base);
}

/* To each node of the view what is below it. */
static void sum_up(const struct view *v, struct leaf_value *sum)
{
	for (size_t i = v->nnodes; i-- > 1;) {
		struct leaf_value *up = &sum[v->nodes[i].parent];

		up->value = prof_add(up->value, sum[i].value);
		up->base = prof_add(up->base, sum[i].base);
	}
}

/* What is at each node of the view and below it: by that, a function's heaviest line names it. */
static struct leaf_value *totals(const struct view *v, const struct leaf_value *values)
{
	struct leaf_value *sum = large_alloc((v->nnodes + 1) * sizeof(*sum));

	if (sum) {
		memcpy(sum, values, v->nnodes * sizeof(*sum));
		sum_up(v, sum);
	}
	return sum;
}

/* From the roots down with lines apart: that is the view's own tree, so nothing is looked for, and its sums are the nodes'. */
static void grow_as_it_is(struct tree_builder *t, struct leaf_value *values)
{
	const struct view *v = t->v;
	const struct leaf_value no_stack = values[0];
	_cleanup_free_ uint32_t *node_of = large_alloc((v->nnodes + 1) * sizeof(*node_of));
	size_t n = 2; /* the root, and what has no stack */

	sum_up(v, values);
	for (size_t i = 1; i < v->nnodes; i++)
		n += values[i].value || values[i].base;
	if (!node_of || n > NODES_MOST ||
	    array_reserve((void **)&t->nodes, t->n, &t->cap, n, sizeof(*t->nodes)) < 0) {
		t->failed = true;
		return;
	}
	t->summed = true;
	t->nodes[0].value = values[0].value;
	t->nodes[0].base = values[0].base;
	node_of[0] = 0;
	for (size_t i = 1; i < v->nnodes; i++) {
		if (!values[i].value && !values[i].base)
			continue;
		node_of[i] = (uint32_t)t->n;
		t->nodes[t->n++] = (struct grown_node){ .parent = node_of[v->nodes[i].parent],
			                                .location = v->nodes[i].location,
			                                .value = values[i].value,
			                                .base = values[i].base };
	}
	if (no_stack.value || no_stack.base)
		t->nodes[t->n++] = (struct grown_node){ .location = FRAMES_NO_LOCATION,
			                                .value = no_stack.value,
			                                .base = no_stack.base };
}

static void grow_down(struct tree_builder *t, const struct leaf_value *values)
{
	const struct view *v = t->v;
	_cleanup_free_ struct leaf_value *sum = totals(v, values);
	_cleanup_free_ uint32_t *node_of = calloc(v->nnodes + 1, sizeof(*node_of));

	if (!sum || !node_of) {
		t->failed = true;
		return;
	}
	for (size_t i = 1; i < v->nnodes; i++) {
		if (!sum[i].value && !sum[i].base)
			continue;
		node_of[i] =
			grow_child(t, node_of[v->nodes[i].parent], v->nodes[i].location, &sum[i]);
		grow_add(t, node_of[i], &values[i]);
	}
}

static void grow_up(struct tree_builder *t, const struct leaf_value *values)
{
	const struct view *v = t->v;

	for (size_t i = 1; i < v->nnodes; i++) {
		uint32_t at = 0;

		if (!values[i].value && !values[i].base)
			continue;
		for (uint32_t n = (uint32_t)i; n; n = v->nodes[n].parent)
			at = grow_child(t, at, v->nodes[n].location, &values[i]);
		grow_add(t, at, &values[i]);
	}
}

void grow_all(struct tree_builder *t, struct leaf_value *values, bool leaf_first)
{
	if (t->failed)
		return;
	if (t->lines && !leaf_first) {
		grow_as_it_is(t, values);
		return;
	}
	if (leaf_first)
		grow_up(t, values);
	else
		grow_down(t, values);
	/* What has no stack. */
	if (values[0].value || values[0].base)
		grow_add(t, grow_child(t, 0, FRAMES_NO_LOCATION, &values[0]), &values[0]);
}

/* ---- finishing --------------------------------------------------------------------------------------- */

static uint64_t width(const struct grown_node *n)
{
	return n->value > n->base ? n->value : n->base;
}

/* A node is never wider than its parent, so what is kept is connected; what goes is its parent's own. */
static void cut(struct tree_builder *t, size_t most)
{
	_cleanup_free_ uint64_t *widths = NULL;
	_cleanup_free_ uint32_t *to = NULL;
	uint64_t least;
	size_t n = 1, equal = most; /* how many of that width there is room for */

	if (t->n <= most)
		return;
	widths = calloc(t->n, sizeof(*widths));
	to = calloc(t->n, sizeof(*to));
	if (!widths || !to) {
		t->failed = true;
		return;
	}
	for (size_t i = 0; i < t->n; i++)
		widths[i] = width(&t->nodes[i]);
	least = select_largest(widths, t->n, most);
	for (size_t i = 0; i < t->n; i++)
		equal -= widths[i] > least;
	for (size_t i = 1; i < t->n; i++) {
		struct grown_node node = t->nodes[i];
		bool parent_kept = !node.parent || to[node.parent];

		if (!parent_kept || width(&node) < least || (width(&node) == least && !equal)) {
			/* Counted once, at the topmost node that goes. */
			if (parent_kept)
				t->cut_value = prof_add(t->cut_value, width(&node));
			t->cut_nodes++;
			continue;
		}
		equal -= width(&node) == least;
		node.parent = to[node.parent];
		to[i] = (uint32_t)n;
		t->nodes[n++] = node;
	}
	t->n = n;
}

struct child {
	uint32_t node;
	uint64_t width;
};

static int widest_first(const void *a, const void *b)
{
	const struct child *x = a, *y = b;

	if (x->width != y->width)
		return x->width > y->width ? -1 : 1;
	return x->node < y->node ? -1 : x->node > y->node;
}

/* Into the order of a walk. */
static void order(struct tree_builder *t)
{
	_cleanup_free_ struct child *children = large_zero((t->n + 1) * sizeof(*children));
	/* of each node: where its children begin, first to be filled in, then to be placed; the next node's are its end */
	_cleanup_free_ uint32_t *first = calloc(t->n + 2, sizeof(*first));
	_cleanup_free_ uint32_t *next = calloc(t->n + 2, sizeof(*next));
	_cleanup_free_ uint32_t *path = calloc(t->n + 1, sizeof(*path));
	_cleanup_free_ uint32_t *placed = calloc(t->n + 1, sizeof(*placed));
	struct grown_node *sorted = large_zero((t->n + 1) * sizeof(*sorted));
	size_t out = 1, depth = 0;

	if (!children || !first || !next || !path || !placed || !sorted) {
		free(sorted);
		t->failed = true;
		return;
	}
	for (size_t i = 1; i < t->n; i++)
		first[t->nodes[i].parent + 1]++;
	for (size_t i = 1; i <= t->n; i++)
		next[i] = first[i] += first[i - 1];
	for (size_t i = 1; i < t->n; i++)
		children[next[t->nodes[i].parent]++] =
			(struct child){ (uint32_t)i, width(&t->nodes[i]) };
	for (size_t i = 0; i < t->n; i++) {
		next[i] = first[i];
		if (first[i + 1] - first[i] > 1)
			qsort(&children[first[i]], first[i + 1] - first[i], sizeof(*children),
			      widest_first);
	}
	sorted[0] = t->nodes[0];
	for (path[0] = 0;;) {
		uint32_t at = path[depth];

		if (next[at] < first[at + 1]) {
			uint32_t node = children[next[at]++].node;

			sorted[out] = t->nodes[node];
			sorted[out].parent = placed[at];
			placed[node] = (uint32_t)out++;
			path[++depth] = node;
		} else if (depth) {
			depth--;
		} else {
			break;
		}
	}
	free(t->nodes);
	t->nodes = sorted;
	t->cap = t->n + 1;
}

void grow_finish(struct tree_builder *t, size_t most)
{
	if (t->failed)
		return;
	for (size_t i = t->n; !t->summed && i-- > 1;) {
		struct leaf_value v = { t->nodes[i].value, t->nodes[i].base };

		grow_add(t, t->nodes[i].parent, &v);
	}
	cut(t, most);
	order(t);
}

void grow_put(const struct tree_builder *t, struct frames *f, bool diff, struct jsonw *j,
              const char *key)
{
	_cleanup_free_ uint32_t *narrow = calloc(t->n + 1, sizeof(*narrow));
	_cleanup_free_ uint64_t *wide = calloc(t->n + 1, sizeof(*wide));

	if (t->failed || !narrow || !wide) {
		j->out->failed = true;
		return;
	}
	jw_object(j, key);
	for (size_t i = 0; i < t->n; i++)
		narrow[i] = t->nodes[i].parent;
	jw_column_u32(j, "parent", narrow, t->n);
	for (size_t i = 0; i < t->n; i++)
		narrow[i] = stacks_frame(f, t->nodes[i].location);
	jw_column_u32(j, "frame", narrow, t->n);
	for (size_t i = 0; i < t->n; i++)
		wide[i] = t->nodes[i].value;
	jw_column_u64(j, "value", wide, t->n);
	if (diff) {
		for (size_t i = 0; i < t->n; i++)
			wide[i] = t->nodes[i].base;
		jw_column_u64(j, "base", wide, t->n);
	} else {
		jw_null(j, "base");
	}
	jw_object_end(j);
}
