/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The profile under construction.
 *
 * Files repeat themselves: the same stack, the same function, the same library in every line.  The model
 * wants each once.  So everything is looked up by a hash of what makes it what it is before it is
 * appended; nothing is ever removed, and what a reader holds are plain indices, which stay valid while the
 * arrays move.
 */
#include "format/builder.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/large.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ITEMS (UINT32_MAX - 2)
#define MOST_RESERVED (1u << 20)
#define MAX_NAME 16384
#define MAX_NAMES (2ull << 30)

struct seep_error *builder_init(struct builder *b, const struct format_input *in,
                                const char *format_title)
{
	*b = (struct builder){ .p = profile_new(), .cap_frames = 1, .cap_symbols = 1 };
	if (!b->p)
		return &seep_error_nomem;
	builder_string(b, &b->p->source, in->path);
	builder_string(b, &b->p->format, format_title);
	return b->failed ? &seep_error_nomem : NULL;
}

void builder_release(struct builder *b)
{
	profile_free(TAKE(b->p));
	idmap_release(&b->modules);
	idmap_release(&b->frames);
	idmap_release(&b->symbols);
	idmap_release(&b->sites);
	idmap_release(&b->threads);
	idmap_release(&b->cells);
}

static bool resize(struct builder *b, void **array, size_t n, size_t *cap, size_t size, size_t want)
{
	void *p = n < MAX_ITEMS ? large_resize(*array, n * size, want * size) : NULL;

	if (!p) {
		b->failed = true;
		return false;
	}
	*array = p;
	*cap = want;
	return true;
}

static bool grow(struct builder *b, void **array, size_t n, size_t *cap, size_t size)
{
	if (b->failed)
		return false;
	return n < *cap || resize(b, array, n, cap, size, large_next(*cap, 16, size));
}
#define GROW(b, what) \
	grow(b, (void **)&(b)->p->what, (b)->p->n##what, &(b)->cap_##what, sizeof(*(b)->p->what))

static void reserve(struct builder *b, struct idmap *m, void **array, size_t n, size_t *cap,
                    size_t size, size_t want)
{
	if (want > MOST_RESERVED) /* a file can say anything */
		want = MOST_RESERVED;
	if (want < *cap || b->failed)
		return;
	if (idmap_reserve(m, want) < 0)
		b->failed = true;
	else
		resize(b, array, n, cap, size, want);
}
#define RESERVE(b, what, want)                                                            \
	reserve(b, &(b)->what, (void **)&(b)->p->what, (b)->p->n##what, &(b)->cap_##what, \
	        sizeof(*(b)->p->what), want)

void builder_reserve(struct builder *b, size_t frames, size_t symbols, size_t sites)
{
	RESERVE(b, frames, frames);
	RESERVE(b, symbols, symbols);
	RESERVE(b, sites, sites);
}

static bool index_it(struct builder *b, struct idmap *m, uint64_t hash, size_t id)
{
	if (idmap_add(m, hash, (uint32_t)id) < 0)
		b->failed = true;
	return !b->failed;
}

/*
 * A few bytes of a file can name a long string again and again, and each symbol owns its strings: names are cut,
 * and all of them together bounded.
 */
static char *copy(struct builder *b, const char *s)
{
	char *c = s && b->names < MAX_NAMES ? strndup(s, MAX_NAME) : NULL;

	if (c)
		b->names += strlen(c) + 16;
	else if (s)
		b->failed = true;
	return c;
}

void builder_string(struct builder *b, char **field, const char *s)
{
	char *c = copy(b, s);

	free(*field);
	*field = c;
}

/* ---- code ---------------------------------------------------------------------- */

uint32_t builder_frame(struct builder *b, uint32_t parent, uint64_t pc, uint32_t module,
                       uint32_t symbol)
{
	uint64_t hash = hash_mix(hash_mix(parent, pc), (uint64_t)module << 32 | symbol);
	size_t pos = idmap_first(&b->frames, hash);
	struct prof_frame *f;
	uint32_t id;

	while (idmap_get(&b->frames, &pos, hash, &id)) {
		f = &b->p->frames[id];
		if (f->parent == parent && f->pc == pc && f->module == module && f->symbol == symbol)
			return id;
	}
	if (!GROW(b, frames) || !index_it(b, &b->frames, hash, b->p->nframes))
		return 0;
	b->p->frames[b->p->nframes] =
		(struct prof_frame){ .pc = pc, .parent = parent, .module = module, .symbol = symbol };
	return (uint32_t)b->p->nframes++;
}

static bool same_string(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same_lines(const struct prof_symbol *s, const struct prof_line *lines, uint32_t n)
{
	if (s->nlines != n)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const struct prof_line *a = &s->lines[i], *b = &lines[i];

		if (a->line != b->line || !same_string(a->function, b->function) ||
		    !same_string(a->file, b->file) || !same_string(a->linkage, b->linkage))
			return false;
	}
	return true;
}

uint32_t builder_symbol(struct builder *b, const struct prof_line *lines, uint32_t n)
{
	uint64_t hash = n;
	struct prof_symbol *s;
	uint32_t id;
	size_t pos;

	if (!n)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		hash = hash_mix(hash, hash_str(lines[i].function));
		hash = hash_mix(hash, hash_str(lines[i].file));
		hash = hash_mix(hash, hash_str(lines[i].linkage));
		hash = hash_mix(hash, lines[i].line);
	}
	pos = idmap_first(&b->symbols, hash);
	while (idmap_get(&b->symbols, &pos, hash, &id))
		if (same_lines(&b->p->symbols[id], lines, n))
			return id;
	if (!GROW(b, symbols))
		return 0;
	s = &b->p->symbols[b->p->nsymbols];
	*s = (struct prof_symbol){ .lines = calloc(n, sizeof(*s->lines)), .nlines = n };
	if (!s->lines || !index_it(b, &b->symbols, hash, b->p->nsymbols)) {
		free(s->lines);
		b->failed = true;
		return 0;
	}
	id = (uint32_t)b->p->nsymbols++;
	for (uint32_t i = 0; i < n; i++)
		s->lines[i] = (struct prof_line){ .function = copy(b, lines[i].function),
			                          .file = copy(b, lines[i].file),
			                          .line = lines[i].line,
			                          .inlined = i + 1 < n,
			                          .linkage = copy(b, lines[i].linkage) };
	return id;
}

/* Names in files are never meant to be modified, but our model's strings are not const. */
static char *not_empty(const char *s)
{
	return s && s[0] ? (char *)(uintptr_t)s : NULL;
}

uint32_t builder_name(struct builder *b, const char *function, const char *file, uint32_t line)
{
	struct prof_line l = { .function = not_empty(function),
		               .file = not_empty(file),
		               .line = line };

	return builder_symbol(b, &l, 1);
}

uint32_t builder_unknown(struct builder *b)
{
	if (!b->unknown)
		b->unknown = builder_name(b, NULL, NULL, 0);
	return b->unknown;
}

uint32_t builder_mapped(struct builder *b, const struct prof_module *m)
{
	uint64_t hash = hash_mix(hash_str(m->path), m->start);
	size_t pos = idmap_first(&b->modules, hash);
	struct prof_module *to;
	uint32_t id;

	while (idmap_get(&b->modules, &pos, hash, &id)) {
		to = &b->p->modules[id];
		if (!strcmp(to->path, m->path) && to->start == m->start && to->end == m->end)
			return id;
	}
	if (!GROW(b, modules))
		return PROF_NO_MODULE;
	to = &b->p->modules[b->p->nmodules];
	*to = *m;
	to->path = copy(b, m->path);
	if (!to->path)
		return PROF_NO_MODULE;
	index_it(b, &b->modules, hash, b->p->nmodules);
	return (uint32_t)b->p->nmodules++;
}

uint32_t builder_module(struct builder *b, const char *path)
{
	struct prof_module m = { .path = not_empty(path) };

	return m.path ? builder_mapped(b, &m) : PROF_NO_MODULE;
}

void pc_list_add(struct builder *b, struct pc_list *l, uint64_t pc)
{
	if (grow(b, (void **)&l->pcs, l->n, &l->cap, sizeof(*l->pcs)))
		l->pcs[l->n++] = pc;
}

uint32_t builder_stack(struct builder *b, const struct pc_list *l)
{
	uint32_t frame = 0;

	for (size_t i = l->n; i-- > 0;)
		frame = builder_frame(b, frame, l->pcs[i], PROF_NO_MODULE, 0);
	return frame;
}

/* ---- what happened there --------------------------------------------------------- */

struct prof_site *builder_site(struct builder *b, uint32_t stack, uint8_t kind)
{
	uint64_t hash = hash_mix(stack, kind);
	size_t pos = idmap_first(&b->sites, hash);
	struct prof_site *s;
	uint32_t id;

	while (idmap_get(&b->sites, &pos, hash, &id)) {
		s = &b->p->sites[id];
		if (s->stack == stack && s->kind == kind)
			return s;
	}
	if (!GROW(b, sites) || !index_it(b, &b->sites, hash, b->p->nsites))
		return NULL;
	s = &b->p->sites[b->p->nsites++];
	*s = (struct prof_site){ .stack = stack, .kind = kind, .oldest = UINT64_MAX };
	return s;
}

uint32_t builder_site_number(const struct builder *b, const struct prof_site *s)
{
	return (uint32_t)(s - b->p->sites);
}

static uint32_t add_thread(struct builder *b, uint64_t hash, int32_t tid, const char *name)
{
	struct prof_thread *t;

	if (!GROW(b, threads))
		return 0;
	t = &b->p->threads[b->p->nthreads];
	*t = (struct prof_thread){ .tid = tid, .name = copy(b, name ? name : "") };
	b->p->nthreads++;
	index_it(b, &b->threads, hash, b->p->nthreads - 1);
	return (uint32_t)b->p->nthreads - 1;
}

uint32_t builder_thread(struct builder *b, int32_t tid, const char *name)
{
	uint64_t hash = hash_mix((uint32_t)tid, hash_str(name ? name : ""));
	size_t pos = idmap_first(&b->threads, hash);
	uint32_t id;

	if (!b->p->nthreads) /* [0] is the unknown one */
		add_thread(b, hash_mix(0, hash_str("")), 0, "");
	while (idmap_get(&b->threads, &pos, hash, &id))
		if (b->p->threads[id].tid == tid && !strcmp(b->p->threads[id].name, name ? name : ""))
			return id;
	return add_thread(b, hash, tid, name);
}

void builder_cell(struct builder *b, uint32_t site, uint32_t thread, const struct prof_value *v)
{
	uint64_t hash = hash_mix(site, thread);
	size_t pos = idmap_first(&b->cells, hash);
	uint32_t id;

	while (idmap_get(&b->cells, &pos, hash, &id)) {
		struct prof_cell *c = &b->p->cells[id];

		if (c->site == site && c->thread == thread) {
			prof_value_add(&c->inuse, v);
			return;
		}
	}
	if (GROW(b, cells) && index_it(b, &b->cells, hash, b->p->ncells))
		b->p->cells[b->p->ncells++] = (struct prof_cell){ site, thread, *v };
}

void builder_point(struct builder *b, const struct prof_point *point)
{
	if (b->p->npoints && point->time < b->p->points[b->p->npoints - 1].time)
		return;
	if (GROW(b, points))
		b->p->points[b->p->npoints++] = *point;
}

/* ---- the end --------------------------------------------------------------------- */

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/*
 * Freed is what was allocated and is no longer in use; the formats have only the other two.  Where the
 * allocated is not known (0) freed is neither.  With sampling the two are estimates from different samples: the
 * difference may be off, but not below nothing.
 */
static void finish_site(const struct profile *p, struct prof_site *s)
{
	if (s->alloc.bytes || s->alloc.blocks) {
		s->freed.blocks = minus(s->alloc.blocks, s->inuse.blocks);
		s->freed.bytes = minus(s->alloc.bytes, s->inuse.bytes);
		s->freed.var_blocks = s->alloc.var_blocks > s->inuse.var_blocks
		                              ? s->alloc.var_blocks - s->inuse.var_blocks
		                              : 0;
		s->freed.var_bytes = s->alloc.var_bytes > s->inuse.var_bytes
		                             ? s->alloc.var_bytes - s->inuse.var_bytes
		                             : 0;
	}
	s->samples = scale_samples(p->sampled ? p->period : 0, &s->alloc);
	s->inuse_samples = scale_samples(p->sampled ? p->period : 0, &s->inuse);
}

struct seep_error *builder_finish(struct builder *b, struct profile **ret_profile)
{
	struct profile *p = b->p;
	struct seep_error *err;

	if (b->failed)
		return &seep_error_nomem;
	for (size_t i = 0; i < p->nsites; i++) {
		finish_site(p, &p->sites[i]);
		if (__builtin_add_overflow(p->peak_copy_bytes, p->sites[i].peak.bytes,
		                           &p->peak_copy_bytes))
			p->peak_copy_bytes = UINT64_MAX;
	}
	err = profile_check(p);
	if (!err)
		*ret_profile = TAKE(b->p);
	return err;
}
