/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep export: a profile of any kind → a file in the format of another tool.  The format is named, or
 * follows from the output's suffix; src/format has the table.
 */
#include "analysis/diff.h"
#include "analysis/view.h"
#include "capture/capture.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/export_picture.h"
#include "cli/input.h"
#include "cli/profile_cli.h"
#include "format/format.h"
#include "profile/profile.h"
#include "sym/sym.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SNAPSHOT_NAME "seep"
#define SNAPSHOT_SUFFIX ".seep"

struct options {
	const char *output, *format, *value, *kinds, *base;
	bool list;
	struct symbol_cli symbols;
};

/* ---- words of options ------------------------------------------------------------ */

static struct seep_error *parse_output(const struct options *o, struct measure *ret_measure,
                                       struct format_output *ret)
{
	static const unsigned int bits[MEASURE_NVALUES][2] = {
		[MEASURE_INUSE] = { FORMAT_INUSE_BYTES, FORMAT_INUSE_BLOCKS },
		[MEASURE_ALLOC] = { FORMAT_ALLOC_BYTES, FORMAT_ALLOC_BLOCKS },
		[MEASURE_PEAK] = { FORMAT_PEAK_BYTES, FORMAT_PEAK_BLOCKS },
	};
	struct measure m = { MEASURE_INUSE, false };
	struct seep_error *err = NULL;

	if (o->value)
		err = cli_parse_measure(o->value, &m);
	if (!err && o->kinds)
		err = cli_parse_kinds(o->kinds, &ret->kinds);
	if (err)
		return err;
	*ret_measure = m;
	ret->value = bits[m.value][m.blocks];
	if (!ret->value)
		return seep_error_hint(seep_error_new(0, "no format holds what was freed"),
		                       "--value is inuse, alloc or peak, each also with -blocks.");
	return NULL;
}

static bool has_suffix(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n > m && !strcmp(s + n - m, suffix);
}

/* One of three: a format; a picture; or *ret_snapshot, seep's own format, which is in neither table. */
static struct seep_error *find_format(const struct options *o, const struct format **ret_format,
                                      const struct export_picture **ret_picture, bool *ret_snapshot)
{
	_cleanup_buf_ struct buf names = { 0 };
	const struct format *f;

	*ret_snapshot = o->format ? !strcmp(o->format, SNAPSHOT_NAME)
	                          : o->output && has_suffix(o->output, SNAPSHOT_SUFFIX);
	f = o->format ? format_by_name(o->format) : o->output ? format_by_suffix(o->output) : NULL;
	*ret_format = f;
	*ret_picture = o->format   ? export_picture_by_name(o->format)
	               : o->output ? export_picture_by_suffix(o->output)
	                           : NULL;
	if (*ret_snapshot || *ret_picture || (f && f->write))
		return NULL;
	for (size_t i = 0; formats[i]; i++)
		if (formats[i]->write)
			buf_printf(&names, "%s, ", formats[i]->name);
	for (const struct export_picture *p = export_pictures; p->name; p++)
		buf_printf(&names, "%s, ", p->name);
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
	for (const struct export_picture *p = export_pictures; p->name; p++)
		printf("%-14s %-10s %-34s %s\n", p->name, "write", p->title, p->suffixes);
	return CLI_OK;
}

/* ---- in ---------------------------------------------------------------------------- */

static struct seep_error *symbolize(const struct options *o, struct profile *p)
{
	struct symbolizer *sym = NULL;
	struct seep_error *err = symbol_cli_run(&o->symbols, p, &sym);

	for (const char *const *w = !err && sym ? symbolizer_warnings(sym) : NULL; w && *w; w++)
		cli_warn("export", "%s", *w);
	symbolizer_free(sym);
	return err;
}

/* ---- pictures ---------------------------------------------------------------------- */

/* A program that freed what it had held: its peak is the picture to see, unless another was asked for. */
static struct measure fitting_measure(const struct options *o, const struct profile *p,
                                      struct measure m)
{
	struct prof_totals t = profile_totals_of(p, PROF_MEMORY);

	if (!o->value && !o->base && t.inuse.bytes < t.peak.bytes / 50) {
		cli_warn("export", "next to nothing was left in use: showing the peak "
		                   "(--value=inuse: what was left)");
		m.value = MEASURE_PEAK;
	}
	return m;
}

static struct seep_error *export_picture(const struct options *o, const struct export_picture *kind,
                                         struct measure m, unsigned int kinds, char **names,
                                         size_t n, struct buf *out)
{
	const struct view_options view = { .kinds = kinds };
	_cleanup_profile_ struct profile *p = NULL, *base = NULL;
	_cleanup_diff_ struct diff *d = NULL;
	_cleanup_view_ struct view *v = NULL;
	struct symbolizer *sym = NULL, *base_sym = NULL;
	const struct profile *sides[2]; /* the diff borrows the array too */
	struct export_source s;
	struct seep_error *err = NULL;
	char *base_name = (char *)o->base;

	if (o->base && !kind->differences)
		return seep_error_new(0, "--base: %s shows one profile, not a difference",
		                      kind->title);
	err = cli_open_profiles("export", names, n, &p);
	if (!err && o->base)
		err = cli_open_profiles("export", &base_name, 1, &base);
	if (!err)
		err = symbol_cli_run(&o->symbols, p, &sym);
	if (!err && base)
		err = symbol_cli_run(&o->symbols, base, &base_sym);
	sides[0] = base;
	sides[1] = p;
	if (!err && base)
		err = diff_make(sides, 2, &d);
	if (!err)
		err = view_new(d ? d->joint : p, &view, &v);
	if (!err) {
		s = (struct export_source){ .profile = p,
			                    .view = v,
			                    .diff = d,
			                    .measure = fitting_measure(o, p, m),
			                    .warnings = sym ? symbolizer_warnings(sym) : NULL };
		err = kind->write(&s, out);
	}
	symbolizer_free(sym);
	symbolizer_free(base_sym);
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

	if (!f->one_value) {
		if (o->value)
			cli_warn("export", "%s holds several values; --value is of no effect",
			         f->title);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(totals); i++)
		if (totals[i].bit == out->value && !totals[i].total)
			cli_warn("export", "%s holds nothing of what --value=%s asks for",
			         p->source ? p->source : "the input", o->value ? o->value : "inuse");
}

static struct seep_error *export(const struct options *o, char **names, size_t n)
{
	_cleanup_profile_ struct profile *p = NULL;
	_cleanup_buf_ struct buf out = { 0 };
	struct format_output output = { 0 };
	const struct export_picture *picture;
	const struct format *f;
	struct measure m;
	bool snapshot, to_stdout = !o->output || !strcmp(o->output, "-");
	struct seep_error *err = find_format(o, &f, &picture, &snapshot);

	if (!err)
		err = parse_output(o, &m, &output);
	if (!err && picture) {
		err = export_picture(o, picture, m, output.kinds, names, n, &out);
		return err ? err : cli_write(&out, to_stdout ? NULL : o->output);
	}
	if (!err && o->base)
		err = seep_error_hint(seep_error_new(0, "--base: only pictures show a difference"),
		                      "`seep diff` compares; --list shows the formats.");
	if (!err && snapshot && to_stdout)
		err = seep_error_new(0, "a snapshot is written to a file: give -o FILE");
	if (!err && !snapshot && f == format_by_name("pprof") && to_stdout &&
	    cli_terminal(STDOUT_FILENO))
		err = seep_error_new(0, "pprof's format is nothing for a terminal: give -o FILE");
	if (!err)
		err = cli_open_profiles("export", names, n, &p);
	if (!err && (snapshot || f->names))
		err = symbolize(o, p);
	if (!err && snapshot)
		return snapshot_write(p, o->output);
	if (!err) {
		warn_of_nothing(p, f, o, &output);
		err = format_write(f, p, &output, &out);
	}
	return err ? err : cli_write(&out, to_stdout ? NULL : o->output);
}

int cmd_export(int argc, char **argv)
{
	struct options o = { 0 };
	const struct cli_option own[] = {
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
		{ CLI_STRING, 0, "base", &o.base, "PROFILE",
		  "a picture of what changed since this profile", false, NULL },
	};
	struct cli_option options[ARRAY_SIZE(own) + SYMBOL_CLI_ROWS + 1];
	size_t rows = ARRAY_SIZE(own);
	int n, status = CLI_OK;
	struct seep_error *err;

	memcpy(options, own, sizeof(own));
	symbol_cli_init(&o.symbols);
	rows += symbol_cli_options(&o.symbols, options + rows);
	options[rows] = (struct cli_option){ .type = CLI_END };
	n = cli_parse(options, argc, argv, false);
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
	symbol_cli_release(&o.symbols);
	return status;
}
