/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep diff: what grew between two profiles, or over a series of them.  Each side is opened and symbolized by itself
 * (its process may live, its files may have changed since), then src/analysis makes one profile of them that a view
 * with the usual options is laid over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/diff.h"
#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "capture/capture.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/profile_cli.h"
#include "output/diff_report.h"
#include "output/emit.h"
#include "profile/profile.h"
#include "sym/sym.h"

#define DEFAULT_TOP 10
#define DEFAULT_TOP_JSON 1000
#define DEFAULT_DEPTH 12

struct options {
	const char *value, *by, *sort, *min;
	uint64_t top, depth;
	bool top_given, full_paths, normalize, noise, series;
	struct view_cli view;
	struct output_cli output;
	struct symbol_cli symbols;
	struct picture_cli pictures;
};

/* The profiles given, in order, and what gave them their names. */
struct inputs {
	struct profile **profiles;
	struct symbolizer **symbolizers;
	const char **warnings; /* NULL-terminated, each once */
	size_t n, nwarnings;
};

static const struct cli_word by_words[] = { { "site", GROUP_SITE },
	                                    { "function", GROUP_FUNCTION },
	                                    { "module", GROUP_MODULE },
	                                    { "thread", GROUP_THREAD },
	                                    { "kind", GROUP_KIND } };
static const struct cli_word sort_words[] = {
	{ "growth", DIFF_GROWTH }, { "shrinkage", DIFF_SHRINKAGE }, { "change", DIFF_CHANGE },
	{ "self", DIFF_SELF },     { "blocks", DIFF_BLOCKS },       { "after", DIFF_AFTER },
	{ "name", DIFF_NAME },
};

static struct seep_error *make_report_options(const struct options *o, struct diff_report_options *r)
{
	struct seep_error *err = cli_parse_measure(o->value, &r->measure);
	int by = GROUP_SITE, order = DIFF_GROWTH;

	if (!err && o->by)
		err = cli_find_word("--by", o->by, by_words, ARRAY_SIZE(by_words), &by);
	if (!err)
		err = cli_check_by((enum group_by)by, r->measure);
	if (!err && o->sort)
		err = cli_find_word("--sort", o->sort, sort_words, ARRAY_SIZE(sort_words), &order);
	if (!err && o->min)
		err = cli_parse_min(o->min, &r->min_value, &r->min_ratio);
	if (err)
		return err;
	r->by = (enum group_by)by;
	r->order = (enum diff_order)order;
	r->normalize = o->normalize;
	r->noise = o->noise;
	r->top = o->top_given ? (size_t)o->top : o->output.json ? DEFAULT_TOP_JSON : DEFAULT_TOP;
	r->depth = (size_t)o->depth;
	r->full_paths = o->full_paths;
	return NULL;
}

/* ---- input ---------------------------------------------------------------------- */

/* Files of a series come in the order of their names; what they say of their time is better. */
static void sort_by_time(struct inputs *in)
{
	for (size_t i = 0; i < in->n; i++)
		if (!diff_moment(in->profiles[i]))
			return;
	for (size_t i = 1; i < in->n; i++) {
		struct profile *p = in->profiles[i];
		size_t k = i;

		for (; k && diff_moment(in->profiles[k - 1]) > diff_moment(p); k--)
			in->profiles[k] = in->profiles[k - 1];
		in->profiles[k] = p;
	}
}

static struct seep_error *add_warnings(struct inputs *in, const struct symbolizer *sym)
{
	for (const char *const *w = symbolizer_warnings(sym); w && *w; w++) {
		const char **more;
		bool known = false;

		for (size_t i = 0; i < in->nwarnings; i++)
			known |= !strcmp(in->warnings[i], *w);
		if (known)
			continue;
		more = reallocarray(in->warnings, in->nwarnings + 2, sizeof(*more));
		if (!more)
			return &seep_error_nomem;
		in->warnings = more;
		in->warnings[in->nwarnings++] = *w;
		in->warnings[in->nwarnings] = NULL;
	}
	return NULL;
}

static struct seep_error *open_inputs(const struct options *o, char **names, size_t n,
                                      struct inputs *in)
{
	struct read_options read = { .blocks = false };
	struct seep_error *err = NULL;

	in->profiles = calloc(n, sizeof(*in->profiles));
	in->symbolizers = calloc(n, sizeof(*in->symbolizers));
	if (!in->profiles || !in->symbolizers)
		return &seep_error_nomem;
	in->n = n;
	for (size_t i = 0; !err && i < n; i++)
		err = cli_open_profile("diff", names[i], &read, &in->profiles[i]);
	if (!err && o->series)
		sort_by_time(in);
	for (size_t i = 0; !err && i < n; i++) {
		err = symbol_cli_run(&o->symbols, in->profiles[i], &in->symbolizers[i]);
		if (!err && in->symbolizers[i])
			err = add_warnings(in, in->symbolizers[i]);
	}
	return err;
}

static void close_inputs(struct inputs *in)
{
	for (size_t i = 0; i < in->n; i++) {
		profile_free(in->profiles[i]);
		symbolizer_free(in->symbolizers[i]);
	}
	free(in->profiles);
	free(in->symbolizers);
	free(in->warnings);
}

/* ---- output ----------------------------------------------------------------------- */

static struct seep_error *emit_diff(const struct options *o, const struct diff_report_options *r,
                                    struct diff *d, const struct view *v)
{
	_cleanup_buf_ struct buf out = { 0 };
	_cleanup_emit_ struct emit *e = NULL;
	struct seep_error *err = output_cli_open(&o->output, &out, &e);

	if (!err)
		err = diff_report_emit(e, d, v, r);
	return err ? err : output_cli_write(&o->output, &out);
}

static struct seep_error *show(const struct options *o, const struct diff_report_options *r,
                               const struct inputs *in)
{
	_cleanup_diff_ struct diff *d = NULL;
	_cleanup_view_ struct view *v = NULL;
	struct seep_error *err = diff_make((const struct profile *const *)in->profiles, in->n, &d);

	if (!err)
		err = view_cli_make(&o->view, r->by, d->joint, &v);
	if (!err)
		err = emit_diff(o, r, d, v);
	if (!err && picture_cli_wanted(&o->pictures))
		err = picture_cli_write(&o->pictures, v, d, r->measure, r->normalize, r->noise);
	return err;
}

static struct seep_error *diff(const struct options *o, char **names, size_t n)
{
	_cleanup_free_ char *cwd = getcwd(NULL, 0);
	struct diff_report_options r = { .cwd = cwd };
	struct inputs in = { 0 };
	struct seep_error *err = make_report_options(o, &r);

	if (!err)
		err = open_inputs(o, names, n, &in);
	if (!err) {
		r.warnings = in.warnings;
		err = show(o, &r, &in);
	}
	close_inputs(&in);
	return err;
}

/* ---- command ------------------------------------------------------------------------ */

static struct seep_error *check_operands(const struct options *o, int n)
{
	if (n < 2)
		return seep_error_hint(
			seep_error_new(0, "a difference takes two profiles, before and after"),
			"Name two snapshots, ledgers, processes or files of other tools; 'seep snap PID' "
			"takes a snapshot.");
	if (n > 2 && !o->series)
		return seep_error_hint(seep_error_new(0, "%d profiles are more than two", n),
		                       "With --series they are a series in the order of time.");
	if (o->series && n < 3)
		return seep_error_new(0, "a series takes three profiles or more");
	return NULL;
}

static size_t make_options(struct options *o, struct cli_option *options, size_t max)
{
	const struct cli_option own[] = {
		{ CLI_STRING, 'v', "value", &o->value, "WHAT",
		  "inuse (default), alloc, freed or peak; with -blocks to count blocks", false,
		  NULL },
		{ CLI_STRING, 'b', "by", &o->by, "WHAT",
		  "site (default), function, module, thread or kind", false, NULL },
		{ CLI_STRING, 'k', "kind", &o->view.kinds, "KINDS",
		  "heap, mmap, stack (of threads) or all; several with commas (default heap,mmap)",
		  false, NULL },
		{ CLI_STRING, 's', "sort", &o->sort, "ORDER",
		  "growth (default), shrinkage, change, self, blocks, after or name", false, NULL },
		{ CLI_FLAG, 0, "normalize", &o->normalize, NULL,
		  "compare shares: scale the first side to the total of the last", false, NULL },
		{ CLI_FLAG, 0, "series", &o->series, NULL,
		  "three profiles or more: the course of each entry over time", false, NULL },
		{ CLI_FLAG, 0, "noise", &o->noise, NULL,
		  "show also what may be chance (sampled profiles)", false, NULL },
		{ CLI_U64, 'n', "top", &o->top, "N",
		  "at most N entries; 0: all (default 10; 1000 with --json)", false, &o->top_given },
		{ CLI_STRING, 'm', "min", &o->min, "SIZE",
		  "leave out smaller changes: 64K, or a share of all change such as 1%", false,
		  NULL },
		{ CLI_U64, 0, "depth", &o->depth, "N",
		  "frames shown of a stack; 0: all (default 12)", false, NULL },
		{ CLI_LIST, 'f', "focus", &o->view.focus, "REGEX",
		  "only stacks with a matching function, file or module", false, NULL },
		{ CLI_LIST, 'i', "ignore", &o->view.ignore, "REGEX",
		  "leave out stacks with a match", false, NULL },
		{ CLI_LIST, 0, "hide", &o->view.hide, "REGEX", "leave out matching frames", false,
		  NULL },
		{ CLI_FLAG, 0, "fold", &o->view.fold, NULL,
		  "fold the allocator's own frames away (default; --no-fold: show them)", false,
		  NULL },
		{ CLI_FLAG, 'j', "json", &o->output.json, NULL, "JSON (docs/DIFF-JSON.md)", false,
		  NULL },
		{ CLI_STRING, 'o', "output", &o->output.path, "FILE", "write to FILE", false, NULL },
		{ CLI_FLAG, 0, "full-paths", &o->full_paths, NULL,
		  "whole paths of files and modules", false, NULL },
		{ CLI_U64, 0, "width", &o->output.width, "N",
		  "columns of text (default: the terminal's)", false, NULL },
	};
	size_t n = ARRAY_SIZE(own);

	if (n + PICTURE_CLI_ROWS + SYMBOL_CLI_ROWS + 1 > max)
		return 0;
	memcpy(options, own, sizeof(own));
	n += picture_cli_options(&o->pictures, options + n);
	n += symbol_cli_options(&o->symbols, options + n);
	options[n] = (struct cli_option){ .type = CLI_END };
	return n;
}

int cmd_diff(int argc, char **argv)
{
	struct options o = { .value = "inuse", .depth = DEFAULT_DEPTH, .view.fold = true };
	struct cli_option options[40] = { { .type = CLI_END } };
	int n, status = CLI_OK;
	struct seep_error *err;

	symbol_cli_init(&o.symbols);
	picture_cli_init(&o.pictures);
	make_options(&o, options, ARRAY_SIZE(options));
	n = cli_parse(options, argc, argv, false);
	if (n == -2)
		return CLI_OK;
	if (n < 0)
		return CLI_FAILED;
	err = check_operands(&o, n);
	if (!err)
		err = diff(&o, argv + 1, (size_t)n);
	if (err)
		status = cli_fail("diff", err);
	view_cli_release(&o.view);
	symbol_cli_release(&o.symbols);
	return status;
}
