/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why is this block still there?  A chain of pointers from a root to it, told with names: the
 * variable or thread where it begins, and for every block on the way who allocated it and at which offset
 * the next pointer lies.  The offset is what finds the member in the source.
 */
#include "analysis/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/check_private.h"
#include "analysis/names.h"
#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "proc/image.h"
#include "profile/profile.h"
#include "sym/data.h"
#include "sym/sym.h"

struct teller {
	const struct check_options *opts;
	const struct check_input *in;
	struct view *view; /* NULL without a ledger */
	struct buf *out;
};

/* ---- names ---------------------------------------------------------------------------- */

/* "cache+0x18 of redis-server", or where in the module it is. */
static void name_data(struct teller *t, const struct image_module *m, uint64_t addr)
{
	struct sym_options so = { .debug_dirs = t->opts->debug_dirs,
		                  .pid = t->in->img->kind == IMAGE_CORE ? 0 : t->in->img->pid };
	struct prof_module pm = { .path = (char *)m->path,
		                  .start = m->start,
		                  .end = m->end,
		                  .bias = m->bias,
		                  .build_id_len = m->build_id_len };
	_cleanup_data_symbols_ struct data_symbols *d = NULL;
	struct data_symbol s;
	struct seep_error *err;

	memcpy(pm.build_id, m->build_id, sizeof(pm.build_id));
	err = data_symbols_open(&so, &pm, &d);
	seep_error_free(err); /* a name is nice to have */
	if (!err && d && data_symbols_find(d, addr, &s)) {
		buf_printf(t->out, "variable %s", s.name);
		if (addr != s.start)
			buf_printf(t->out, "+%#" PRIx64, addr - s.start);
		buf_printf(t->out, " of %s", path_base(m->path));
	} else {
		buf_printf(t->out, "data of %s at %#" PRIx64, path_base(m->path), addr - m->bias);
	}
}

static void name_thread(struct teller *t, int32_t tid)
{
	const struct image *img = t->in->img;

	buf_printf(t->out, "thread %d", (int)tid);
	for (size_t i = 0; i < img->nthreads; i++)
		if (img->threads[i].tid == tid && img->threads[i].name[0])
			buf_printf(t->out, " (%.16s)", img->threads[i].name);
}

static void name_root(struct teller *t, const struct root *r, uint64_t from)
{
	const struct image_module *m = from ? image_module_of(t->in->img, from) : NULL;

	switch (r->kind) {
	case ROOT_DATA:
		if (m)
			name_data(t, m, from);
		else
			buf_printf(t->out, "data of %s", path_base(r->name));
		return;
	case ROOT_REGISTER:
		buf_puts(t->out, "a register of ");
		name_thread(t, r->tid);
		return;
	case ROOT_STACK:
		buf_puts(t->out, "the stack of ");
		name_thread(t, r->tid);
		break;
	case ROOT_TLS:
	case ROOT_DYNAMIC_TLS:
		buf_puts(t->out, "a thread-local variable of ");
		name_thread(t, r->tid);
		break;
	case ROOT_MAPPING:
		buf_printf(t->out, "memory the program mapped%s%s", *r->name ? ", " : "", r->name);
		break;
	case ROOT_REGION:
		buf_puts(t->out, "a region the program registered");
		break;
	case ROOT_IGNORED:
	case ROOT_NKINDS:
		buf_puts(t->out, "a block the program asked to ignore");
		return;
	}
	buf_printf(t->out, ", at %#" PRIx64, from);
}

/* "block of 72 bytes at 0x…, allocated by make_node (list.c:20)" */
static void name_block(struct teller *t, const struct block *b)
{
	const struct view_location *l;
	uint32_t node, culprit;

	buf_printf(t->out, "block of %" PRIu64 " bytes at %#" PRIx64, (uint64_t)b->size,
	           (uint64_t)b->address);
	if (!t->view || !b->site || b->site >= t->view->profile->nsites)
		return;
	node = t->view->site_node[b->site];
	if (node == VIEW_DROPPED || !node)
		return;
	culprit = view_culprit(t->view, node);
	l = &t->view->locations[t->view->nodes[culprit ? culprit : node].location];
	if (l->function)
		buf_printf(t->out, ", allocated by %s", l->function);
	if (l->file)
		buf_printf(t->out, " (%s:%u)", path_base(l->file), l->line);
}

static const char *heuristic_words(unsigned int h)
{
	switch (h) {
	case REACH_STDSTRING:
		return ", which is how a std::string is held";
	case REACH_LENGTH64:
		return ", behind its length";
	case REACH_NEWARRAY:
		return ", as new[] of objects with destructors gives";
	case REACH_MULTIPLE_INHERITANCE:
		return ", as a pointer to a base class is";
	default:
		return "";
	}
}

/* ---- the chain ------------------------------------------------------------------------------ */

static void tell_pointer(struct teller *t, const struct reach_step *s)
{
	const struct block *b = &t->in->heap->blocks[s->block];

	if (s->interior)
		buf_printf(t->out, " points %" PRIu64 " bytes into%s\n", s->to - b->address,
		           heuristic_words(s->heuristic));
	else
		buf_puts(t->out, " points to\n");
}

static void tell_path(struct teller *t, const struct reach_path *p)
{
	const struct block *blocks = t->in->heap->blocks;

	for (size_t i = 0; i < p->nsteps; i++) {
		const struct reach_step *s = &p->steps[i];

		if (!i && p->root) {
			buf_puts(t->out, "  ");
			name_root(t, p->root, s->from);
			tell_pointer(t, s);
		} else if (i) {
			const struct block *holder = &blocks[p->steps[i - 1].block];

			buf_printf(t->out, "    which at +%" PRIu64, s->from - holder->address);
			tell_pointer(t, s);
		}
		buf_puts(t->out, "  ");
		name_block(t, &blocks[s->block]);
		buf_puts(t->out, !i && p->internal ? ", which is the C library's own\n" : "\n");
	}
}

static const char *class_words(enum reach_class class)
{
	switch (class) {
	case REACH_REACHABLE:
		return "reachable";
	case REACH_POSSIBLE:
		return "possibly lost: pointers lead into it, none to its start";
	case REACH_INDIRECT:
		return "lost: only lost blocks point to it";
	case REACH_DEFINITE:
		return "lost: nothing points to it";
	default:
		return "lost, and suppressed";
	}
}

static const char *hit_words(const struct reach_hit *h)
{
	switch (h->how) {
	case REACH_HIT_UNALIGNED:
		return "a pointer that is not aligned (--unaligned finds it)";
	case REACH_HIT_TOP_BITS:
		return "a pointer with a tag in its upper bits (--pointer-mask=0000ffffffffffff finds it)";
	case REACH_HIT_LOW_BITS:
		return "a pointer with a tag in its lower bits (--pointer-mask=fffffffffffffff8 finds it)";
	case REACH_HIT_PACKED:
		return "a pointer packed into the upper 48 bits of a word";
	case REACH_HIT_END:
		return "a pointer just past its end";
	}
	return "a pointer";
}

static struct seep_error *explain(struct teller *t, uint64_t addr)
{
	struct reach_hit hits[16];
	size_t n = 0;
	const struct heap *h = t->in->heap;
	struct seep_error *err = reach_explain(t->in->img, h->blocks, h->nblocks, t->in->roots.items,
	                                       t->in->roots.n, addr, hits, ARRAY_SIZE(hits), &n);

	if (err)
		return err;
	if (!n)
		buf_puts(t->out,
		         "Nothing that could be a pointer to it was found, aligned or not, tagged or "
		         "not.\n");
	for (size_t i = 0; i < n; i++) {
		const struct reach_hit *hit = &hits[i];

		buf_printf(t->out, "  %s: ", hit_words(hit));
		if (hit->root)
			name_root(t, hit->root, hit->from);
		else
			name_block(t, &h->blocks[hit->block]);
		buf_printf(t->out, ", word %#" PRIx64 " at %#" PRIx64 "\n", hit->word, hit->from);
	}
	return NULL;
}

struct seep_error *check_why(struct image *img, const struct check_options *opts, uint64_t addr,
                             bool with_explanation, struct buf *out)
{
	struct check_input in = { 0 };
	struct reach_path path = { 0 };
	struct reach_options ro = opts->reach;
	_cleanup_reach_ struct reach *reach = NULL;
	_cleanup_view_ struct view *view = NULL;
	struct view_options vo = { 0 };
	struct teller t = { .opts = opts, .in = &in, .out = out };
	const struct block *b = NULL;
	int64_t at = -1;
	struct seep_error *err = check_input_make(img, opts, &in);

	if (!err) {
		at = block_find(in.heap->blocks, in.heap->nblocks, addr);
		if (at < 0)
			err = seep_error_hint(
				seep_error_new(0, "no block is in use at %#" PRIx64, addr),
				"The records of a check list addresses of their blocks.");
	}
	if (!err && in.profile && !opts->no_symbols)
		err = check_symbolize(img, opts, in.profile, NULL);
	if (!err && in.profile)
		err = view_new(in.profile, &vo, &view);
	if (!err)
		err = reach_run(img, in.heap->blocks, in.heap->nblocks, in.roots.items, in.roots.n,
		                &ro, &reach);
	if (!err)
		err = reach_why(img, in.heap->blocks, in.heap->nblocks, in.roots.items, in.roots.n,
		                &ro, addr, &path);
	if (!err) {
		t.view = view;
		b = &in.heap->blocks[at];
		name_block(&t, b);
		buf_printf(out, "\nis %s.\n\n", class_words(block_class(b)));
		tell_path(&t, &path);
		if (!path.root && !path.internal && path.nsteps < 2)
			buf_puts(out, "  (no block and no root holds a pointer to it)\n");
		if (with_explanation && !path.root && !path.internal)
			err = explain(&t, addr);
		if (!err && out->failed)
			err = &seep_error_nomem;
	}
	reach_path_release(&path);
	check_input_release(&in);
	return err;
}
