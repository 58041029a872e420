/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep report: ledgers, snapshots or running processes → what holds the memory.
 * Opens and merges the inputs, gives the addresses names, makes the view the
 * options ask for and lets src/output write it.
 */
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
#include "capture/capture.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/profile_cli.h"
#include "output/emit.h"
#include "output/report.h"
#include "profile/profile.h"
#include "sym/sym.h"

#define DEFAULT_TOP 10
#define DEFAULT_TOP_JSON 1000
#define DEFAULT_DEPTH 12

struct options {
	const char *value, *by, *tree, *sort, *min, *timeline_style;
	uint64_t top, depth;
	bool top_given, hist, full_paths, timeline;
	struct view_cli view;
	struct output_cli output;
	struct symbol_cli symbols;
	struct picture_cli pictures;
};

/* ---- words of options ------------------------------------------------------ */

static const struct cli_word by_words[] = {
	{ "site", GROUP_SITE },     { "function", GROUP_FUNCTION }, { "module", GROUP_MODULE },
	{ "thread", GROUP_THREAD }, { "kind", GROUP_KIND },
};
static const struct cli_word tree_words[] = { { "root", TREE_ROOT_FIRST },
	                                      { "leaf", TREE_LEAF_FIRST } };
static const struct cli_word sort_words[] = {
	{ "total", ORDER_TOTAL },     { "self", ORDER_VALUE }, { "blocks", ORDER_BLOCKS },
	{ "average", ORDER_AVERAGE }, { "age", ORDER_AGE },    { "name", ORDER_NAME },
};

static const struct cli_word style_words[] = { { "blocks", 0 }, { "ascii", 1 } };

/* A graph and what stands around it fill a terminal; 0: there is none. */
static size_t timeline_height(int fd)
{
	unsigned int rows = cli_height(fd);

	return rows > 40 ? rows / 2 : rows > 24 ? rows - 20 : rows ? 8 : 0;
}

static struct seep_error *make_report_options(const struct options *o, struct report_options *r)
{
	struct seep_error *err = cli_parse_measure(o->value, &r->measure);
	int by = GROUP_SITE, direction = TREE_ROOT_FIRST, order = ORDER_TOTAL, style = -1;

	if (!err && o->by)
		err = cli_find_word("--by", o->by, by_words, ARRAY_SIZE(by_words), &by);
	if (!err && o->tree)
		err = cli_find_word("--tree", o->tree, tree_words, ARRAY_SIZE(tree_words),
		                    &direction);
	if (!err && o->sort)
		err = cli_find_word("--sort", o->sort, sort_words, ARRAY_SIZE(sort_words), &order);
	if (!err && o->min)
		err = cli_parse_min(o->min, &r->min_value, &r->min_ratio);
	if (err)
		return err;
	if (o->timeline && !o->output.json && (o->tree || o->by || o->sort))
		return seep_error_new(0, "--timeline does not go with %s",
		                      o->tree ? "--tree"
		                      : o->by ? "--by"
		                              : "--sort");
	if (!err && o->timeline_style)
		err = cli_find_word("--timeline", o->timeline_style, style_words,
		                    ARRAY_SIZE(style_words), &style);
	if (err)
		return err;
	if (o->tree && (o->by || o->sort))
		return seep_error_new(0, "--tree does not go with %s", o->by ? "--by" : "--sort");
	err = cli_check_by((enum group_by)by, r->measure);
	if (err)
		return err;
	r->by = (enum group_by)by;
	r->tree = o->tree != NULL;
	r->direction = (enum tree_direction)direction;
	r->order = (enum group_order)order;
	/* A program can cut for itself, but all sites of a big one, with their stacks, are hundreds of megabytes. */
	r->top = o->top_given     ? (size_t)o->top
	         : r->tree        ? 0
	         : o->output.json ? DEFAULT_TOP_JSON
	                          : DEFAULT_TOP;
	if (r->tree && !o->min)
		r->min_ratio = o->output.json ? 0.001 : 0.01;
	r->depth = (size_t)o->depth;
	r->hist = o->hist;
	r->timeline = o->timeline;
	r->ascii = style < 0 ? !o->output.path && !cli_utf8(STDOUT_FILENO) : style;
	r->height = o->output.path ? 0 : timeline_height(STDOUT_FILENO);
	r->full_paths = o->full_paths;
	return NULL;
}

/* ---- output ------------------------------------------------------------------ */

static struct seep_error *emit_report(const struct options *o, const struct report_options *r,
                                      const struct view *v)
{
	_cleanup_buf_ struct buf out = { 0 };
	_cleanup_emit_ struct emit *e = NULL;
	struct seep_error *err = output_cli_open(&o->output, &out, &e);

	if (!err)
		err = report_emit(e, v, r);
	return err ? err : output_cli_write(&o->output, &out);
}

static struct seep_error *report(const struct options *o, char **names, size_t n)
{
	_cleanup_profile_ struct profile *p = NULL;
	_cleanup_view_ struct view *v = NULL;
	_cleanup_free_ char *cwd = getcwd(NULL, 0);
	struct symbolizer *sym = NULL;
	struct report_options r = { .cwd = cwd };
	struct seep_error *err = make_report_options(o, &r);

	if (!err)
		err = cli_open_profiles("report", names, n, &p);
	if (!err)
		err = symbol_cli_run(&o->symbols, p, &sym);
	if (!err)
		err = view_cli_make(&o->view, r.by, p, &v);
	if (!err) {
		r.warnings = sym ? symbolizer_warnings(sym) : NULL;
		err = emit_report(o, &r, v);
	}
	if (!err && picture_cli_wanted(&o->pictures)) {
		err = picture_cli_write(&o->pictures, v, NULL, r.measure, false, false, r.warnings);
	}
	symbolizer_free(sym);
	return err;
}

int cmd_report(int argc, char **argv)
{
	struct options o = {
		.value = "inuse",
		.depth = DEFAULT_DEPTH,
		.view.fold = true,
	};
	const struct cli_option own[] = {
		{ CLI_STRING, 'v', "value", &o.value, "WHAT",
		  "inuse (default), alloc, freed or peak; with -blocks to count blocks", false,
		  NULL },
		{ CLI_STRING, 'b', "by", &o.by, "WHAT",
		  "site (default), function, module, thread or kind", false, NULL },
		{ CLI_STRING, 'k', "kind", &o.view.kinds, "KINDS",
		  "heap, mmap, stack (of threads) or all; several with commas (default heap,mmap)",
		  false, NULL },
		{ CLI_STRING, 't', "tree", &o.tree, "END",
		  "call tree, from the root or from the leaf", false, NULL },
		{ CLI_STRING, 's', "sort", &o.sort, "ORDER",
		  "total (default), self, blocks, average, age or name", false, NULL },
		{ CLI_U64, 'n', "top", &o.top, "N",
		  "at most N entries; 0: all (default 10; 1000 with --json)", false, &o.top_given },
		{ CLI_STRING, 'm', "min", &o.min, "SIZE",
		  "leave out what is smaller: 64K, or a share such as 1%", false, NULL },
		{ CLI_U64, 0, "depth", &o.depth, "N",
		  "frames shown of a stack; 0: all (default 12)", false, NULL },
		{ CLI_LIST, 'f', "focus", &o.view.focus, "REGEX",
		  "only stacks with a matching function, file or module", false, NULL },
		{ CLI_LIST, 'i', "ignore", &o.view.ignore, "REGEX", "leave out stacks with a match",
		  false, NULL },
		{ CLI_LIST, 0, "hide", &o.view.hide, "REGEX", "leave out matching frames", false,
		  NULL },
		{ CLI_FLAG, 0, "fold", &o.view.fold, NULL,
		  "fold the allocator's own frames away (default; --no-fold: show them)", false,
		  NULL },
		{ CLI_FLAG, 0, "hist", &o.hist, NULL, "detailed histograms of sizes and lifetimes",
		  false, NULL },
		{ CLI_STRING, 0, "timeline", &o.timeline_style, "STYLE",
		  "the course over time as a graph, of blocks or in ascii (default: what the "
		  "terminal can show)",
		  true, &o.timeline },
		{ CLI_FLAG, 'j', "json", &o.output.json, NULL, "JSON (docs/REPORT-JSON.md)", false,
		  NULL },
		{ CLI_STRING, 'o', "output", &o.output.path, "FILE", "write to FILE", false, NULL },
		{ CLI_FLAG, 0, "full-paths", &o.full_paths, NULL,
		  "whole paths of files and modules", false, NULL },
		{ CLI_U64, 0, "width", &o.output.width, "N",
		  "columns of text (default: the terminal's)", false, NULL },
	};
	struct cli_option options[ARRAY_SIZE(own) + SYMBOL_CLI_ROWS + PICTURE_CLI_ROWS + 1];
	size_t rows = ARRAY_SIZE(own);
	int n, status = CLI_OK;
	struct seep_error *err;

	memcpy(options, own, sizeof(own));
	symbol_cli_init(&o.symbols);
	picture_cli_init(&o.pictures);
	rows += symbol_cli_options(&o.symbols, options + rows);
	rows += picture_cli_options(&o.pictures, options + rows);
	options[rows] = (struct cli_option){ .type = CLI_END };
	n = cli_parse(options, argc, argv, false);
	if (n == -2)
		return CLI_OK;
	if (n < 0)
		return CLI_FAILED;
	if (!n) {
		status = cli_fail("report",
		                  seep_error_hint(seep_error_new(0, "nothing to report on"),
		                                  "Name a ledger, a snapshot, a pid or a process; "
		                                  "'seep ps' lists what is being tracked."));
	} else {
		err = report(&o, argv + 1, (size_t)n);
		if (err)
			status = cli_fail("report", err);
	}
	view_cli_release(&o.view);
	symbol_cli_release(&o.symbols);
	return status;
}
