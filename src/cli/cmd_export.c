/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep export: a profile of any kind → a file in the format of another tool.  The format is named, or
 * follows from the output's suffix; src/format has the table.
 */
#include "capture/capture.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "format/format.h"
#include "profile/profile.h"
#include "sym/sym.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SNAPSHOT_NAME "seep"
#define SNAPSHOT_SUFFIX ".seep"

struct options {
	const char *output, *format, *value, *kinds, *sysroot;
	bool symbols, inlines, debuginfod, list;
	struct cli_list debug_dirs;
};

/* ---- words of options ------------------------------------------------------------ */

struct word {
	const char *name;
	unsigned int bits;
};

static const struct word value_words[] = {
	{ "inuse", FORMAT_INUSE_BYTES },   { "inuse-blocks", FORMAT_INUSE_BLOCKS },
	{ "alloc", FORMAT_ALLOC_BYTES },   { "alloc-blocks", FORMAT_ALLOC_BLOCKS },
	{ "peak", FORMAT_PEAK_BYTES },     { "peak-blocks", FORMAT_PEAK_BLOCKS },
	{ "blocks", FORMAT_INUSE_BLOCKS },
};
static const struct word kind_words[] = {
	{ "heap", PROF_KIND_BIT(PROF_HEAP) },
	{ "mmap", PROF_KIND_BIT(PROF_MMAP) },
	{ "stack", PROF_KIND_BIT(PROF_STACK) },
	{ "all", PROF_ALL_KINDS },
};

static struct seep_error *find_word(const char *option, const char *text, size_t len,
                                    const struct word *words, size_t n, unsigned int *ret_bits)
{
	_cleanup_buf_ struct buf names = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (strlen(words[i].name) == len && !memcmp(words[i].name, text, len)) {
			*ret_bits |= words[i].bits;
			return NULL;
		}
		buf_printf(&names, "%s%s", i ? ", " : "", words[i].name);
	}
	return seep_error_hint(seep_error_new(0, "%s cannot be '%.*s'", option, (int)len, text),
	                       "It is one of: %s", names.data ? names.data : "");
}

static struct seep_error *parse_output(const struct options *o, struct format_output *ret)
{
	struct seep_error *err = NULL;

	if (o->value)
		err = find_word("--value", o->value, strlen(o->value), value_words,
		                ARRAY_SIZE(value_words), &ret->value);
	for (const char *at = o->kinds; at && !err;) {
		size_t n = strcspn(at, ",");

		err = find_word("--kind", at, n, kind_words, ARRAY_SIZE(kind_words), &ret->kinds);
		at = at[n] ? at + n + 1 : NULL;
	}
	return err;
}

static bool has_suffix(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n > m && !strcmp(s + n - m, suffix);
}

/* NULL with *ret_snapshot: seep's own format, which is not in the table. */
static struct seep_error *find_format(const struct options *o, const struct format **ret_format,
                                      bool *ret_snapshot)
{
	_cleanup_buf_ struct buf names = { 0 };
	const struct format *f;

	*ret_snapshot = o->format ? !strcmp(o->format, SNAPSHOT_NAME)
	                          : o->output && has_suffix(o->output, SNAPSHOT_SUFFIX);
	f = o->format ? format_by_name(o->format) : o->output ? format_by_suffix(o->output) : NULL;
	*ret_format = f;
	if (*ret_snapshot || (f && f->write))
		return NULL;
	for (size_t i = 0; formats[i]; i++)
		if (formats[i]->write)
			buf_printf(&names, "%s, ", formats[i]->name);
	buf_puts(&names, SNAPSHOT_NAME);
	if (f)
		return seep_error_hint(seep_error_new(0, "seep reads %s but does not write it",
		                                      f->title),
		                       "--format is one of: %s", names.data);
	if (o->format)
		return seep_error_hint(seep_error_new(0, "there is no format '%s'", o->format),
		                       "--format is one of: %s", names.data);
	if (o->output)
		return seep_error_hint(seep_error_new(0, "the name %s does not tell the format",
		                                      o->output),
		                       "Add --format=NAME, one of: %s", names.data);
	return seep_error_hint(seep_error_new(0, "where to, and in which format?"),
	                       "Give -o FILE, and --format=NAME, one of: %s", names.data);
}

static int list_formats(void)
{
	printf("%-14s %-10s %-34s %s\n", "FORMAT", "", "WHAT", "SUFFIXES");
	printf("%-14s %-10s %-34s %s\n", SNAPSHOT_NAME, "read/write", "seep's own snapshot",
	       SNAPSHOT_SUFFIX);
	for (size_t i = 0; formats[i]; i++) {
		const struct format *f = formats[i];

		printf("%-14s %-10s %-34s %s\n", f->name,
		       !f->read    ? "write"
		       : !f->write ? "read"
		                   : "read/write",
		       f->title, f->suffixes);
	}
	return CLI_OK;
}

/* ---- in ---------------------------------------------------------------------------- */

static struct seep_error *open_inputs(char **names, size_t n, struct profile **ret_profile)
{
	struct profile **in = calloc(n, sizeof(*in));
	struct read_options read = { .blocks = false };
	struct seep_error *err = NULL;

	if (!in)
		return &seep_error_nomem;
	for (size_t i = 0; !err && i < n; i++)
		err = cli_open_profile("export", names[i], &read, &in[i]);
	if (!err && n == 1)
		*ret_profile = TAKE(in[0]);
	else if (!err)
		err = profile_merge(in, n, ret_profile);
	for (size_t i = 0; i < n; i++)
		profile_free(in[i]);
	free(in);
	return err;
}

static struct seep_error *symbolize(const struct options *o, struct profile *p)
{
	_cleanup_free_ const char **dirs = calloc(o->debug_dirs.n + 1, sizeof(*dirs));
	struct sym_options opts = {
		.debug_dirs = dirs,
		.sysroot = o->sysroot,
		.pid = p->live ? p->pid : 0,
		.no_debuginfod = !o->debuginfod,
		.no_inlines = !o->inlines,
	};
	struct symbolizer *sym = NULL;
	struct seep_error *err;

	if (!dirs)
		return &seep_error_nomem;
	for (size_t i = 0; i < o->debug_dirs.n; i++)
		dirs[i] = o->debug_dirs.items[i];
	err = symbolizer_new(&opts, &sym);
	if (!err)
		err = symbolizer_run(sym, p);
	for (const char *const *w = err ? NULL : symbolizer_warnings(sym); w && *w; w++)
		cli_warn("export", "%s", *w);
	symbolizer_free(sym);
	return err;
}

/* ---- out --------------------------------------------------------------------------- */

/* An empty picture is no answer: say that the source does not know the value. */
static void warn_of_nothing(const struct profile *p, const struct format *f,
                            const struct options *o, const struct format_output *out)
{
	struct prof_totals t = profile_totals_of(p, out->kinds ? out->kinds : PROF_MEMORY);
	const struct {
		unsigned int bit;
		uint64_t total;
	} totals[] = {
		{ FORMAT_INUSE_BYTES, t.inuse.bytes }, { FORMAT_INUSE_BLOCKS, t.inuse.blocks },
		{ FORMAT_ALLOC_BYTES, t.alloc.bytes }, { FORMAT_ALLOC_BLOCKS, t.alloc.blocks },
		{ FORMAT_PEAK_BYTES, t.peak.bytes },   { FORMAT_PEAK_BLOCKS, t.peak.blocks },
	};
	unsigned int value = out->value ? out->value : FORMAT_INUSE_BYTES;

	if (!f->one_value) {
		if (o->value)
			cli_warn("export", "%s holds several values; --value is of no effect",
			         f->title);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(totals); i++)
		if (totals[i].bit == value && !totals[i].total)
			cli_warn("export", "%s holds nothing of what --value=%s asks for",
			         p->source ? p->source : "the input", o->value ? o->value : "inuse");
}

static struct seep_error *write_out(const struct buf *out, const char *path)
{
	bool to_stdout = !path || !strcmp(path, "-");
	_cleanup_fclose_ FILE *f = to_stdout ? NULL : fopen(path, "we");
	FILE *to = to_stdout ? stdout : f;

	if (!to)
		return seep_error_new(errno, "cannot create %s", path);
	if ((out->len && fwrite(out->data, 1, out->len, to) != out->len) || fflush(to))
		return seep_error_new(errno, "cannot write to %s",
		                      to_stdout ? "standard output" : path);
	return NULL;
}

static struct seep_error *export(const struct options *o, char **names, size_t n)
{
	_cleanup_profile_ struct profile *p = NULL;
	_cleanup_buf_ struct buf out = { 0 };
	struct format_output output = { 0 };
	const struct format *f;
	bool snapshot;
	struct seep_error *err = find_format(o, &f, &snapshot);

	if (!err)
		err = parse_output(o, &output);
	if (!err && snapshot && (!o->output || !strcmp(o->output, "-")))
		err = seep_error_new(0, "a snapshot is written to a file: give -o FILE");
	if (!err && !snapshot && f == format_by_name("pprof") &&
	    (!o->output || !strcmp(o->output, "-")) && cli_terminal(STDOUT_FILENO))
		err = seep_error_new(0, "pprof's format is nothing for a terminal: give -o FILE");
	if (!err)
		err = open_inputs(names, n, &p);
	if (!err && o->symbols && (snapshot || f->names))
		err = symbolize(o, p);
	if (!err && snapshot)
		return snapshot_write(p, o->output);
	if (!err) {
		warn_of_nothing(p, f, o, &output);
		err = format_write(f, p, &output, &out);
	}
	return err ? err : write_out(&out, o->output);
}

int cmd_export(int argc, char **argv)
{
	struct options o = { .symbols = true, .inlines = true, .debuginfod = true };
	const struct cli_option options[] = {
		{ CLI_STRING, 'o', "output", &o.output, "FILE",
		  "where it goes; the suffix tells the format (default: standard output)", false,
		  NULL },
		{ CLI_STRING, 'f', "format", &o.format, "NAME", "the format (--list shows them)",
		  false, NULL },
		{ CLI_FLAG, 0, "list", &o.list, NULL, "list the formats that are read and written",
		  false, NULL },
		{ CLI_STRING, 'v', "value", &o.value, "WHAT",
		  "inuse (default), alloc or peak, also with -blocks, for formats that hold one value",
		  false, NULL },
		{ CLI_STRING, 'k', "kind", &o.kinds, "KINDS",
		  "heap, mmap, stack (of threads) or all; several with commas (default heap,mmap)",
		  false, NULL },
		{ CLI_FLAG, 0, "symbols", &o.symbols, NULL,
		  "give addresses names (default; --no-symbols: do not)", false, NULL },
		{ CLI_FLAG, 0, "inlines", &o.inlines, NULL,
		  "inlined functions, too (default; --no-inlines: not)", false, NULL },
		{ CLI_FLAG, 0, "debuginfod", &o.debuginfod, NULL,
		  "ask the servers in DEBUGINFOD_URLS (default; --no-debuginfod: do not)", false,
		  NULL },
		{ CLI_LIST, 0, "debug-dir", &o.debug_dirs, "DIR", "also look for debug files here",
		  false, NULL },
		{ CLI_STRING, 0, "sysroot", &o.sysroot, "DIR", "find modules below DIR", false,
		  NULL },
		{ .type = CLI_END },
	};
	int n = cli_parse(options, argc, argv, false), status = CLI_OK;
	struct seep_error *err;

	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	if (o.list) {
		status = list_formats();
	} else if (!n) {
		status = cli_fail("export",
		                  seep_error_hint(seep_error_new(0, "nothing to export"),
		                                  "Name a ledger, a snapshot, a profile of another "
		                                  "tool, a pid or a process."));
	} else {
		err = export(&o, argv + 1, (size_t)n);
		if (err)
			status = cli_fail("export", err);
	}
	free(o.debug_dirs.items);
	return status;
}
