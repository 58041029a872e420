/* SPDX-License-Identifier: Apache-2.0 */
/* Views that are trees: the flame graph's, and a function's callers and callees. */
#include "server/api_view.h"
#include "server/jsonw.h"
#include "server/look.h"
#include "server/private.h"
#include "server/stacks.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"

#include <stdlib.h>
#include <string.h>

#define NODES 100000

void view_flame(const struct look *l, const struct request *q, struct jsonw *j, struct reply *r)
{
	const char *direction = request_param(q, "direction");
	bool leaf = direction && !strcmp(direction, "leaf"), lines = false;
	_cleanup_free_ struct leaf_value *values = NULL;
	struct tree_builder t;
	struct frames f;
	int64_t most = NODES;
	struct seep_error *err;

	if (direction && !leaf && strcmp(direction, "root") != 0) {
		reply_bad_param(r, "direction", "root or leaf");
		return;
	}
	if (!request_int(q, "most", 1, SERVER_NODES, &most, r) ||
	    !request_bool(q, "lines", &lines, r))
		return;
	err = stacks_values(l, &values);
	if (!err)
		err = stacks_frames_init(&f, l->v);
	if (err) {
		reply_fail(r, err);
		return;
	}
	grow_init(&t, l, lines, FRAMES_NO_LOCATION);
	grow_all(&t, values, leaf);
	grow_finish(&t, (size_t)most);
	jw_object(j, NULL);
	look_put_about(l, j);
	grow_put(&t, &f, l->shows_diff, j, "nodes");
	stacks_put_frames(&f, j);
	jw_object(j, "cut");
	jw_u64(j, "nodes", t.cut_nodes);
	jw_u64(j, "value", t.cut_value);
	jw_object_end(j);
	jw_object_end(j);
	grow_release(&t);
	stacks_frames_release(&f);
}

/* ---- one function ------------------------------------------------------------------------------------------ */

struct function_trees {
	const struct view *v;
	struct tree_builder callers, callees;
	uint32_t *outermost; /* by node of the view: the function's outermost call at or above it; 0 none */
	uint32_t *path;
	struct leaf_value self, total;
};

static bool is_function(const struct view *v, uint32_t location, const char *name,
                        const char *module)
{
	const struct view_location *l = &v->locations[location];
	const char *path = l->module == PROF_NO_MODULE ? "" : v->profile->modules[l->module].path;

	return l->function && !strcmp(l->function, name) && (!module || !strcmp(path, module));
}

static void add_stack(struct function_trees *t, uint32_t node, const struct leaf_value *v)
{
	uint32_t top = t->outermost[node], at = 0;
	size_t depth = 0;

	for (uint32_t n = t->v->nodes[top].parent; n; n = t->v->nodes[n].parent)
		at = grow_child(&t->callers, at, t->v->nodes[n].location, v);
	grow_add(&t->callers, at, v);
	for (uint32_t n = node; n != top; n = t->v->nodes[n].parent)
		t->path[depth++] = n;
	for (at = 0; depth;)
		at = grow_child(&t->callees, at, t->v->nodes[t->path[--depth]].location, v);
	grow_add(&t->callees, at, v);
	t->total.value = prof_add(t->total.value, v->value);
	t->total.base = prof_add(t->total.base, v->base);
}

/* The location that stands for it in both trees; FRAMES_NO_LOCATION: it is in no stack. */
static uint32_t fill(struct function_trees *t, const struct leaf_value *values, const char *name,
                     const char *module)
{
	const struct view *v = t->v;
	uint32_t location = FRAMES_NO_LOCATION;

	for (size_t i = 1; i < v->nnodes; i++) {
		uint32_t above = t->outermost[v->nodes[i].parent];
		bool here = is_function(v, v->nodes[i].location, name, module);

		t->outermost[i] = above ? above : here ? (uint32_t)i : 0;
		if (here && location == FRAMES_NO_LOCATION)
			location = v->nodes[i].location;
		if (!t->outermost[i] || (!values[i].value && !values[i].base))
			continue;
		add_stack(t, (uint32_t)i, &values[i]);
		if (here) {
			t->self.value = prof_add(t->self.value, values[i].value);
			t->self.base = prof_add(t->self.base, values[i].base);
		}
	}
	if (!t->callers.failed && !t->callees.failed)
		t->callers.nodes[0].location = t->callees.nodes[0].location = location;
	return location;
}

static void put_number(struct jsonw *j, const char *key, uint64_t v, bool given)
{
	jw_int(j, key, given ? (int64_t)v : STORE_NONE);
}

static void put_function(const struct look *l, struct function_trees *t, uint32_t location,
                         struct frames *f, const char *name, struct jsonw *j)
{
	const struct view_location *at = &l->v->locations[location];

	jw_object(j, NULL);
	look_put_about(l, j);
	jw_string(j, "function", name);
	jw_string(j, "module",
	          at->module == PROF_NO_MODULE ? NULL : l->v->profile->modules[at->module].path);
	jw_u64(j, "self", t->self.value);
	jw_u64(j, "total", t->total.value);
	put_number(j, "self_base", t->self.base, l->shows_diff);
	put_number(j, "total_base", t->total.base, l->shows_diff);
	grow_put(&t->callers, f, l->shows_diff, j, "callers");
	grow_put(&t->callees, f, l->shows_diff, j, "callees");
	stacks_put_frames(f, j);
	jw_object_end(j);
}

void view_function(const struct look *l, const struct request *q, struct jsonw *j, struct reply *r)
{
	const char *name = request_param(q, "function"), *module = request_param(q, "in");
	struct function_trees t = { .v = l->v };
	_cleanup_free_ struct leaf_value *values = NULL;
	int64_t most = NODES;
	struct seep_error *err;
	struct frames f = { 0 };
	uint32_t location;

	if (!name) {
		reply_bad_param(r, "function", "the name of one");
		return;
	}
	if (!request_int(q, "most", 1, SERVER_NODES, &most, r))
		return;
	err = stacks_values(l, &values);
	if (!err)
		err = stacks_frames_init(&f, l->v);
	t.outermost = calloc(l->v->nnodes + 1, sizeof(*t.outermost));
	t.path = calloc(l->v->nnodes + 1, sizeof(*t.path));
	if (!err && (!t.outermost || !t.path))
		err = &seep_error_nomem;
	if (err) {
		reply_fail(r, err);
	} else {
		grow_init(&t.callers, l, false, FRAMES_NO_LOCATION);
		grow_init(&t.callees, l, false, FRAMES_NO_LOCATION);
		location = fill(&t, values, name, module);
		grow_finish(&t.callers, (size_t)most);
		grow_finish(&t.callees, (size_t)most);
		if (location == FRAMES_NO_LOCATION)
			reply_error(r, 404, "not_found", NULL,
			            "no stack has a function of that name");
		else
			put_function(l, &t, location, &f, name, j);
	}
	grow_release(&t.callers);
	grow_release(&t.callees);
	stacks_frames_release(&f);
	free(t.outermost);
	free(t.path);
}
