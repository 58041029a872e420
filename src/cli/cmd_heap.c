/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep heap: what each allocator of a process would say of itself, asked from outside.
 *
 * glibc's and musl's heaps are read from a clone, and nothing runs in the process; the others are asked by a
 * borrowed thread (heap/allocators.h).
 */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/heap_print.h"
#include "cli/target.h"
#include "heap/heap.h"
#include "heap/malloc_info.h"
#include "output/emit.h"
#include "proc/image.h"
#include "proc/procfs.h"

#define DEFAULT_TOP 8

struct heap_cli {
	const char *allocator, *letters;
	bool json, xml, native;
	uint64_t top;
	pid_t pid;
};

/* The clone's view of the C library's malloc. */
struct walked {
	struct heap *heap;
	struct malloc_info *info;
	struct seep_error *err;
};

static void walked_release(struct walked *w)
{
	heap_free(w->heap);
	malloc_info_free(w->info);
	seep_error_free(w->err);
}
#define _cleanup_walked_ __attribute__((cleanup(walked_release)))

static void walk(pid_t pid, struct walked *ret)
{
	const struct image_options opts = { .clone = true };
	_cleanup_image_ struct image *img = NULL;

	*ret = (struct walked){ 0 };
	ret->err = image_open_process(pid, &opts, &img);
	if (!ret->err)
		ret->err = heap_walk(img, &ret->heap);
	if (!ret->err && !strcmp(ret->heap->allocator, "glibc"))
		ret->err = malloc_info_read(img, &ret->info);
	if (!ret->err)
		ret->err = image_resume(img);
}

static bool is_walked(const struct allocator *a)
{
	return a->kind == ALLOCATOR_GLIBC || a->kind == ALLOCATOR_MUSL;
}

/* By its name, or by what the file is called. */
static bool is_wanted(const struct heap_cli *c, const struct allocator *a)
{
	const char *slash = strrchr(a->module, '/');

	return !c->allocator || !strcmp(c->allocator, a->name) ||
	       !fnmatch(c->allocator, slash ? slash + 1 : a->module, 0);
}

static const struct allocator *walked_allocator(const struct allocators *as, const struct heap *h)
{
	for (size_t i = 0; i < as->n; i++)
		if (is_walked(&as->items[i]) &&
		    !strncmp(h->allocator, as->items[i].name, strlen(as->items[i].name)))
			return &as->items[i];
	return NULL;
}

static struct seep_error *none_wanted(const struct heap_cli *c, const struct allocators *as)
{
	_cleanup_buf_ struct buf names = { 0 };

	for (size_t i = 0; i < as->n; i++)
		buf_printf(&names, "%s%s", i ? ", " : "", as->items[i].name);
	return seep_error_hint(seep_error_new(0, "process %d has no allocator %s", (int)c->pid,
	                                      c->allocator ? c->allocator : "that seep knows"),
	                       "It has: %s.", names.len ? names.data : "none that was found");
}

/* ---- native text --------------------------------------------------------------------------------- */

static int finish(struct buf *out)
{
	if (out->failed)
		return cli_fail("heap", &seep_error_nomem);
	fwrite(out->data ? out->data : "", 1, out->len, stdout);
	return CLI_OK;
}

/* malloc_info() or malloc_stats() of glibc. */
static struct seep_error *walked_text(const struct heap_cli *c, struct buf *out)
{
	_cleanup_walked_ struct walked w;

	walk(c->pid, &w);
	if (w.err)
		return TAKE(w.err);
	if (!w.info)
		return seep_error_hint(
			seep_error_new(0, "process %d: no glibc malloc was found", (int)c->pid),
			"Only glibc has %s.", c->xml ? "malloc_info()" : "malloc_stats()");
	if (c->xml)
		malloc_info_xml(w.info, out);
	else
		malloc_info_stats(w.info, out);
	return NULL;
}

static int native(const struct heap_cli *c, struct allocators *as)
{
	_cleanup_buf_ struct buf out = { 0 };
	struct seep_error *err;
	size_t i = 0;
	bool cut;

	if (c->xml) {
		err = walked_text(c, &out);
		return err ? cli_fail("heap", err) : finish(&out);
	}
	while (i < as->n && !is_wanted(c, &as->items[i]))
		i++;
	if (i < as->n && !is_walked(&as->items[i])) {
		err = allocator_text(as, i, c->letters, &out, &cut);
		if (!err && cut)
			cli_warn("heap", "the text was longer; this is its beginning");
	} else if (i < as->n || !c->allocator || !strcmp(c->allocator, "glibc")) {
		err = walked_text(c, &out); /* a static program's is found in memory */
	} else {
		err = none_wanted(c, as);
	}
	return err ? cli_fail("heap", err) : finish(&out);
}

/* ---- tables ----------------------------------------------------------------------------------------- */

static bool ask(const struct heap_cli *c, struct allocators *as, size_t i, struct emit *e)
{
	struct heap_print p = { .top = c->top, .json = c->json };
	struct allocator_value options[ALLOCATOR_OPTIONS];
	struct allocator_details details = { 0 };
	struct allocator_stats stats;
	struct allocator_visit visit = { 0 }, second = { 0 };
	struct heap_answer a = { .allocator = &as->items[i] };
	struct seep_error *err = allocator_ask(as, i, &stats, &details, &visit), *no_options = NULL;

	if (err) {
		a.why = err->message;
		a.hint = err->hint;
	} else {
		a.stats = &stats;
		a.details = &details;
		a.visit = &visit;
		no_options = allocator_options_get(as, i, options, &second);
		a.options = no_options ? NULL : options;
	}
	heap_print_answer(e, &p, &a);
	allocator_details_release(&details);
	seep_error_free(no_options);
	if (err) {
		seep_error_free(err);
		return false;
	}
	return true;
}

static void head(const struct heap_cli *c, struct emit *e)
{
	_cleanup_free_ char *command = procfs_command(c->pid);
	struct procfs_status st;

	if (procfs_status(c->pid, &st))
		st = (struct procfs_status){ 0 };
	emit_field(e, "format", NULL, emit_string("seep-heap"));
	emit_field(e, "version", NULL, emit_number(1));
	emit_heading(e, "Heap of %s", command ? command : "?");
	emit_line(e, EMIT_PLAIN, "  process %, % resident",
	          (struct emit_part[]){ { "pid", emit_number(c->pid), false },
	                                { "rss", emit_bytes(st.rss), false },
	                                { "command", emit_string(command), true } },
	          3);
	emit_blank(e);
}

static void footer(struct emit *e, const struct allocators *as)
{
	emit_list(e, "notes");
	for (size_t i = 0; i < as->nnotes; i++)
		emit_item(e, emit_string(as->notes[i]));
	emit_list_end(e);
	for (size_t i = 0; i < as->nnotes; i++)
		emit_text(e, EMIT_WARN, 0, "%s", as->notes[i]);
}

/* Whether anything could be shown; *ret_n: how many allocators were tried. */
static bool show_all(const struct heap_cli *c, struct allocators *as, struct emit *e, size_t *ret_n)
{
	struct heap_print p = { .top = c->top, .json = c->json };
	bool shown = false, walkable = !c->allocator || !strcmp(c->allocator, "glibc") ||
	                               !strncmp(c->allocator, "musl", 4);
	_cleanup_walked_ struct walked w = { 0 };

	*ret_n = 0;
	for (size_t i = 0; i < as->n; i++) {
		if (is_walked(&as->items[i])) {
			walkable |= is_wanted(c, &as->items[i]);
			continue;
		}
		if (!is_wanted(c, &as->items[i]))
			continue;
		++*ret_n;
		shown |= ask(c, as, i, e);
		emit_blank(e);
	}
	if (!walkable)
		return shown;
	walk(c->pid, &w);
	if (w.err) {
		struct heap_answer a = { .allocator = NULL,
			                 .why = w.err->message,
			                 .hint = w.err->hint };

		for (size_t i = 0; i < as->n && !a.allocator; i++)
			if (is_walked(&as->items[i]))
				a.allocator = &as->items[i];
		*ret_n += a.allocator != NULL;
		if (a.allocator)
			heap_print_answer(e, &p, &a);
	} else if (w.heap->allocator[0]) {
		++*ret_n;
		heap_print_walked(e, &p, walked_allocator(as, w.heap), w.heap, w.info);
		shown = true;
	}
	return shown;
}

static int tables(const struct heap_cli *c, struct allocators *as)
{
	_cleanup_buf_ struct buf out = { 0 };
	struct emit_options eo = { .format = c->json ? EMIT_JSON : EMIT_TEXT,
		                   .width = cli_width(STDOUT_FILENO),
		                   .color = cli_color(STDOUT_FILENO) };
	_cleanup_emit_ struct emit *e = emit_new(&eo, &out);
	bool shown;
	size_t n;

	if (!e)
		return cli_fail("heap", &seep_error_nomem);
	emit_object(e, NULL);
	head(c, e);
	emit_array(e, "allocators");
	shown = show_all(c, as, e, &n);
	emit_array_end(e);
	footer(e, as);
	emit_object_end(e);
	if (!n)
		return cli_fail("heap", none_wanted(c, as));
	if (finish(&out))
		return CLI_FAILED;
	return shown ? CLI_OK : CLI_FAILED;
}

int cmd_heap(int argc, char **argv)
{
	_cleanup_allocators_ struct allocators *as = NULL;
	struct heap_cli c = { .top = DEFAULT_TOP };
	const struct cli_option opts[] = {
		{ CLI_STRING, 'a', "allocator", &c.allocator, "NAME",
		  "only glibc, musl, jemalloc, gperftools, tcmalloc or mimalloc, or the one in the "
		  "file NAME (* and ? match)",
		  false, NULL },
		{ CLI_FLAG, 'n', "native", &c.native, NULL,
		  "the allocator's own text: malloc_stats, malloc_stats_print, GetStats, "
		  "mi_stats_print",
		  false, NULL },
		{ CLI_STRING, 0, "stats-print-opts", &c.letters, "LETTERS",
		  "for jemalloc's --native, as its opt.stats_print_opts: J is JSON", false, NULL },
		{ CLI_FLAG, 'x', "xml", &c.xml, NULL, "glibc's malloc_info() XML", false, NULL },
		{ CLI_U64, 'T', "top", &c.top, "N", "at most N rows of a table; 0: all (default 8)",
		  false, NULL },
		{ CLI_FLAG, 'j', "json", &c.json, NULL, "everything, as JSON (docs/ALLOCATORS.md)",
		  false, NULL },
		{ .type = CLI_END },
	};
	int n = cli_parse(opts, argc, argv, false);
	struct seep_error *err;

	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	if (n != 1) {
		fprintf(stderr, "seep heap: %s: seep heap [OPTIONS] PID|NAME\n",
		        n ? "one process at a time" : "which process?");
		return CLI_FAILED;
	}
	if (c.json + c.xml + c.native > 1)
		return cli_fail("heap",
		                seep_error_new(0, "--json, --xml and --native exclude each other"));
	if (c.xml && c.allocator && strcmp(c.allocator, "glibc") != 0)
		return cli_fail("heap", seep_error_new(0, "only glibc has malloc_info()"));
	err = target_find(argv[1], &c.pid);
	if (!err)
		err = allocators_find(c.pid, &as);
	if (err)
		return cli_fail("heap", err);
	return c.native || c.xml ? native(&c, as) : tables(&c, as);
}
