/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of a leak check and the ways out for its results.
 */
#include "cli/check_cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "output/emit.h"
#include "profile/profile.h"

#define DEFAULT_TOP 20
#define DEFAULT_DEPTH 12

/* ---- words ---------------------------------------------------------------------- */

struct word {
	const char *name;
	unsigned int bits;
};

#define CLASS(c) (1u << (c))
#define DEFAULT_CLASSES (CLASS(REACH_DEFINITE) | CLASS(REACH_POSSIBLE))
#define ALL_CLASSES (CLASS(REACH_NCLASSES) - 1)

static const struct word class_words[] = {
	{ "definite", CLASS(REACH_DEFINITE) },
	{ "indirect", CLASS(REACH_INDIRECT) },
	{ "possible", CLASS(REACH_POSSIBLE) },
	{ "reachable", CLASS(REACH_REACHABLE) },
	{ "suppressed", CLASS(REACH_SUPPRESSED) },
	{ "all", ALL_CLASSES },
	{ "none", 0 },
};

static const struct word heuristic_words[] = {
	{ "stdstring", REACH_STDSTRING }, { "length64", REACH_LENGTH64 },
	{ "newarray", REACH_NEWARRAY },   { "multipleinheritance", REACH_MULTIPLE_INHERITANCE },
	{ "all", REACH_ALL_HEURISTICS },  { "none", 0 },
};

static const struct word root_words[] = {
	{ "data", ROOT_BIT(ROOT_DATA) },
	{ "register", ROOT_BIT(ROOT_REGISTER) },
	{ "stack", ROOT_BIT(ROOT_STACK) },
	{ "tls", ROOT_BIT(ROOT_TLS) },
	{ "dynamic-tls", ROOT_BIT(ROOT_DYNAMIC_TLS) },
	{ "mapping", ROOT_BIT(ROOT_MAPPING) },
	{ "region", ROOT_BIT(ROOT_REGION) },
	{ "all", ROOT_ALL },
	{ "none", 0 },
};

/* "definite,possible" → bits; what is wrong names the words there are. */
static struct seep_error *parse_words(const char *option, const char *text,
                                      const struct word *words, size_t n, unsigned int *ret_bits)
{
	unsigned int bits = 0;

	for (;;) {
		size_t len = strcspn(text, ","), i;

		for (i = 0; i < n; i++)
			if (strlen(words[i].name) == len && !strncmp(words[i].name, text, len))
				break;
		if (i == n) {
			_cleanup_buf_ struct buf names = { 0 };

			for (i = 0; i < n; i++)
				buf_printf(&names, "%s%s", i ? ", " : "", words[i].name);
			return seep_error_hint(seep_error_new(0, "%s cannot be '%.*s'", option,
			                                      (int)len, text),
			                       "It is made of: %s; several with commas",
			                       names.data ? names.data : "");
		}
		bits |= words[i].bits;
		if (!text[len])
			break;
		text += len + 1;
	}
	*ret_bits = bits;
	return NULL;
}

/* ---- options --------------------------------------------------------------------- */

void check_cli_init(struct check_cli *c)
{
	memset(c, 0, sizeof(*c));
	c->error_exitcode = CLI_FINDINGS;
	c->top = DEFAULT_TOP;
	c->depth = DEFAULT_DEPTH;
	c->symbols = true;
}

size_t check_cli_options(struct check_cli *c, struct cli_option *rows)
{
	const struct cli_option table[] = {
		{ CLI_STRING, 0, "leak-check", &c->leak_check, "HOW",
		  "full (default): with a record for each leak; or summary", false, NULL },
		{ CLI_STRING, 0, "show-kinds", &c->show_kinds, "KINDS",
		  "records shown: definite, indirect, possible, reachable, suppressed, all or none "
		  "(default definite,possible)",
		  false, NULL },
		{ CLI_STRING, 0, "fail-on", &c->fail_on, "KINDS",
		  "leaks that make the exit status --error-exitcode's (default, when that is given: "
		  "definite,possible)",
		  false, NULL },
		{ CLI_U64, 0, "error-exitcode", &c->error_exitcode, "N",
		  "exit status when there are such leaks (default 1); 0: never", false,
		  &c->error_exitcode_given },
		{ CLI_STRING, 0, "presets", &c->preset, "TOOL",
		  "classes as memcheck (default) or lsan has them", false, NULL },
		{ CLI_LIST, 0, "suppressions", &c->suppression_files, "FILE",
		  "rules in valgrind's or LeakSanitizer's syntax for leaks not to report", false,
		  NULL },
		{ CLI_FLAG, 0, "gen-suppressions", &c->gen_suppressions, NULL,
		  "print a rule for each record", false, NULL },
		{ CLI_FLAG, 0, "rules", &c->rules, NULL, "list the rules used and those never used",
		  false, NULL },
		{ CLI_STRING, 0, "baseline", &c->baseline, "FILE",
		  "leaks known already: they do not fail", false, NULL },
		{ CLI_STRING, 0, "write-baseline", &c->write_baseline, "FILE",
		  "write the leaks of this check as a baseline", false, NULL },
		{ CLI_STRING, 0, "heuristics", &c->heuristics, "LIST",
		  "stdstring, length64, newarray, multipleinheritance; all (default) or none",
		  false, NULL },
		{ CLI_STRING, 0, "roots", &c->roots, "LIST",
		  "where pointers are looked for: data, register, stack, tls, dynamic-tls, mapping, "
		  "region; all (default) or none",
		  false, NULL },
		{ CLI_FLAG, 0, "unaligned", &c->unaligned, NULL,
		  "pointers may be at any byte, not only at words", false, NULL },
		{ CLI_STRING, 0, "pointer-mask", &c->pointer_mask, "HEX",
		  "bits of a word that make the pointer, where programs keep tags in it", false,
		  NULL },
		{ CLI_STRING, 0, "junit", &c->junit, "FILE", "write the result as JUnit XML", false,
		  NULL },
		{ CLI_STRING, 0, "sarif", &c->sarif, "FILE", "write the result as SARIF 2.1.0",
		  false, NULL },
		{ CLI_U64, 'n', "top", &c->top, "N",
		  "at most N records as text; 0: all (default 20)", false, NULL },
		{ CLI_U64, 0, "depth", &c->depth, "N",
		  "frames shown of a stack; 0: all (default 12)", false, NULL },
		{ CLI_FLAG, 0, "full-paths", &c->full_paths, NULL,
		  "whole paths of files and modules", false, NULL },
		/* by memcheck's names, for command lines that are there already */
		{ CLI_STRING, 0, "show-leak-kinds", &c->show_kinds, "KINDS", NULL, false, NULL },
		{ CLI_STRING, 0, "errors-for-leak-kinds", &c->fail_on, "KINDS", NULL, false, NULL },
		{ CLI_STRING, 0, "leak-check-heuristics", &c->heuristics, "LIST", NULL, false, NULL },
		{ CLI_U64, 0, "num-callers", &c->depth, "N", NULL, false, NULL },
	};

	_Static_assert(ARRAY_SIZE(table) <= CHECK_CLI_ROWS, "room for all rows");
	memcpy(rows, table, sizeof(table));
	return ARRAY_SIZE(table);
}

static struct seep_error *resolve_preset(struct check_cli *c)
{
	if (!c->preset || !strcmp(c->preset, "memcheck"))
		return NULL;
	if (strcmp(c->preset, "lsan") != 0)
		return seep_error_hint(seep_error_new(0, "--presets cannot be '%s'", c->preset),
		                       "It is memcheck or lsan.");
	c->lsan = true;
	c->reach.interior_reachable = true;
	return NULL;
}

static struct seep_error *resolve_pointers(struct check_cli *c)
{
	char *end;

	c->reach.unaligned = c->unaligned;
	if (!c->pointer_mask)
		return NULL;
	errno = 0;
	c->reach.pointer_mask = strtoull(c->pointer_mask, &end, 16);
	if (errno || *end || end == c->pointer_mask || c->pointer_mask[0] == '-' ||
	    !c->reach.pointer_mask)
		return seep_error_hint(
			seep_error_new(0, "--pointer-mask cannot be '%s'", c->pointer_mask),
			"Give the bits to keep in hexadecimal: 00fffffffffffff8 takes off the top "
			"byte and the three low bits.");
	return NULL;
}

static struct seep_error *resolve_suppressions(struct check_cli *c)
{
	struct seep_error *err = NULL;

	c->suppressions = suppressions_new();
	if (!c->suppressions)
		return &seep_error_nomem;
	for (size_t i = 0; !err && i < c->suppression_files.n; i++)
		err = suppressions_add_file(c->suppressions, c->suppression_files.items[i]);
	return err;
}

/* Whether a file can be written there, as far as can be told without doing it; before a run of hours, not after it. */
static struct seep_error *may_write(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	_cleanup_free_ char *dir = NULL;

	if (!path || access(path, W_OK) == 0)
		return NULL;
	if (errno != ENOENT)
		return seep_error_new(errno, "cannot write %s", path);
	dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	if (!dir)
		return &seep_error_nomem;
	return access(dir, W_OK | X_OK) == 0 ? NULL : seep_error_new(errno, "cannot write %s", path);
}

static struct seep_error *check_files(const struct check_cli *c)
{
	const char *const written[] = { c->junit, c->sarif, c->output, c->json_file,
		                        c->write_baseline };
	struct seep_error *err = NULL;

	for (size_t i = 0; !err && i < ARRAY_SIZE(written); i++)
		err = may_write(written[i]);
	if (!err && c->baseline && access(c->baseline, R_OK) < 0)
		err = seep_error_hint(seep_error_new(errno, "cannot read the baseline %s",
		                                     c->baseline),
		                      "--write-baseline=FILE makes one.");
	return err;
}

struct seep_error *check_cli_resolve(struct check_cli *c)
{
	struct seep_error *err = resolve_preset(c);

	c->show = c->lsan ? CLASS(REACH_DEFINITE) | CLASS(REACH_INDIRECT) : DEFAULT_CLASSES;
	c->reach.heuristics = REACH_ALL_HEURISTICS;
	if (!err && c->leak_check) {
		c->summary_only = !strcmp(c->leak_check, "summary");
		if (!c->summary_only && strcmp(c->leak_check, "full") != 0 &&
		    strcmp(c->leak_check, "yes") != 0)
			err = seep_error_hint(seep_error_new(0, "--leak-check cannot be '%s'",
			                                     c->leak_check),
			                      "It is full or summary.");
	}
	if (!err && c->show_kinds)
		err = parse_words("--show-kinds", c->show_kinds, class_words,
		                  ARRAY_SIZE(class_words), &c->show);
	if (!err && (c->fail_on || c->error_exitcode_given))
		c->fail = c->lsan ? CLASS(REACH_DEFINITE) : DEFAULT_CLASSES;
	if (!err && c->fail_on)
		err = parse_words("--fail-on", c->fail_on, class_words, ARRAY_SIZE(class_words),
		                  &c->fail);
	if (!err && c->error_exitcode > 255)
		err = seep_error_new(0, "--error-exitcode %llu: an exit status is at most 255",
		                     (unsigned long long)c->error_exitcode);
	if (!err && c->heuristics)
		err = parse_words("--heuristics", c->heuristics, heuristic_words,
		                  ARRAY_SIZE(heuristic_words), &c->reach.heuristics);
	if (!err && c->roots) {
		err = parse_words("--roots", c->roots, root_words, ARRAY_SIZE(root_words),
		                  &c->reach.roots);
		c->reach.roots |= ROOT_BIT(ROOT_IGNORED); /* that is an order, not a place */
	}
	if (!err)
		err = resolve_pointers(c);
	if (!err)
		err = resolve_suppressions(c);
	if (!err)
		err = check_files(c);
	c->fail_status = (int)c->error_exitcode;
	if (!c->error_exitcode)
		c->fail = 0;
	c->cwd = getcwd(NULL, 0);
	return err;
}

void check_cli_release(struct check_cli *c)
{
	suppressions_free(c->suppressions);
	free(c->suppression_files.items);
	free(c->cwd);
	memset(c, 0, sizeof(*c));
}

void check_cli_apply(const struct check_cli *c, struct check_options *opts)
{
	opts->reach = c->reach;
	opts->suppressions = c->suppressions;
	opts->baseline = c->baseline;
	opts->classes = c->show | c->fail | DEFAULT_CLASSES | CLASS(REACH_INDIRECT) |
	                CLASS(REACH_SUPPRESSED);
	opts->no_symbols = !c->symbols;
}

/* ---- output ------------------------------------------------------------------------- */

static struct seep_error *write_all(int fd, const char *path, const struct buf *b)
{
	for (size_t done = 0; done < b->len;) {
		ssize_t n = write(fd, b->data + done, b->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EPIPE && !path)
			return NULL; /* the reader of the pipe has seen enough */
		if (n < 0)
			return seep_error_new(errno, "cannot write to %s",
			                      path ? path : "the output");
		done += (size_t)n;
	}
	return b->failed ? &seep_error_nomem : NULL;
}

static struct seep_error *write_file(const char *path, const struct buf *b, bool append)
{
	_cleanup_close_ int fd =
		open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0666);

	if (fd < 0)
		return seep_error_new(errno, "cannot write %s", path);
	return write_all(fd, path, b);
}

static struct check_report_options report_options(const struct check_cli *c)
{
	return (struct check_report_options){
		.show_kinds = c->show,
		.fail_on = c->fail,
		.summary_only = c->summary_only,
		.lsan_preset = c->lsan,
		.top = (size_t)c->top,
		.depth = (size_t)c->depth,
		.full_paths = c->full_paths,
		.rules = c->rules,
		.cwd = c->cwd,
	};
}

/* Records that differ by a line only give the same rule: once is enough. */
static void add_rule(struct buf *out, size_t start, enum reach_class class,
                     const struct suppress_frame *frames, size_t n)
{
	_cleanup_buf_ struct buf rule = { 0 };

	suppress_generate(&rule, class, frames, n);
	if (rule.failed)
		out->failed = true;
	else if (rule.data && !(out->len > start && strstr(out->data + start, rule.data)))
		buf_puts(out, rule.data);
}

static struct seep_error *generate_rules(struct buf *out, const struct check_cli *c,
                                         const struct check *check)
{
	struct seep_error *err = NULL;
	size_t start = out->len;

	for (size_t i = 0; !err && check->profile && i < check->leaks.n; i++) {
		const struct leak_record *r = &check->leaks.records[i];
		_cleanup_free_ struct suppress_frame *frames = NULL;
		size_t n = 0;

		if (!r->site || r->class == REACH_SUPPRESSED || !(c->show & CLASS(r->class)))
			continue;
		err = suppress_stack(check->profile, r->site, &frames, &n);
		if (!err)
			add_rule(out, start, r->class, frames, n);
	}
	return err;
}

struct seep_error *check_cli_show(const struct check_cli *c, const struct check *check, int fd)
{
	struct check_report_options o = report_options(c);
	struct emit_options eo = { .format = EMIT_TEXT,
		                   .width = c->output ? 100 : cli_width(fd),
		                   .color = !c->output && cli_color(fd) };
	_cleanup_buf_ struct buf out = { 0 };
	_cleanup_emit_ struct emit *e = NULL;
	struct seep_error *err;

	if (c->json)
		return NULL;
	e = emit_new(&eo, &out);
	if (!e)
		return &seep_error_nomem;
	err = check_report_emit(e, check, &o);
	if (!err && c->gen_suppressions)
		err = generate_rules(&out, c, check);
	if (err)
		return err;
	return c->output ? write_file(c->output, &out, true) : write_all(fd, NULL, &out);
}

static struct seep_error *write_json(const struct check_cli *c, struct check *const *checks,
                                     size_t n, int fd)
{
	struct check_report_options o = report_options(c);
	struct emit_options eo = { .format = EMIT_JSON };
	_cleanup_buf_ struct buf out = { 0 };
	_cleanup_emit_ struct emit *e = emit_new(&eo, &out);
	struct seep_error *err = e ? NULL : &seep_error_nomem;

	if (err)
		return err;
	emit_object(e, NULL);
	emit_field(e, "version", NULL, emit_number(CHECK_JSON_VERSION));
	emit_array(e, "checks");
	for (size_t i = 0; !err && i < n; i++)
		err = check_report_emit(e, checks[i], &o);
	emit_array_end(e);
	emit_object_end(e);
	if (err)
		return err;
	if (c->json_file || c->output)
		return write_file(c->json_file ? c->json_file : c->output, &out, false);
	return write_all(fd, NULL, &out);
}

struct seep_error *check_cli_finish(const struct check_cli *c, struct check *const *checks,
                                    size_t n, int fd)
{
	const struct check *const *list = (const struct check *const *)checks;
	struct check_report_options o = report_options(c);
	_cleanup_buf_ struct buf junit = { 0 }, sarif = { 0 }, baseline = { 0 };
	struct seep_error *err = c->json || c->json_file ? write_json(c, checks, n, fd) : NULL;

	if (!err && c->junit)
		err = check_junit(&junit, list, n, &o);
	if (!err && c->junit)
		err = write_file(c->junit, &junit, false);
	if (!err && c->sarif)
		err = check_sarif(&sarif, list, n, &o);
	if (!err && c->sarif)
		err = write_file(c->sarif, &sarif, false);
	if (!err && c->write_baseline) {
		for (size_t i = 0; i < n; i++)
			leaks_baseline_write(&baseline, &checks[i]->leaks, checks[i]->profile);
		err = write_file(c->write_baseline, &baseline, false);
	}
	return err;
}

bool check_cli_fails(const struct check_cli *c, struct check *const *checks, size_t n)
{
	for (size_t i = 0; c->fail && i < n; i++)
		if (check_failures(checks[i], c->fail).records)
			return true;
	return false;
}
