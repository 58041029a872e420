/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One module: find the files, ask DWARF, fall back to the symbol tables, then to
 * perf maps, and turn what was found into the profile's symbols.
 *
 * The files are closed when the job ends.  Keeping them for the next report would
 * save the opening but hold the memory of every decoded unit, and a long-running
 * seep would collect file descriptors by the hundred.
 */
#include "sym/module.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"
#include "sym/lines.h"
#include "sym/locate.h"
#include "sym/names.h"
#include "sym/perfmap.h"
#include "sym/sym.h"
#include "sym/symtab.h"

#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#define MAX_TEXT (UINT64_C(1) << 30) /* names and paths of one module in the profile */
#define MAX_LINKAGE 4096             /* longer mangled names are left out */

struct open_module {
	struct symfile *main, *mini, *debug, *alt; /* mini: from .gnu_debugdata; alt: dwz */
	struct lines *lines;
	struct symtab symtab;
	bool symtab_ready;
	struct names names;
};

static void open_module_release(struct open_module *o)
{
	symtab_release(&o->symtab);
	lines_close(o->lines);
	names_release(&o->names);
	symfile_close(o->alt);
	symfile_close(o->debug);
	symfile_close(o->mini);
	symfile_close(o->main);
}

/* ---- files ------------------------------------------------------------ */

static bool is_vdso(const char *path)
{
	return !strcmp(path, "[vdso]") || !strncmp(path, "linux-vdso.so", 13);
}

/* The kernel gives every process the same vDSO: ours stands for the target's if it is that one. */
static struct symfile *own_vdso(const struct prof_module *m)
{
	const ElfW(Ehdr) *eh = (const void *)getauxval(AT_SYSINFO_EHDR);
	struct seep_error *err;
	struct symfile *f;

	if (!eh || !locate_id_len(m))
		return NULL;
	err = symfile_open_memory(eh, eh->e_shoff + (size_t)eh->e_shnum * eh->e_shentsize, m->path,
	                          &f);
	if (err) {
		seep_error_free(err);
		return NULL;
	}
	if (f->build_id_len != m->build_id_len ||
	    memcmp(f->build_id, m->build_id, f->build_id_len) != 0) {
		symfile_close(f);
		return NULL;
	}
	return f;
}

static struct seep_error *open_lines(struct open_module *o, const struct symfile *f,
                                     const struct locator *loc, struct warnings *warn)
{
	if (f->alt_name) {
		o->alt = locate_alt(loc, f);
		if (!o->alt)
			warnings_add(warn,
			             "%s: the common part of its debug information, %s, is not "
			             "installed: names may be missing",
			             f->path, f->alt_name);
	}
	return lines_open(f, o->alt, &o->names, warn, &o->lines);
}

static struct seep_error *open_files(struct module_job *job, struct open_module *o,
                                     const struct locator *loc)
{
	const struct prof_module *m = job->module;
	size_t id_len = locate_id_len(m);
	const uint8_t *id = m->build_id;
	struct seep_error *err;

	if (is_vdso(m->path)) {
		o->main = own_vdso(m);
		return NULL;
	}
	if (!locate_is_file(m->path))
		return NULL;
	o->main = locate_module(loc, m, &job->warnings, &job->is_unverified);
	if (o->main && o->main->has_dwarf)
		return open_lines(o, o->main, loc, &job->warnings);
	if (o->main && !id_len) {
		id = o->main->build_id;
		id_len = o->main->build_id_len;
	}
	o->debug = locate_debug(loc, m->path, o->main, id, id_len, &job->warnings);
	job->is_missing = !o->main && !o->debug;
	job->has_no_lines = o->main && !(o->debug && o->debug->has_dwarf);
	if (o->debug && o->debug->has_dwarf)
		return open_lines(o, o->debug, loc, &job->warnings);
	if (o->main && !o->main->has_symtab) {
		err = symfile_open_minidebug(o->main, &o->mini);
		if (err) {
			warnings_add(&job->warnings, "%s: not used", err->message);
			seep_error_free(err);
		}
	}
	return NULL;
}

static struct seep_error *open_symtab(struct open_module *o)
{
	const struct symfile *files[] = { o->debug, o->main, o->mini };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++)
		if (files[i] && !symtab_add(&o->symtab, files[i]))
			return &seep_error_nomem;
	symtab_finish(&o->symtab);
	o->symtab_ready = true;
	return NULL;
}

/* ---- symbols ---------------------------------------------------------- */

/*
 * The profile's own copy of a text.  A file may give every address 128 inlined functions with
 * names of 8 KiB, so what all copies take together is bounded; beyond that names are left out.
 */
static bool copy_text(size_t *text_left, const char *text, char **ret_copy)
{
	size_t len = text ? strlen(text) + 1 : 0;

	if (!text || len > *text_left)
		return true;
	*text_left -= len;
	*ret_copy = strdup(text);
	return *ret_copy != NULL;
}

static bool copy_line(size_t *text_left, struct prof_line *to, const char *function,
                      const char *file, uint32_t line)
{
	to->line = line;
	return copy_text(text_left, function, &to->function) &&
	       copy_text(text_left, file, &to->file);
}

/* A mangled name without what the compiler's clones and the linker's versions append. */
static bool copy_linkage(size_t *text_left, struct prof_line *to, const char *raw)
{
	size_t len = raw && names_is_mangled(raw) ? strcspn(raw, ".@") : 0;

	if (!len || len >= MAX_LINKAGE || len + 1 > *text_left)
		return true;
	*text_left -= len + 1;
	to->linkage = strndup(raw, len);
	return to->linkage != NULL;
}

/* `fallback`, unless NULL, names the real function, and `raw` is what the linker calls it. */
static bool make_symbol(size_t *text_left, struct prof_symbol *s, const struct lines_query *q,
                        const char *fallback, const char *raw, bool no_inlines)
{
	const struct lines_func *f = q->func;
	const char *file = q->file;
	uint32_t line = q->line, i;

	if (no_inlines) { /* the place in the real function: where it calls what was inlined */
		for (; f && f->outer; f = f->outer) {
			file = f->call_file;
			line = f->call_line;
		}
	}
	s->lines = calloc(f ? f->depth + 1 : 1, sizeof(*s->lines));
	if (!s->lines)
		return false;
	s->nlines = f ? f->depth + 1 : 1;
	if (!f)
		return copy_line(text_left, &s->lines[0], fallback, file, line) &&
		       copy_linkage(text_left, &s->lines[0], raw);
	for (i = 0; f; i++, f = f->outer) {
		const char *name = !f->outer && fallback ? fallback : f->name;

		if (!copy_line(text_left, &s->lines[i], name, file, line) ||
		    !copy_linkage(text_left, &s->lines[i], !f->outer && fallback ? raw : f->linkage))
			return false;
		s->lines[i].inlined = f->outer != NULL;
		file = f->call_file;
		line = f->call_line;
	}
	return true;
}

/*
 * Does DWARF leave the real function unnamed, or has it only the last part of a C++ name?  (gcc
 * leaves linkage names out for what an unnamed namespace has to do with.)
 */
static bool needs_fallback(const struct lines_query *q)
{
	const struct lines_func *f = q->func;

	while (f && f->outer)
		f = f->outer;
	return !f || !f->name || f->is_partial;
}

/* The name from the symbol tables or perf maps; NULL when there is none or DWARF's is as good. */
static struct seep_error *find_fallback(struct module_job *job, struct open_module *o,
                                        const struct perfmap *perf, const struct lines_query *q,
                                        const char **ret_name, const char **ret_raw)
{
	struct seep_error *err;
	const char *raw;

	*ret_name = *ret_raw = NULL;
	if (!needs_fallback(q))
		return NULL;
	if (!o->symtab_ready) {
		err = open_symtab(o);
		if (err)
			return err;
	}
	raw = symtab_find(&o->symtab, q->addr);
	if (!raw && perf && !o->main)
		raw = perfmap_find(perf, job->pcs[q->user]);
	if (raw && q->func && q->func->name && !names_is_mangled(raw))
		return NULL;
	*ret_name = names_function(&o->names, raw);
	*ret_raw = raw;
	return NULL;
}

static int by_addr(const void *va, const void *vb)
{
	const struct lines_query *a = va, *b = vb;

	return a->addr < b->addr ? -1 : a->addr > b->addr;
}

static struct lines_query *make_queries(const struct module_job *job)
{
	uint64_t bias = job->module ? job->module->bias : 0;
	struct lines_query *q = calloc(job->n + 1, sizeof(*q));
	bool sorted = true;
	size_t i;

	if (!q)
		return NULL;
	for (i = 0; i < job->n; i++) {
		q[i].addr = job->pcs[i] - bias;
		q[i].user = (uint32_t)i;
		sorted = sorted && (!i || q[i - 1].addr <= q[i].addr);
	}
	if (!sorted) /* a damaged profile: the subtraction wrapped */
		qsort(q, job->n, sizeof(*q), by_addr);
	return q;
}

static struct seep_error *run(struct module_job *job, struct open_module *o,
                              const struct locator *loc, const struct perfmap *perf,
                              void (*done)(void *arg, size_t n), void *done_arg)
{
	_cleanup_free_ struct lines_query *q = make_queries(job);
	struct seep_error *err = NULL;
	size_t text_left = MAX_TEXT, i;

	if (!q)
		return &seep_error_nomem;
	if (job->module)
		err = open_files(job, o, loc);
	if (!err && o->lines)
		err = lines_resolve(o->lines, q, job->n, done, done_arg);
	if (err)
		return err;
	for (i = 0; i < job->n; i++) {
		const char *fallback, *raw;

		err = find_fallback(job, o, perf, &q[i], &fallback, &raw);
		if (err)
			return err;
		if (!make_symbol(&text_left, &job->symbols[q[i].user], &q[i], fallback, raw,
		                 loc->opts->no_inlines))
			return &seep_error_nomem;
	}
	if (done && !o->lines)
		done(done_arg, job->n);
	return NULL;
}

void module_run(struct module_job *job, const struct locator *loc, const struct perfmap *perf,
                void (*done)(void *arg, size_t n), void *done_arg)
{
	struct open_module o = { .names.no_demangle = loc->opts->no_demangle };

	job->err = run(job, &o, loc, perf, done, done_arg);
	open_module_release(&o);
}
