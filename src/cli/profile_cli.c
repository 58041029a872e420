/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options that `seep report` and `seep diff` have in common, as tables and parsers of their own, so that
 * the two cannot come to mean different things by the same word.
 */
#include "cli/profile_cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "output/dot.h"
#include "output/emit.h"
#include "output/flame.h"
#include "output/html_report.h"
#include "profile/profile.h"
#include "sym/sym.h"

/* ---- words of options ------------------------------------------------------ */

static const struct cli_word value_words[] = {
	{ "inuse", MEASURE_INUSE },
	{ "alloc", MEASURE_ALLOC },
	{ "freed", MEASURE_FREED },
	{ "peak", MEASURE_PEAK },
};
/* The names of PROF_KIND_BIT sets, as JSON has them. */
static const struct cli_word kind_words[] = {
	{ "heap", PROF_KIND_BIT(PROF_HEAP) },
	{ "mmap", PROF_KIND_BIT(PROF_MMAP) },
	{ "stack", PROF_KIND_BIT(PROF_STACK) },
	{ "all", PROF_ALL_KINDS },
};

struct seep_error *cli_find_word(const char *option, const char *name, const struct cli_word *words,
                                 size_t n, int *ret_value)
{
	struct buf names = { 0 };
	struct seep_error *err;

	for (size_t i = 0; i < n; i++) {
		if (!strcmp(words[i].name, name)) {
			*ret_value = words[i].value;
			return NULL;
		}
	}
	for (size_t i = 0; i < n; i++)
		buf_printf(&names, "%s%s", i ? ", " : "", words[i].name);
	err = seep_error_hint(seep_error_new(0, "%s cannot be '%s'", option, name),
	                      "It is one of: %s", names.data ? names.data : "");
	buf_release(&names);
	return err;
}

struct seep_error *cli_parse_measure(const char *name, struct measure *ret_measure)
{
	char base[32];
	size_t n = strlen(name);
	struct seep_error *err;
	bool blocks = n > 7 && !strcmp(name + n - 7, "-blocks");
	int value;

	if (!strcmp(name, "blocks")) {
		*ret_measure = (struct measure){ MEASURE_INUSE, true };
		return NULL;
	}
	if (blocks)
		n -= 7;
	snprintf(base, sizeof(base), "%.*s", (int)(n < sizeof(base) ? n : sizeof(base) - 1), name);
	err = cli_find_word("--value", base, value_words, ARRAY_SIZE(value_words), &value);
	if (err)
		return seep_error_hint(
			err, "It is inuse, alloc, freed or peak, each also with -blocks, such as "
			     "alloc-blocks; plain blocks means inuse-blocks.");
	*ret_measure = (struct measure){ (enum measure_value)value, blocks };
	return NULL;
}

struct seep_error *cli_check_by(enum group_by by, struct measure measure)
{
	if (by != GROUP_THREAD || measure.value == MEASURE_INUSE)
		return NULL;
	return seep_error_hint(seep_error_new(0, "by thread only what is in use is known"),
	                       "Use --value inuse or --value blocks.");
}

struct seep_error *cli_parse_kinds(const char *text, unsigned int *ret_kinds)
{
	unsigned int kinds = 0;

	for (;;) {
		size_t n = strcspn(text, ",");
		struct seep_error *err;
		char name[32];
		int kind;

		snprintf(name, sizeof(name), "%.*s", (int)(n < sizeof(name) ? n : sizeof(name) - 1),
		         text);
		err = cli_find_word("--kind", name, kind_words, ARRAY_SIZE(kind_words), &kind);
		if (err)
			return err;
		kinds |= (unsigned int)kind;
		if (!text[n])
			break;
		text += n + 1;
	}
	*ret_kinds = kinds;
	return NULL;
}

struct seep_error *cli_parse_min(const char *text, uint64_t *ret_value, double *ret_ratio)
{
	size_t n = strlen(text);
	double percent;

	if (n && text[n - 1] == '%') {
		if (parse_percent(text, &percent) < 0)
			return seep_error_new(0, "--min cannot be '%s'", text);
		*ret_ratio = percent / 100;
		return NULL;
	}
	if (parse_size(text, ret_value) < 0)
		return seep_error_hint(seep_error_new(0, "--min cannot be '%s'", text),
		                       "Give a share such as 1%% or a size such as 64K.");
	return NULL;
}

/* ---- symbols ---------------------------------------------------------------- */

void symbol_cli_init(struct symbol_cli *c)
{
	*c = (struct symbol_cli){ .symbols = true, .inlines = true, .debuginfod = true };
}

size_t symbol_cli_options(struct symbol_cli *c, struct cli_option *rows)
{
	const struct cli_option own[SYMBOL_CLI_ROWS] = {
		{ CLI_FLAG, 0, "symbols", &c->symbols, NULL,
		  "give addresses names (default; --no-symbols: do not)", false, NULL },
		{ CLI_FLAG, 0, "inlines", &c->inlines, NULL,
		  "show inlined functions (default; --no-inlines: do not)", false, NULL },
		{ CLI_FLAG, 0, "debuginfod", &c->debuginfod, NULL,
		  "ask the servers in DEBUGINFOD_URLS (default; --no-debuginfod: do not)", false,
		  NULL },
		{ CLI_LIST, 0, "debug-dir", &c->debug_dirs, "DIR", "also look for debug files here",
		  false, NULL },
		{ CLI_STRING, 0, "sysroot", &c->sysroot, "DIR", "find modules below DIR", false,
		  NULL },
	};

	memcpy(rows, own, sizeof(own));
	return ARRAY_SIZE(own);
}

void symbol_cli_release(struct symbol_cli *c)
{
	free(c->debug_dirs.items);
	c->debug_dirs = (struct cli_list){ 0 };
}

static void show_progress(void *arg, unsigned int done, unsigned int total)
{
	fprintf(stderr, done < total ? "\rReading symbols: %u of %u modules" : "\r\033[K", done,
	        total);
	fflush(stderr);
}

static struct seep_error *new_symbolizer(const struct symbol_cli *c, int pid, bool progress,
                                         struct symbolizer **ret_sym)
{
	_cleanup_free_ const char **dirs = calloc(c->debug_dirs.n + 1, sizeof(*dirs));
	struct sym_options opts = {
		.debug_dirs = dirs,
		.sysroot = c->sysroot,
		.pid = pid,
		.no_debuginfod = !c->debuginfod,
		.no_inlines = !c->inlines,
		.progress = progress ? show_progress : NULL,
	};

	if (!dirs)
		return &seep_error_nomem;
	for (size_t i = 0; i < c->debug_dirs.n; i++)
		dirs[i] = c->debug_dirs.items[i];
	return symbolizer_new(&opts, ret_sym);
}

/* Of several processes summed up none can be asked for its files. */
struct seep_error *symbol_cli_run(const struct symbol_cli *c, struct profile *p,
                                  struct symbolizer **ret_sym)
{
	struct seep_error *err;

	if (!c->symbols)
		return NULL;
	err = new_symbolizer(c, !p->nmerged && p->live ? p->pid : 0, cli_terminal(STDERR_FILENO),
	                     ret_sym);
	if (!err)
		err = symbolizer_run(*ret_sym, p);
	return err;
}

struct seep_error *symbol_cli_open(const struct symbol_cli *c, int pid, struct symbolizer **ret_sym)
{
	return c->symbols ? new_symbolizer(c, pid, false, ret_sym) : NULL;
}

/* ---- output ------------------------------------------------------------------ */

struct seep_error *view_cli_make(const struct view_cli *c, enum group_by by,
                                 const struct profile *p, struct view **ret_view)
{
	struct view_options o = {
		.focus = c->focus.items,
		.nfocus = c->focus.n,
		.ignore = c->ignore.items,
		.nignore = c->ignore.n,
		.hide = c->hide.items,
		.nhide = c->hide.n,
		.no_fold = !c->fold,
		.kinds = by == GROUP_KIND ? PROF_ALL_KINDS : 0,
	};
	struct seep_error *err = c->kinds ? cli_parse_kinds(c->kinds, &o.kinds) : NULL;

	return err ? err : view_new(p, &o, ret_view);
}

void view_cli_release(struct view_cli *c)
{
	free(c->focus.items);
	free(c->ignore.items);
	free(c->hide.items);
	memset(c, 0, sizeof(*c));
}

struct seep_error *output_cli_open(const struct output_cli *c, struct buf *out,
                                   struct emit **ret_emit)
{
	struct emit_options o = {
		.format = c->json ? EMIT_JSON : EMIT_TEXT,
		.width = c->width  ? (unsigned int)c->width
		         : c->path ? 100
		                   : cli_width(STDOUT_FILENO),
		.color = !c->path && cli_color(STDOUT_FILENO),
	};
	struct emit *e = emit_new(&o, out);

	if (!e)
		return &seep_error_nomem;
	*ret_emit = e;
	return NULL;
}

struct seep_error *output_cli_write(const struct output_cli *c, const struct buf *out)
{
	return out->failed ? &seep_error_nomem : cli_write(out, c->path);
}

struct seep_error *cli_write(const struct buf *out, const char *path)
{
	_cleanup_fclose_ FILE *f = path ? fopen(path, "we") : NULL;
	FILE *to = path ? f : stdout;

	if (!to)
		return seep_error_new(errno, "cannot create %s", path);
	if (fwrite(out->data, 1, out->len, to) != out->len || fflush(to)) {
		if (!path && errno == EPIPE)
			return NULL; /* the reader of the pipe has seen enough */
		return seep_error_new(errno, "cannot write to %s", path ? path : "standard output");
	}
	return NULL;
}

/* ---- pictures ------------------------------------------------------------------ */

void picture_cli_init(struct picture_cli *c)
{
	*c = (struct picture_cli){ .nodecount = DOT_NODECOUNT };
}

size_t picture_cli_options(struct picture_cli *c, struct cli_option *rows)
{
	const struct cli_option own[PICTURE_CLI_ROWS] = {
		{ CLI_STRING, 0, "dot", &c->dot, "FILE", "the call graph for Graphviz", false, NULL },
		{ CLI_STRING, 0, "svg", &c->svg, "FILE",
		  "the call graph as SVG, laid out by Graphviz's dot", false, NULL },
		{ CLI_STRING, 0, "flame", &c->flame, "FILE",
		  "flame graph: a page to look into, or with a name that ends in .svg a picture",
		  false, NULL },
		{ CLI_STRING, 0, "html", &c->html, "FILE",
		  "all of it as one page: summary, course over time, both graphs, tables", false,
		  NULL },
		{ CLI_U64, 0, "nodecount", &c->nodecount, "N",
		  "boxes in the call graph; 0: all (default 80)", false, NULL },
		{ CLI_STRING, 0, "nodefraction", &c->nodefraction, "F",
		  "drop boxes below this part of all (default 0.005)", false, NULL },
		{ CLI_STRING, 0, "edgefraction", &c->edgefraction, "F",
		  "drop edges below this part of all (default 0.001)", false, NULL },
		{ CLI_FLAG, 0, "colorblind", &c->colorblind, NULL,
		  "orange and blue instead of red and green", false, NULL },
	};

	memcpy(rows, own, sizeof(own));
	return ARRAY_SIZE(own);
}

bool picture_cli_wanted(const struct picture_cli *c)
{
	return c->dot || c->svg || c->flame || c->html;
}

/* 0.005, or 0.5% */
static struct seep_error *parse_fraction(const char *option, const char *text, double *ret_fraction)
{
	char *end = NULL;
	double v = text ? strtod(text, &end) : 0;

	if (!text)
		return NULL;
	if (end != text && *end == '%') {
		v /= 100;
		end++;
	}
	if (end == text || *end || !(v >= 0 && v <= 1))
		return seep_error_hint(seep_error_new(0, "%s cannot be '%s'", option, text),
		                       "Give a part of all, from 0 to 1, such as 0.005 or 0.5%%.");
	*ret_fraction = v;
	return NULL;
}

static bool ends_in(const char *path, const char *suffix)
{
	size_t n = strlen(path), k = strlen(suffix);

	return n >= k && !strcmp(path + n - k, suffix);
}

static struct seep_error *write_graph(const struct picture_cli *c, const struct view *v,
                                      struct dot_options *o)
{
	_cleanup_buf_ struct buf dot = { 0 }, svg = { 0 };
	struct seep_error *err = parse_fraction("--nodefraction", c->nodefraction, &o->nodefraction);

	if (!err)
		err = parse_fraction("--edgefraction", c->edgefraction, &o->edgefraction);
	if (!err)
		err = dot_write(v, o, &dot);
	if (!err && c->dot)
		err = cli_write(&dot, c->dot);
	if (!err && c->svg)
		err = dot_to_svg(&dot, &svg);
	if (!err && c->svg)
		err = cli_write(&svg, c->svg);
	return err;
}

struct seep_error *picture_cli_write(const struct picture_cli *c, const struct view *v,
                                     struct diff *d, struct measure m, bool normalize, bool noise,
                                     const char *const *warnings)
{
	struct dot_options dot = {
		.measure = m,
		.diff = d,
		.normalize = normalize,
		.noise = noise,
		.nodecount = (size_t)c->nodecount,
		.nodefraction = DOT_NODEFRACTION,
		.edgefraction = DOT_EDGEFRACTION,
		.colorblind = c->colorblind,
	};
	const struct flame_options flame = {
		.measure = m, .diff = d, .normalize = normalize, .colorblind = c->colorblind
	};
	const struct html_report_options html = { .measure = m,
		                                  .diff = d,
		                                  .normalize = normalize,
		                                  .noise = noise,
		                                  .colorblind = c->colorblind,
		                                  .warnings = warnings };
	_cleanup_buf_ struct buf page = { 0 }, report = { 0 };
	struct seep_error *err = NULL;

	if (c->dot || c->svg)
		err = write_graph(c, v, &dot);
	if (!err && c->flame)
		err = ends_in(c->flame, ".svg") ? flame_svg(v, &flame, &page)
		                                : flame_html(v, &flame, &page);
	if (!err && c->flame)
		err = cli_write(&page, c->flame);
	if (!err && c->html)
		err = html_report(v, &html, &report);
	if (!err && c->html)
		err = cli_write(&report, c->html);
	return err;
}
