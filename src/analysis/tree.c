/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root-first tree is the view's own; the leaf-first one is interned from the
 * reversed stacks, level by level.  Then the children that survive the cuts are
 * linked, sorted and laid out in display order, without recursion (stacks are as
 * deep as the profile says).
 */
#include "analysis/tree.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/view.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"

struct raw_node {
	uint32_t parent, location;
	uint32_t first_child, next; /* 0: none */
	struct prof_value value, self;
	uint64_t cut_value;
	uint32_t cut_children;
};

struct raw_tree {
	struct raw_node *nodes;
	size_t n, cap;
	struct idmap map;
};

static int add_node(struct raw_tree *t, uint32_t parent, uint32_t location, uint32_t *ret_id)
{
	struct raw_node *nodes;

	if (t->n >= UINT32_MAX - 1)
		return -1;
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 256;

		nodes = reallocarray(t->nodes, cap, sizeof(*nodes));
		if (!nodes)
			return -1;
		t->nodes = nodes;
		t->cap = cap;
	}
	*ret_id = (uint32_t)t->n;
	t->nodes[t->n++] = (struct raw_node){ .parent = parent, .location = location };
	return 0;
}

static int child(struct raw_tree *t, uint32_t parent, uint32_t location, uint32_t *ret_id)
{
	uint64_t hash = hash_mix(parent, location);
	size_t pos = idmap_first(&t->map, hash);

	while (idmap_get(&t->map, &pos, hash, ret_id))
		if (t->nodes[*ret_id].parent == parent && t->nodes[*ret_id].location == location)
			return 0;
	if (add_node(t, parent, location, ret_id) < 0)
		return -1;
	return idmap_add(&t->map, hash, *ret_id);
}

static const struct prof_value *site_value(const struct prof_site *s, enum measure_value m)
{
	const struct prof_value *values[MEASURE_NVALUES] = { &s->inuse, &s->alloc, &s->freed,
		                                             &s->peak };

	return values[m];
}

/* The root-first tree: node by node the view's own, values summed from the end. */
static int fill_root_first(struct raw_tree *t, const struct view *v, enum measure_value m)
{
	uint32_t id;

	for (size_t i = 1; i < v->nnodes; i++)
		if (add_node(t, v->nodes[i].parent, v->nodes[i].location, &id) < 0)
			return -1;
	for (size_t i = 0; i < v->profile->nsites; i++) {
		const struct prof_value *value = site_value(&v->profile->sites[i], m);

		id = v->site_node[i];
		if (id == VIEW_DROPPED || (!value->bytes && !value->blocks))
			continue;
		/* a stack without frames hangs from the top as a node of its own */
		if (!id && child(t, 0, UINT32_MAX, &id) < 0)
			return -1;
		prof_value_add(&t->nodes[id].self, value);
	}
	for (size_t i = t->n; i-- > 0;) {
		prof_value_add(&t->nodes[i].value, &t->nodes[i].self);
		if (i)
			prof_value_add(&t->nodes[t->nodes[i].parent].value, &t->nodes[i].value);
	}
	return 0;
}

/* A site on its way outwards: where it stands in the tree, and which of its frames comes next. */
struct walker {
	const struct prof_value *value;
	uint32_t at, next;
	bool unknown;
};

/*
 * The leaf-first tree, one level of all stacks at a time: what is below the minimum at one
 * level is cut there, and its stacks go no further.  Without that the tree of a big program
 * has as many nodes as all its stacks have frames, to show a dozen.
 */
static int fill_leaf_first(struct raw_tree *t, const struct view *v, struct measure measure,
                           uint64_t min)
{
	_cleanup_free_ struct walker *walkers = calloc(v->profile->nsites + 1, sizeof(*walkers));
	size_t n = 0;

	if (!walkers)
		return -1;
	for (size_t i = 0; i < v->profile->nsites; i++) {
		const struct prof_value *value = site_value(&v->profile->sites[i], measure.value);
		uint32_t node = v->site_node[i];

		if (node == VIEW_DROPPED || (!value->bytes && !value->blocks))
			continue;
		walkers[n++] = (struct walker){ value, 0, node, !node };
		prof_value_add(&t->nodes[0].value, value);
	}
	while (n) {
		size_t left = 0;

		for (size_t i = 0; i < n; i++) {
			struct walker *w = &walkers[i];
			uint32_t location = w->unknown ? UINT32_MAX : v->nodes[w->next].location;

			if (child(t, w->at, location, &w->at) < 0)
				return -1;
			prof_value_add(&t->nodes[w->at].value, w->value);
			w->next = w->unknown ? 0 : v->nodes[w->next].parent;
			w->unknown = false;
			if (!w->next)
				prof_value_add(&t->nodes[w->at].self, w->value);
		}
		for (size_t i = 0; i < n; i++)
			if (walkers[i].next &&
			    measure_of(&t->nodes[walkers[i].at].value, measure.blocks) >= min)
				walkers[left++] = walkers[i];
		n = left;
	}
	return 0;
}

/* ---- cuts and order ------------------------------------------------------- */

struct child_key {
	uint64_t value;
	uint32_t parent, id;
};

static int by_parent_and_value(const void *a, const void *b)
{
	const struct child_key *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static int link_children(struct raw_tree *t, bool blocks, struct tree_cut cut)
{
	_cleanup_free_ struct child_key *keys = calloc(t->n, sizeof(*keys));
	size_t n = 0, nth = 0;
	uint32_t last = 0;

	if (!keys)
		return -1;
	for (uint32_t i = 1; i < t->n; i++) {
		struct raw_node *parent = &t->nodes[t->nodes[i].parent];
		uint64_t value = measure_of(&t->nodes[i].value, blocks);

		if (!value)
			continue;
		if (value < cut.min) {
			parent->cut_value += value;
			parent->cut_children++;
			continue;
		}
		keys[n++] = (struct child_key){ value, t->nodes[i].parent, i };
	}
	qsort(keys, n, sizeof(*keys), by_parent_and_value);
	for (size_t i = 0; i < n; i++) {
		struct raw_node *parent = &t->nodes[keys[i].parent];

		nth = i && keys[i].parent == keys[i - 1].parent ? nth + 1 : 0;
		if (cut.max_children && nth >= cut.max_children) {
			parent->cut_value += keys[i].value;
			parent->cut_children++;
			continue;
		}
		if (nth)
			t->nodes[last].next = keys[i].id;
		else
			parent->first_child = keys[i].id;
		last = keys[i].id;
	}
	return 0;
}

static int lay_out(const struct raw_tree *t, struct tree *out)
{
	uint32_t id = 0, depth = 0;

	out->nodes = calloc(t->n, sizeof(*out->nodes));
	if (!out->nodes)
		return -1;
	for (;;) {
		const struct raw_node *r = &t->nodes[id];

		out->nodes[out->n++] = (struct tree_node){
			.location = r->location,
			.depth = depth,
			.value = r->value,
			.self = r->self,
			.cut_value = r->cut_value,
			.cut_children = r->cut_children,
		};
		if (r->first_child) {
			id = r->first_child;
			depth++;
			continue;
		}
		while (id && !t->nodes[id].next) {
			id = t->nodes[id].parent;
			depth--;
		}
		if (!id)
			return 0;
		id = t->nodes[id].next;
	}
}

struct seep_error *tree_make(const struct view *v, enum tree_direction direction,
                             struct measure measure, struct tree_cut cut, struct tree *ret_tree)
{
	struct raw_tree t = { 0 };
	struct tree out = { 0 };
	uint32_t top;
	int r;

	r = add_node(&t, 0, UINT32_MAX, &top) < 0 ||
	    (direction == TREE_ROOT_FIRST ? fill_root_first(&t, v, measure.value)
	                                  : fill_leaf_first(&t, v, measure, cut.min)) < 0 ||
	    link_children(&t, measure.blocks, cut) < 0 || lay_out(&t, &out) < 0;
	free(t.nodes);
	idmap_release(&t.map);
	if (r)
		return &seep_error_nomem;
	*ret_tree = out;
	return NULL;
}

void tree_release(struct tree *t)
{
	free(t->nodes);
	memset(t, 0, sizeof(*t));
}
