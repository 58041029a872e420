/* SPDX-License-Identifier: Apache-2.0 */
/*
 * massif.out → profile.
 *
 * A file is a series of snapshots; some have a tree, from the function that allocated outwards:
 *
 *     n2: 14608 (heap allocation functions) malloc/new/new[], --alloc-fns, etc.
 *      n1: 10000 0x109161: leaky (t.c:4)
 *       n0: 10000 0x109193: main (t.c:6)
 *      n0: 4608 in 3 places, all below massif's threshold (1.00%)
 *
 * The path from a node to the root of the tree is thus a stack, leaf first, and what a node holds more than
 * its children do belongs to the stack that ends there: a leaf of the tree holds all of its own.  "Below
 * threshold" says that the callers were not written down: a stack cut short.
 *
 * All snapshots together are the timeline.  The peak's tree gives the sites' peak values, the last tree
 * what is in use; when later snapshots have none, a warning says of which one it is.
 */
#include "format/massif.h"

#include "format/builder.h"
#include "format/stream.h"
#include "format/text.h"
#include "format/trace.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 4096

struct node {
	struct trace_frame frame;
	uint64_t rest;     /* bytes that no child has claimed */
	uint64_t children; /* that are still to come */
	bool below;        /* not a frame: the sum of what was too small to be shown */
};

/* Which tree a site's values are of: trees are numbered from 1. */
struct stamp {
	uint32_t inuse, peak;
};

enum tree { TREE_EMPTY, TREE_DETAILED, TREE_PEAK };

struct reader {
	struct builder b;
	struct format_input *in;
	struct node path[MAX_DEPTH + 1]; /* [0] is the root of the tree */
	size_t depth;                    /* nodes in path */
	struct trace trace;
	struct stamp *stamps; /* by site */
	size_t cap_stamps;
	uint32_t trees, peak_tree;
	uint64_t snapshot, tree_snapshot, last_bytes, unit_ns;
	struct prof_point point;
	bool any, unfinished, peak, incomplete;
};

/* ---- trees ---------------------------------------------------------------------------- */

static struct stamp *stamp_of(struct reader *r, uint32_t site)
{
	if (site >= r->cap_stamps) {
		size_t cap = r->cap_stamps ? r->cap_stamps * 2 : 256;
		struct stamp *s;

		while (cap <= site)
			cap *= 2;
		s = reallocarray(r->stamps, cap, sizeof(*s));
		if (!s) {
			r->b.failed = true;
			return NULL;
		}
		memset(s + r->cap_stamps, 0, (cap - r->cap_stamps) * sizeof(*s));
		r->stamps = s;
		r->cap_stamps = cap;
	}
	return &r->stamps[site];
}

/* The stack at the end of the path gets what is left of its node. */
static void add_rest(struct reader *r)
{
	const struct node *last = &r->path[r->depth - 1];
	struct prof_value v = { .bytes = last->rest };
	struct prof_site *s;
	struct stamp *stamp;

	r->trace.n = 0;
	for (size_t i = 1; i < r->depth; i++)
		if (!r->path[i].below)
			trace_add(&r->b, &r->trace, &r->path[i].frame);
	s = builder_site(&r->b, trace_stack(&r->b, &r->trace, NULL), PROF_HEAP);
	stamp = s ? stamp_of(r, builder_site_number(&r->b, s)) : NULL;
	if (!stamp)
		return;
	s->cut_depth |= last->below;
	if (stamp->inuse != r->trees) {
		stamp->inuse = r->trees;
		s->inuse = (struct prof_value){ 0 };
	}
	prof_value_add(&s->inuse, &v);
	if (!r->peak)
		return;
	if (stamp->peak != r->trees) {
		stamp->peak = r->trees;
		s->peak = (struct prof_value){ 0 };
	}
	prof_value_add(&s->peak, &v);
}

static void pop_to(struct reader *r, size_t depth)
{
	for (; r->depth > depth; r->depth--) {
		if (r->path[r->depth - 1].rest)
			add_rest(r);
		r->incomplete |= r->path[r->depth - 1].children > 0;
	}
}

/* " n1: 10000 0x109161: leaky (t.c:4)"; false: it is no node, or one in a place where none can be. */
static bool take_node(struct reader *r, char *line)
{
	struct node n = { 0 };
	char *p = line;
	uint64_t bytes;
	size_t depth;

	while (*p == ' ')
		p++;
	depth = (size_t)(p - line);
	if (!text_take(&p, "n") || !text_u64(&p, &n.children) || !text_take(&p, ": ") ||
	    !text_u64(&p, &bytes) || !text_take(&p, " "))
		return false;
	if (depth > r->depth || depth >= MAX_DEPTH || (depth == 0 && r->depth))
		return false;
	n.rest = bytes;
	if (depth) {
		unescape(p, MASSIF_SPECIAL);
		n.below = !strncmp(p, "in ", 3);
		if (!n.below && !trace_valgrind(&r->b, p, &n.frame)) {
			/* massif's own words, such as what --pages-as-heap puts on top */
			n.frame = (struct trace_frame){ .module = PROF_NO_MODULE };
			n.frame.symbol = builder_name(&r->b, p, NULL, 0);
		}
		pop_to(r, depth);
		r->path[depth - 1].rest -=
			bytes < r->path[depth - 1].rest ? bytes : r->path[depth - 1].rest;
		r->path[depth - 1].children -= r->path[depth - 1].children > 0;
	}
	r->path[depth] = n;
	r->depth = depth + 1;
	return true;
}

static void begin_tree(struct reader *r, enum tree kind)
{
	pop_to(r, 0);
	if (kind == TREE_EMPTY)
		return;
	r->trees++;
	r->tree_snapshot = r->snapshot;
	r->peak = kind == TREE_PEAK;
	if (r->peak) {
		r->peak_tree = r->trees;
		r->b.p->peak_bytes = r->point.inuse;
		r->b.p->peak_time = r->point.time;
	}
}

/* Sites of earlier trees hold nothing in the one that counts. */
static void clear_stale(struct reader *r)
{
	for (size_t i = 0; i < r->b.p->nsites; i++) {
		struct stamp *s = stamp_of(r, (uint32_t)i);

		if (!s)
			return;
		if (s->inuse != r->trees)
			r->b.p->sites[i].inuse = (struct prof_value){ 0 };
		if (s->peak != r->peak_tree)
			r->b.p->sites[i].peak = (struct prof_value){ 0 };
	}
}

/* ---- lines ---------------------------------------------------------------------------- */

static bool take_head(struct reader *r, char *p)
{
	if (text_take(&p, "cmd: ")) {
		unescape(p, MASSIF_SPECIAL);
		builder_string(&r->b, &r->b.p->command, p);
		return true;
	}
	if (text_take(&p, "time_unit: ")) {
		r->unit_ns = !strcmp(p, "ms") ? 1000000 : 1;
		if (strcmp(p, "ms") != 0)
			format_warn(r->in,
			            "%s counts time in %s; the timeline shows one as a nanosecond",
			            r->in->path, *p == 'B' ? "allocated bytes" : "instructions");
		return true;
	}
	return text_take(&p, "desc:") || text_take(&p, "cmd:");
}

static bool take_value(struct reader *r, char *p)
{
	uint64_t v;

	if (text_take(&p, "snapshot=")) {
		pop_to(r, 0);
		r->point = (struct prof_point){ 0 };
		return text_u64(&p, &r->snapshot);
	}
	if (text_take(&p, "time="))
		return text_u64(&p, &v) && !__builtin_mul_overflow(v, r->unit_ns, &r->point.time);
	if (text_take(&p, "mem_heap_B="))
		return text_u64(&p, &r->point.inuse);
	if (text_take(&p, "mem_heap_extra_B=") || text_take(&p, "mem_stacks_B="))
		return text_u64(&p, &v);
	if (!text_take(&p, "heap_tree="))
		return false;
	r->any = true;
	r->unfinished = strcmp(p, "empty") != 0; /* then its tree is to come */
	r->last_bytes = r->point.inuse;
	builder_point(&r->b, &r->point);
	if (r->point.inuse > r->b.p->peak_bytes && !r->peak_tree) {
		r->b.p->peak_bytes = r->point.inuse;
		r->b.p->peak_time = r->point.time;
	}
	if (r->point.time > r->b.p->duration_ns)
		r->b.p->duration_ns = r->point.time;
	begin_tree(r, !strcmp(p, "peak")       ? TREE_PEAK
	              : !strcmp(p, "detailed") ? TREE_DETAILED
	                                       : TREE_EMPTY);
	return true;
}

static bool take_line(struct reader *r, char *line)
{
	if (!line[0])
		return true;
	if (line[0] == '#') { /* each snapshot begins with two of them */
		r->unfinished = true;
		return true;
	}
	if (line[0] == ' ' || (line[0] == 'n' && line[1] >= '0' && line[1] <= '9')) {
		r->unfinished = false;
		return r->trees && take_node(r, line);
	}
	return take_value(r, line) || take_head(r, line);
}

static struct seep_error *read_all(struct reader *r, struct profile **ret_profile)
{
	struct seep_error *err = builder_init(&r->b, r->in, "massif");
	struct format_input *in = r->in;
	char *line;
	size_t len;

	if (err)
		return err;
	while ((line = stream_line(in->stream, &len)) && !r->b.failed) {
		unsigned long long number = stream_number(in->stream);

		if (stream_cut(in->stream)) {
			format_warn(in, "%s ends in the middle of line %llu", in->path, number);
			break;
		}
		if (!take_line(r, line))
			format_warn(in, "%s: line %llu makes no sense and was left out", in->path,
			            number);
	}
	pop_to(r, 0);
	if (r->unfinished && !stream_cut(in->stream))
		format_warn(in, "%s ends inside a snapshot, behind line %llu", in->path,
		            (unsigned long long)stream_number(in->stream));
	if (!r->any)
		return format_bad(in, "massif", "there is no snapshot in it");
	if (r->incomplete)
		format_warn(in, "%s: a tree ends before all its nodes, at or before line %llu",
		            in->path, (unsigned long long)stream_number(in->stream));
	if (!r->trees)
		format_warn(in, "%s has no snapshot with stacks", in->path);
	else if (r->tree_snapshot != r->snapshot)
		format_warn(
			in,
			"%s: what is in use is that of snapshot %llu; the last, %llu, has %llu bytes but no stacks",
			in->path, (unsigned long long)r->tree_snapshot,
			(unsigned long long)r->snapshot, (unsigned long long)r->last_bytes);
	clear_stale(r);
	return builder_finish(&r->b, ret_profile);
}

struct seep_error *massif_read(struct format_input *in, struct profile **ret_profile)
{
	struct reader *r = calloc(1, sizeof(*r)); /* the path is too large for the stack */
	struct seep_error *err;

	if (!r)
		return &seep_error_nomem;
	r->in = in;
	r->unit_ns = 1;
	err = read_all(r, ret_profile);
	free(r->trace.frames);
	free(r->stamps);
	builder_release(&r->b);
	free(r);
	return err;
}
