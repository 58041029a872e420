/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many profiles → one: the children of a run, or several runs of one program.
 *
 * Address-space layout differs from process to process, so nothing is matched by
 * address.  A module is its path and build-id; a frame is (caller, module,
 * address inside the file); a site is (stack, kind).  Each input is mapped into
 * the result index by index, in the order the model guarantees (parents before
 * children), with one hash look-up per module, frame and site: linear in the
 * size of the inputs.
 */
#include "profile/merge_times.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "base/large.h"

struct merge {
	struct profile *out;
	struct idmap modules, frames, sites;
	size_t cap_modules, cap_frames, cap_symbols, cap_sites, cap_cells, cap_threads, cap_blocks;
	/* Of the input at hand: old index → new index. */
	uint32_t *module_of, *frame_of, *symbol_of, *site_of, *thread_of;
	size_t nlifetimes[PROF_LIFE_BUCKETS]; /* sites that have a place there */
	uint64_t shift;                       /* ns from the merged start to this input's start */
};

#define GROW(m, what) ARRAY_GROW((m)->out, m, what)

/* ---- code: modules, symbols, frames ------------------------------------- */

static bool same_module(const struct prof_module *a, const struct prof_module *b)
{
	return a->build_id_len == b->build_id_len &&
	       !memcmp(a->build_id, b->build_id, a->build_id_len) && !strcmp(a->path, b->path);
}

static int merge_module(struct merge *m, const struct prof_module *mod, uint32_t *ret_id)
{
	uint64_t hash = hash_mix(hash_str(mod->path), hash_bytes(mod->build_id, mod->build_id_len));
	size_t pos = idmap_first(&m->modules, hash);
	struct prof_module *to;

	while (idmap_get(&m->modules, &pos, hash, ret_id))
		if (same_module(&m->out->modules[*ret_id], mod))
			return 0;
	*ret_id = (uint32_t)m->out->nmodules;
	if (GROW(m, modules) < 0 || idmap_add(&m->modules, hash, *ret_id) < 0)
		return -1;
	to = &m->out->modules[m->out->nmodules];
	*to = *mod;
	if (str_copy(&to->path, mod->path) < 0)
		return -1;
	m->out->nmodules++;
	return 0;
}

static int copy_symbol(struct merge *m, const struct prof_symbol *from, uint32_t *ret_id)
{
	if (GROW(m, symbols) < 0)
		return -1;
	*ret_id = (uint32_t)m->out->nsymbols++;
	return prof_symbol_copy(&m->out->symbols[*ret_id], from);
}

/* symbol_of[] is filled on demand: only the symbols of frames that are new here are copied. */
static int merge_frame(struct merge *m, const struct profile *in, size_t i)
{
	const struct prof_frame *f = &in->frames[i];
	uint32_t parent = m->frame_of[f->parent], module = PROF_NO_MODULE;
	uint64_t pc = f->pc, hash;
	struct prof_frame *to;
	uint32_t id;
	size_t pos;

	if (f->module != PROF_NO_MODULE) {
		module = m->module_of[f->module];
		pc = pc - in->modules[f->module].bias + m->out->modules[module].bias;
	}
	hash = hash_mix(hash_mix(parent, module), pc);
	pos = idmap_first(&m->frames, hash);
	while (idmap_get(&m->frames, &pos, hash, &id)) {
		to = &m->out->frames[id];
		if (to->pc == pc && to->parent == parent && to->module == module) {
			m->frame_of[i] = id;
			if (to->symbol || !f->symbol)
				return 0;
			goto symbol; /* the earlier input was not symbolized, this one is */
		}
	}
	id = (uint32_t)m->out->nframes;
	if (id >= UINT32_MAX - 1 || GROW(m, frames) < 0 || idmap_add(&m->frames, hash, id) < 0)
		return -1;
	to = &m->out->frames[m->out->nframes++];
	*to = (struct prof_frame){ .pc = pc, .parent = parent, .module = module };
	m->frame_of[i] = id;
	if (!f->symbol)
		return 0;
symbol:
	if (!m->symbol_of[f->symbol] &&
	    copy_symbol(m, &in->symbols[f->symbol], &m->symbol_of[f->symbol]) < 0)
		return -1;
	m->out->frames[id].symbol = m->symbol_of[f->symbol];
	return 0;
}

/* ---- what happened there: sites, threads, cells, blocks ------------------ */

static int merge_site(struct merge *m, const struct prof_site *s, uint32_t *ret_id)
{
	uint32_t stack = m->frame_of[s->stack];
	uint64_t hash = hash_mix(stack, s->kind), born = prof_add(s->born, m->shift);
	uint64_t oldest = s->oldest == UINT64_MAX ? UINT64_MAX : prof_add(s->oldest, m->shift);
	size_t pos = idmap_first(&m->sites, hash);
	struct prof_site *to;

	while (idmap_get(&m->sites, &pos, hash, ret_id)) {
		to = &m->out->sites[*ret_id];
		if (to->stack == stack && to->kind == s->kind)
			goto add;
	}
	*ret_id = (uint32_t)m->out->nsites;
	if (GROW(m, sites) < 0 || idmap_add(&m->sites, hash, *ret_id) < 0)
		return -1;
	to = &m->out->sites[m->out->nsites++];
	*to = (struct prof_site){
		.stack = stack, .kind = s->kind, .born = UINT64_MAX, .oldest = UINT64_MAX
	};
add:
	to->cut_depth |= s->cut_depth;
	to->cut_no_cfi |= s->cut_no_cfi;
	to->born = born < to->born ? born : to->born;
	to->oldest = oldest < to->oldest ? oldest : to->oldest;
	prof_value_add(&to->alloc, &s->alloc);
	prof_value_add(&to->freed, &s->freed);
	prof_value_add(&to->inuse, &s->inuse);
	prof_value_add(&to->peak, &s->peak);
	to->samples = prof_add(to->samples, s->samples);
	to->inuse_samples = prof_add(to->inuse_samples, s->inuse_samples);
	return 0;
}

/* As many as there are sites. */
static int grow_lifetimes(struct merge *m, size_t bucket)
{
	size_t n = m->out->nsites, had = m->nlifetimes[bucket];
	uint64_t *p = m->out->lifetimes[bucket];

	if (p && n == had)
		return 0;
	p = large_resize(p, had * sizeof(*p), (n + 1) * sizeof(*p));
	if (!p)
		return -1;
	m->out->lifetimes[bucket] = p;
	memset(p + had, 0, (n - had) * sizeof(*p));
	m->nlifetimes[bucket] = n;
	return 0;
}

static int merge_lifetimes(struct merge *m, const struct profile *in)
{
	for (size_t b = 0; b < PROF_LIFE_BUCKETS; b++) {
		if (!in->lifetimes[b])
			continue;
		if (grow_lifetimes(m, b) < 0)
			return -1;
		for (size_t i = 0; i < in->nsites; i++) {
			uint64_t *to = &m->out->lifetimes[b][m->site_of[i]];

			*to = prof_add(*to, in->lifetimes[b][i]);
		}
	}
	return 0;
}

static int merge_threads(struct merge *m, const struct profile *in)
{
	/* Index 0 is "unknown" everywhere: one for all. */
	for (size_t i = m->out->nthreads ? 1 : 0; i < in->nthreads; i++) {
		struct prof_thread *to;

		m->thread_of[i] = (uint32_t)m->out->nthreads;
		if (GROW(m, threads) < 0)
			return -1;
		to = &m->out->threads[m->out->nthreads];
		*to = in->threads[i];
		to->born = prof_add(to->born, m->shift);
		to->died = to->died ? prof_add(to->died, m->shift) : 0;
		if (str_copy(&to->name, in->threads[i].name) < 0)
			return -1;
		m->out->nthreads++;
	}
	return 0;
}

static int merge_records(struct merge *m, const struct profile *in)
{
	for (size_t i = 0; i < in->ncells; i++) {
		const struct prof_cell *c = &in->cells[i];

		if (GROW(m, cells) < 0)
			return -1;
		m->out->cells[m->out->ncells++] =
			(struct prof_cell){ m->site_of[c->site], m->thread_of[c->thread], c->inuse };
	}
	for (size_t i = 0; i < in->nblocks; i++) {
		struct prof_block *to;

		if (GROW(m, blocks) < 0)
			return -1;
		to = &m->out->blocks[m->out->nblocks++];
		*to = in->blocks[i];
		to->born = prof_add(to->born, m->shift);
		to->site = m->site_of[to->site];
		to->thread = m->thread_of[to->thread];
	}
	return 0;
}

static int alloc_maps(struct merge *m, const struct profile *in)
{
	m->module_of = calloc(in->nmodules + 1, sizeof(uint32_t));
	m->frame_of = calloc(in->nframes + 1, sizeof(uint32_t));
	m->symbol_of = calloc(in->nsymbols + 1, sizeof(uint32_t));
	m->site_of = calloc(in->nsites + 1, sizeof(uint32_t));
	m->thread_of = calloc(in->nthreads + 1, sizeof(uint32_t));
	return m->module_of && m->frame_of && m->symbol_of && m->site_of && m->thread_of ? 0 : -1;
}

static void free_maps(struct merge *m)
{
	free(TAKE(m->module_of));
	free(TAKE(m->frame_of));
	free(TAKE(m->symbol_of));
	free(TAKE(m->site_of));
	free(TAKE(m->thread_of));
}

static int merge_arrays(struct merge *m, const struct profile *in)
{
	for (size_t i = 0; i < in->nmodules; i++)
		if (merge_module(m, &in->modules[i], &m->module_of[i]) < 0)
			return -1;
	for (size_t i = 1; i < in->nframes; i++)
		if (merge_frame(m, in, i) < 0)
			return -1;
	if (merge_threads(m, in) < 0)
		return -1;
	for (size_t i = 0; i < in->nsites; i++)
		if (merge_site(m, &in->sites[i], &m->site_of[i]) < 0)
			return -1;
	return merge_lifetimes(m, in) < 0 ? -1 : merge_records(m, in);
}

/* ---- the head ------------------------------------------------------------ */

static int join_sources(struct profile *out, struct profile *const *in, size_t n)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (i == 4 && n > 5) {
			buf_printf(&b, " and %zu more", n - i);
			break;
		}
		buf_printf(&b, "%s%s", i ? ", " : "", in[i]->source ? in[i]->source : "?");
	}
	if (b.failed)
		return -1;
	out->source = buf_steal(&b);
	return out->source ? 0 : -1;
}

static int merge_names(struct profile *out, struct profile *const *in, size_t n)
{
	size_t others = 0;
	int r = 0;

	for (size_t i = 1; i < n; i++)
		others += !str_same(in[i]->command, in[0]->command);
	if (!others)
		r |= str_copy(&out->command, in[0]->command);
	else if (asprintf(&out->command, "%s (and %zu other%s)",
	                  in[0]->command ? in[0]->command : "?", others, others > 1 ? "s" : "") < 0) {
		out->command = NULL;
		r = -1;
	}
	r |= str_copy(&out->exe, in[0]->exe);
	r |= str_copy(&out->allocator, in[0]->allocator);
	r |= str_copy(&out->format, n > 1 ? "merged" : in[0]->format);
	return r | join_sources(out, in, n);
}

static void merge_head(struct profile *out, const struct profile *in, uint64_t shift, bool first)
{
	uint64_t end = prof_add(in->duration_ns, shift);

	if (first) {
		out->pid = in->pid;
		out->ppid = in->ppid;
		out->exec_seq = in->exec_seq;
	}
	out->nmerged += in->nmerged ? in->nmerged : 1;
	out->sampled |= in->sampled;
	out->period = in->period > out->period ? in->period : out->period;
	out->bypassed |= in->bypassed;
	out->forked |= in->forked &&
	               first; /* what another inherited is its parent's, who is here too */
	out->attached |= in->attached;
	out->before_blocks = prof_add(out->before_blocks, in->before_blocks);
	out->before_bytes = prof_add(out->before_bytes, in->before_bytes);
	out->live |= in->live;
	out->killed |= in->killed;
	out->execed |= in->execed;
	out->detached |= in->detached;
	out->duration_ns = end > out->duration_ns ? end : out->duration_ns;
	out->tracker_ledger_bytes = prof_add(out->tracker_ledger_bytes, in->tracker_ledger_bytes);
	out->tracker_private_bytes = prof_add(out->tracker_private_bytes, in->tracker_private_bytes);
	out->unwinds_fast = prof_add(out->unwinds_fast, in->unwinds_fast);
	out->unwinds_slow = prof_add(out->unwinds_slow, in->unwinds_slow);
	for (size_t i = 0; i < PROF_NLOSSES; i++)
		out->losses.count[i] = prof_add(out->losses.count[i], in->losses.count[i]);
	out->losses.torn = prof_add(out->losses.torn, in->losses.torn);
	out->peak_bytes = prof_add(out->peak_bytes, in->peak_bytes);
	out->peak_copy_bytes = prof_add(out->peak_copy_bytes, in->peak_copy_bytes);
	for (size_t i = 0; i < PROF_SIZE_CLASSES; i++) {
		prof_value_add(&out->classes[i].alloc, &in->classes[i].alloc);
		prof_value_add(&out->classes[i].freed, &in->classes[i].freed);
	}
}

static int merge_all(struct merge *m, struct profile *const *in, size_t n, uint64_t *shifts)
{
	struct profile *out = m->out;
	uint64_t start = UINT64_MAX, highest = 0;

	/* merge_frame() finds an input's root by mapping 0 → 0; the arrays profile_new() made count as full. */
	m->cap_frames = m->cap_symbols = 1;
	for (size_t i = 0; i < n; i++)
		if (in[i]->start_real_ns && in[i]->start_real_ns < start)
			start = in[i]->start_real_ns;
	out->start_real_ns = start == UINT64_MAX ? 0 : start;
	for (size_t i = 0; i < n; i++) {
		int r;

		m->shift = shifts[i] = in[i]->start_real_ns ? in[i]->start_real_ns - start : 0;
		r = alloc_maps(m, in[i]) < 0 || merge_arrays(m, in[i]) < 0;
		free_maps(m);
		if (r)
			return -1;
		merge_head(out, in[i], m->shift, i == 0);
		if (in[i]->peak_bytes > highest) {
			highest = in[i]->peak_bytes;
			out->peak_time = prof_add(in[i]->peak_time, m->shift);
		}
	}
	for (size_t b = 0; b < PROF_LIFE_BUCKETS; b++)
		if (out->lifetimes[b] && grow_lifetimes(m, b) < 0)
			return -1;
	if (out->nmerged < 2)
		out->nmerged = 0;
	return merge_names(out, in, n) < 0 || merge_times(out, in, n, shifts) < 0 ? -1 : 0;
}

struct seep_error *profile_merge(struct profile *const *in, size_t n, struct profile **ret_merged)
{
	_cleanup_profile_ struct profile *out = NULL;
	_cleanup_free_ uint64_t *shifts = NULL;
	struct merge m = { 0 };
	int r;

	if (!n)
		return seep_error_new(0, "no profiles to merge");
	for (size_t i = 0; i < n; i++) {
		struct seep_error *err = profile_check(in[i]);

		if (err)
			return seep_error_wrap(err, "cannot merge %s",
			                       in[i]->source ? in[i]->source : "a profile");
	}
	m.out = out = profile_new();
	shifts = calloc(n, sizeof(*shifts));
	if (!out || !shifts)
		return &seep_error_nomem;
	r = merge_all(&m, in, n, shifts);
	idmap_release(&m.modules);
	idmap_release(&m.frames);
	idmap_release(&m.sites);
	if (r < 0)
		return &seep_error_nomem;
	*ret_merged = TAKE(out);
	return NULL;
}
