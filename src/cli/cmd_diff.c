/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep diff: what grew between two profiles, or over a series of them.  Once its sides are open (diff_input.c),
 * src/analysis makes one profile of them that a view with the usual options is laid over.
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
#include "cli/diff_input.h"
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
	bool top_given, full_paths, normalize, noise;
	struct diff_input_options input;
	struct view_cli view;
	struct output_cli output;
	struct picture_cli pictures;
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
                               const struct diff_inputs *in)
{
	_cleanup_diff_ struct diff *d = NULL;
	_cleanup_view_ struct view *v = NULL;
	struct seep_error *err = diff_make((const struct profile *const *)in->profiles, in->n, &d);

	if (!err)
		err = view_cli_make(&o->view, r->by, d->joint, &v);
	if (!err)
		err = emit_diff(o, r, d, v);
	if (!err && picture_cli_wanted(&o->pictures))
		err = picture_cli_write(&o->pictures, v, d, r->measure, r->normalize, r->noise,
		                        r->warnings);
	return err;
}

static struct seep_error *diff(const struct options *o, char **names, size_t n)
{
	_cleanup_free_ char *cwd = getcwd(NULL, 0);
	struct diff_report_options r = { .cwd = cwd };
	struct diff_inputs in = { 0 };
	struct seep_error *err = make_report_options(o, &r);

	if (!err)
		err = diff_inputs_open(&o->input, names, n, &in);
	if (!err) {
		r.warnings = in.warnings;
		r.since_ns = o->input.since_given ? o->input.since_ns : 0;
		r.since_age_ns = in.age_ns;
		err = show(o, &r, &in);
	}
	diff_inputs_release(&in);
	return err;
}

/* ---- command ------------------------------------------------------------------------ */

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
		{ CLI_FLAG, 0, "series", &o->input.series, NULL,
		  "three profiles or more: the course of each entry over time", false, NULL },
		{ CLI_DURATION, 0, "since", &o->input.since_ns, "TIME",
		  "against the newest snapshot that is at least so much older: 10m, 36h", false,
		  &o->input.since_given },
		{ CLI_STRING, 0, "snaps", &o->input.snaps, "DIR",
		  "where the earlier snapshots of the process are", false, NULL },
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
	n += symbol_cli_options(&o->input.symbols, options + n);
	options[n] = (struct cli_option){ .type = CLI_END };
	return n;
}

int cmd_diff(int argc, char **argv)
{
	struct options o = { .value = "inuse", .depth = DEFAULT_DEPTH, .view.fold = true };
	struct cli_option options[40] = { { .type = CLI_END } };
	int n, status = CLI_OK;
	struct seep_error *err;

	symbol_cli_init(&o.input.symbols);
	picture_cli_init(&o.pictures);
	make_options(&o, options, ARRAY_SIZE(options));
	n = cli_parse(options, argc, argv, false);
	if (n == -2)
		return CLI_OK;
	if (n < 0)
		return CLI_FAILED;
	err = diff(&o, argv + 1, (size_t)n);
	if (err)
		status = cli_fail("diff", err);
	view_cli_release(&o.view);
	symbol_cli_release(&o.input.symbols);
	return status;
}
