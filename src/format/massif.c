/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profile → massif.out, for ms_print and massif-visualizer.
 *
 * The timeline becomes the snapshots (thinned: ms_print prints every one); two have a tree, the one at the
 * peak and the last.  A tree begins at the functions that allocate: the sites' stacks, leaf first, are laid
 * over each other, bytes summed on the way, largest child first.  Nothing is left out as below a threshold;
 * ms_print has one of its own.  Levels indent, so a stack of n lines takes n² bytes: beyond MAX_LEVELS the
 * outer callers are left off.
 *
 *     nodes    [0 root]─first→[leaf a]─next→[leaf b]
 *                               └first→[caller]…
 */
#include "format/massif.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LEVELS 512
#define MAX_SNAPSHOTS 1000

struct node {
	struct stack_line line;
	uint64_t bytes;
	uint32_t parent, nchildren;
};

struct tree {
	const struct profile *p;
	struct node *nodes;
	size_t n, cap;
	struct idmap index;
	uint32_t *order; /* children of a node lie together, largest first: order[first[node]…] */
	uint32_t *first;
};

/* ---- building ---------------------------------------------------------------------------- */

static bool same_line(const struct profile *p, const struct stack_line *a,
                      const struct stack_line *b)
{
	const struct prof_frame *f = &p->frames[a->frame], *g = &p->frames[b->frame];

	return a->line == b->line && f->pc == g->pc && f->module == g->module;
}

/* The child of `parent` for this line, with its bytes added; UINT32_MAX: no memory. */
static uint32_t add_node(struct tree *t, uint32_t parent, const struct stack_line *l, uint64_t bytes)
{
	const struct prof_frame *f = &t->p->frames[l->frame];
	uint64_t hash = hash_mix(hash_mix(parent, f->pc), (uintptr_t)l->line);
	size_t pos = idmap_first(&t->index, hash);
	struct node *n;
	uint32_t id;

	while (idmap_get(&t->index, &pos, hash, &id)) {
		n = &t->nodes[id];
		if (n->parent == parent && same_line(t->p, &n->line, l)) {
			if (__builtin_add_overflow(n->bytes, bytes, &n->bytes))
				n->bytes = UINT64_MAX;
			return id;
		}
	}
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 1024;

		n = cap < UINT32_MAX ? reallocarray(t->nodes, cap, sizeof(*n)) : NULL;
		if (!n)
			return UINT32_MAX;
		t->nodes = n;
		t->cap = cap;
	}
	id = (uint32_t)t->n;
	if (idmap_add(&t->index, hash, id) < 0)
		return UINT32_MAX;
	t->nodes[t->n++] = (struct node){ .line = *l, .bytes = bytes, .parent = parent };
	if (id)
		t->nodes[parent].nchildren++;
	return id;
}

static int add_site(struct tree *t, uint32_t stack, uint64_t bytes, struct stack_lines *lines)
{
	uint32_t node = 0;

	if (stack_lines(t->p, stack, lines) < 0)
		return -1;
	if (__builtin_add_overflow(t->nodes[0].bytes, bytes, &t->nodes[0].bytes))
		t->nodes[0].bytes = UINT64_MAX;
	for (size_t k = 0; k < lines->n && k < MAX_LEVELS; k++) {
		node = add_node(t, node, &lines->lines[k], bytes);
		if (node == UINT32_MAX)
			return -1;
	}
	return 0;
}

static int by_parent_and_bytes(const void *a, const void *b, void *arg)
{
	const struct node *nodes = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;

	if (nodes[i].parent != nodes[j].parent)
		return nodes[i].parent < nodes[j].parent ? -1 : 1;
	if (nodes[i].bytes != nodes[j].bytes)
		return nodes[i].bytes > nodes[j].bytes ? -1 : 1;
	return i < j ? -1 : 1;
}

static int sort_tree(struct tree *t)
{
	uint32_t at = 0;

	t->order = calloc(t->n + 1, sizeof(*t->order));
	t->first = calloc(t->n + 1, sizeof(*t->first));
	if (!t->order || !t->first)
		return -1;
	for (size_t i = 1; i < t->n; i++)
		t->order[i - 1] = (uint32_t)i;
	if (t->n > 1)
		qsort_r(t->order, t->n - 1, sizeof(*t->order), by_parent_and_bytes, t->nodes);
	/* parents in order[] ascend, so each node's children begin where those of the nodes before it end */
	for (size_t i = 0; i < t->n; i++) {
		t->first[i] = at;
		at += t->nodes[i].nchildren;
	}
	return 0;
}

/* The value of the sites at the peak, or in use. */
static int build_tree(struct tree *t, const struct profile *p, const struct format_output *o,
                      bool peak)
{
	struct stack_lines lines = { 0 };
	int r = 0;

	*t = (struct tree){ .p = p };
	if (add_node(t, 0, &(struct stack_line){ .line = p->symbols[0].lines }, 0) == UINT32_MAX)
		return -1;
	idmap_release(&t->index); /* the root is nobody's child */
	for (size_t i = 0; i < p->nsites && !r; i++) {
		const struct prof_site *s = &p->sites[i];
		uint64_t bytes = peak ? s->peak.bytes : s->inuse.bytes;

		if (output_has(o, s) && bytes)
			r = add_site(t, s->stack, bytes, &lines);
	}
	stack_lines_release(&lines);
	return r < 0 ? -1 : sort_tree(t);
}

static void release_tree(struct tree *t)
{
	free(t->nodes);
	free(t->order);
	free(t->first);
	idmap_release(&t->index);
}

/* ---- writing ----------------------------------------------------------------------------- */

static void put_node(struct buf *out, const struct tree *t, uint32_t id, size_t level)
{
	static const char blanks[] =
		"                                                                ";
	const struct node *n = &t->nodes[id];
	const struct prof_frame *f = &t->p->frames[n->line.frame];
	const struct prof_line *l = n->line.line;

	for (size_t k = level; k;) {
		size_t part = k < sizeof(blanks) - 1 ? k : sizeof(blanks) - 1;

		buf_add(out, blanks, part);
		k -= part;
	}
	buf_putc(out, 'n');
	put_u64(out, n->nchildren);
	buf_puts(out, ": ");
	put_u64(out, n->bytes);
	buf_putc(out, ' ');
	if (!id) {
		buf_puts(out, MASSIF_ROOT "\n");
		return;
	}
	put_hex(out, f->pc);
	buf_puts(out, ": ");
	put_escaped(out, l->function ? l->function : "???", MASSIF_SPECIAL);
	if (l->file && l->line) {
		buf_puts(out, " (");
		put_escaped(out, l->file, MASSIF_SPECIAL);
		buf_printf(out, ":%u)", l->line);
	} else if (f->module != PROF_NO_MODULE && t->p->modules[f->module].path[0]) {
		buf_puts(out, " (in ");
		put_escaped(out, t->p->modules[f->module].path, MASSIF_SPECIAL);
		buf_putc(out, ')');
	}
	buf_putc(out, '\n');
}

static void put_tree(struct buf *out, const struct tree *t)
{
	uint32_t path[MAX_LEVELS + 1], next[MAX_LEVELS + 1];
	size_t level = 0;

	path[0] = 0;
	next[0] = 0;
	put_node(out, t, 0, 0);
	for (;;) {
		uint32_t node = path[level];

		if (next[level] < t->nodes[node].nchildren) {
			uint32_t child = t->order[t->first[node] + next[level]++];

			level++; /* never beyond MAX_LEVELS: add_site() stopped there */
			path[level] = child;
			next[level] = 0;
			put_node(out, t, child, level);
		} else if (!level--) {
			return;
		}
	}
}

static void put_snapshot(struct buf *out, uint64_t number, uint64_t time_ns, uint64_t bytes,
                         const char *tree)
{
	buf_printf(out,
	           MASSIF_RULE "\nsnapshot=%llu\n" MASSIF_RULE
	                       "\ntime=%llu\nmem_heap_B=%llu\nmem_heap_extra_B=0\nmem_stacks_B=0\n"
	                       "heap_tree=%s\n",
	           (unsigned long long)number, (unsigned long long)(time_ns / 1000000),
	           (unsigned long long)bytes, tree);
}

static void put_snapshots(struct buf *out, const struct profile *p, const struct tree *peak,
                          const struct tree *end)
{
	size_t stride = (p->npoints + MAX_SNAPSHOTS - 1) / MAX_SNAPSHOTS;
	uint64_t number = 0, last = p->duration_ns;
	bool at_peak = peak->nodes[0].bytes > 0;

	stride = stride ? stride : 1;
	for (size_t i = 0; i < p->npoints; i += stride) {
		const struct prof_point *t = &p->points[i];

		if (at_peak && t->time >= p->peak_time) {
			put_snapshot(out, number++, p->peak_time, peak->nodes[0].bytes, "peak");
			put_tree(out, peak);
			at_peak = false;
			if (t->time == p->peak_time)
				continue;
		}
		put_snapshot(out, number++, t->time, t->inuse, "empty");
		last = t->time > last ? t->time : last;
	}
	if (at_peak) {
		put_snapshot(out, number++, p->peak_time, peak->nodes[0].bytes, "peak");
		put_tree(out, peak);
		last = p->peak_time > last ? p->peak_time : last;
	}
	put_snapshot(out, number, last, end->nodes[0].bytes, "detailed");
	put_tree(out, end);
}

static struct seep_error *massif_write(const struct profile *p, const struct format_output *o,
                                       struct buf *out)
{
	struct tree peak = { 0 }, end = { 0 };
	int r = build_tree(&peak, p, o, true);

	if (!r)
		r = build_tree(&end, p, o, false);
	if (!r) {
		buf_puts(out, "desc: seep " SEEP_VERSION "\ncmd: ");
		put_escaped(out, p->command ? p->command : "", MASSIF_SPECIAL);
		buf_puts(out, "\ntime_unit: ms\n");
		put_snapshots(out, p, &peak, &end);
	}
	release_tree(&peak);
	release_tree(&end);
	return r < 0 ? &seep_error_nomem : NULL;
}

static int probe(const uint8_t *head, size_t len)
{
	if (!head || len < 5 || memcmp(head, "desc:", 5) != 0)
		return 0;
	return memmem(head, len, "\ntime_unit: ", 12) ? 95
	       : memmem(head, len, "\ncmd:", 5)       ? 40
	                                              : 0;
}

const struct format format_massif = {
	.name = "massif",
	.title = "massif.out",
	.suffixes = ".massif massif.out",
	.values = FORMAT_INUSE_BYTES | FORMAT_PEAK_BYTES,
	.names = true,
	.probe = probe,
	.read = massif_read,
	.write = massif_write,
};
