/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SARIF 2.1.0, for code review: a class of leaks is a rule, a record a result at the innermost line of the
 * program's own.  Written with the emitter's JSON.
 *
 * Files below the working directory are relative to %SRCROOT%, so that results from a build machine land
 * on the lines of a checkout elsewhere; fingerprints are seep's, so that a result is the same one
 * after a rebuild.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/check_private.h"
#include "output/emit.h"
#include "output/units.h"

#define SCHEMA "https://json.schemastore.org/sarif-2.1.0.json"
#define ROOT_ID "%SRCROOT%"

/* In the order of enum reach_class; the place in the list is the results' ruleIndex. */
static const struct rule {
	const char *id, *name, *text, *level;
} rules[REACH_NCLASSES] = {
	[REACH_REACHABLE] = { "reachable-block", "ReachableBlock",
	                      "Memory that was not freed, and that the program still has a pointer to.",
	                      "note" },
	[REACH_POSSIBLE] = { "possible-leak", "PossibleLeak",
	                     "Memory that only pointers into its middle lead to.", "warning" },
	[REACH_INDIRECT] = { "indirect-leak", "IndirectLeak",
	                     "Memory that only lost memory points to.", "note" },
	[REACH_DEFINITE] = { "definite-leak", "DefiniteLeak",
	                     "Memory that nothing points to any more: it can never be freed.",
	                     "error" },
	[REACH_SUPPRESSED] = { "suppressed-leak", "SuppressedLeak",
	                       "Lost memory that a suppression names, or the program asked to ignore.",
	                       "note" },
};

static void text_object(struct emit *e, const char *key, const char *text)
{
	emit_object(e, key);
	emit_field(e, "text", NULL, emit_string(text));
	emit_object_end(e);
}

static void put_rules(struct emit *e)
{
	emit_array(e, "rules");
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		emit_object(e, NULL);
		emit_field(e, "id", NULL, emit_string(rules[i].id));
		emit_field(e, "name", NULL, emit_string(rules[i].name));
		text_object(e, "shortDescription", rules[i].text);
		emit_object(e, "defaultConfiguration");
		emit_field(e, "level", NULL, emit_string(rules[i].level));
		emit_object_end(e);
		emit_object_end(e);
	}
	emit_array_end(e);
}

/* ---- places ------------------------------------------------------------------------------ */

/* A path as part of a URI: what is not unreserved is %XX. */
static void put_path(struct buf *b, const char *path)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/+";

	for (; *path; path++) {
		if (strchr(plain, *path))
			buf_putc(b, *path);
		else
			buf_printf(b, "%%%02X", (unsigned char)*path);
	}
}

static const char *below(const char *path, const char *cwd)
{
	size_t n = cwd ? strlen(cwd) : 0;

	while (n > 1 && cwd[n - 1] == '/')
		n--;
	return n > 1 && !strncmp(path, cwd, n) && path[n] == '/' ? path + n + 1 : NULL;
}

static void put_artifact(struct emit *e, const char *path, const char *cwd)
{
	_cleanup_buf_ struct buf uri = { 0 };
	const char *relative = below(path, cwd);

	if (!relative && *path == '/')
		buf_puts(&uri, "file://");
	put_path(&uri, relative ? relative : path);
	emit_object(e, "artifactLocation");
	emit_field(e, "uri", NULL, emit_string(uri.data ? uri.data : ""));
	if (relative)
		emit_field(e, "uriBaseId", NULL, emit_string(ROOT_ID));
	emit_object_end(e);
}

/* A location object's content. */
static void put_location(const struct check_stacks *s, uint32_t node)
{
	const struct view_location *l = &s->view->locations[s->view->nodes[node].location];
	struct emit *e = s->report.e;
	struct location_text text;

	report_location(&s->report, s->view->nodes[node].location, &text);
	if (l->file && *l->file) {
		emit_object(e, "physicalLocation");
		put_artifact(e, l->file, s->options.cwd);
		if (l->line) {
			emit_object(e, "region");
			emit_field(e, "startLine", NULL, emit_number(l->line));
			emit_object_end(e);
		}
		emit_object_end(e);
	}
	emit_array(e, "logicalLocations");
	emit_object(e, NULL);
	emit_field(e, "fullyQualifiedName", NULL, emit_string(text.function));
	emit_field(e, "kind", NULL, emit_string("function"));
	emit_object_end(e);
	emit_array_end(e);
}

static void put_stack(const struct check_stacks *s, uint32_t leaf)
{
	size_t n = check_depth(s, leaf);
	struct emit *e = s->report.e;

	emit_array(e, "stacks");
	emit_object(e, NULL);
	text_object(e, "message", "allocated here");
	emit_array(e, "frames");
	for (uint32_t node = leaf; node && n--; node = s->view->nodes[node].parent) {
		const struct view_location *l = &s->view->locations[s->view->nodes[node].location];

		emit_object(e, NULL);
		emit_object(e, "location");
		put_location(s, node);
		emit_object_end(e);
		if (l->module != PROF_NO_MODULE)
			emit_field(e, "module", NULL,
			           emit_string(s->c->profile->modules[l->module].path));
		emit_object_end(e);
	}
	emit_array_end(e);
	emit_object_end(e);
	emit_array_end(e);
}

/* ---- results ------------------------------------------------------------------------------- */

static void put_message(const struct check_stacks *s, const struct leak_record *r)
{
	_cleanup_buf_ struct buf text = { 0 }, what = { 0 };

	check_record_sentence(&text, r);
	check_record_what(&what, r);
	if (what.len)
		buf_printf(&text, ": %s", what.data);
	if (!check_leaf(s, r))
		buf_printf(&text, " (%s)", check_no_stack(s->c, r));
	buf_putc(&text, '.');
	text_object(s->report.e, "message", text.data ? text.data : "");
}

static void put_result(const struct check_stacks *s, const struct leak_record *r, bool baseline)
{
	uint32_t leaf = check_leaf(s, r);
	struct emit *e = s->report.e;

	emit_object(e, NULL);
	emit_field(e, "ruleId", NULL, emit_string(rules[r->class].id));
	emit_field(e, "ruleIndex", NULL, emit_number(r->class));
	emit_field(e, "level", NULL, emit_string(rules[r->class].level));
	put_message(s, r);
	emit_array(e, "locations");
	if (leaf) {
		emit_object(e, NULL);
		put_location(s, check_culprit(s, leaf));
		emit_object_end(e);
	}
	emit_array_end(e);
	if (leaf)
		put_stack(s, leaf);
	emit_object(e, "partialFingerprints");
	emit_field(e, "seep/v1", NULL, emit_string(r->fingerprint));
	emit_object_end(e);
	if (baseline)
		emit_field(e, "baselineState", NULL, emit_string(r->known ? "unchanged" : "new"));
	if (r->class == REACH_SUPPRESSED) {
		emit_array(e, "suppressions");
		emit_object(e, NULL);
		emit_field(e, "kind", NULL, emit_string("external"));
		if (r->rule)
			emit_field(e, "justification", NULL, emit_string(r->rule));
		emit_object_end(e);
		emit_array_end(e);
	}
	emit_object(e, "properties");
	emit_field(e, "pid", NULL, emit_number(s->c->pid));
	emit_field(e, "moment", NULL, emit_string(check_moment_key(s->c->moment)));
	emit_field(e, "blocks", NULL, emit_count(r->blocks));
	emit_field(e, "bytes", NULL, emit_bytes(r->bytes));
	emit_field(e, "indirect_blocks", NULL, emit_count(r->indirect_blocks));
	emit_field(e, "indirect_bytes", NULL, emit_bytes(r->indirect_bytes));
	emit_object_end(e);
	emit_object_end(e);
}

static struct seep_error *put_results(struct emit *e, const struct check *c,
                                      const struct check_report_options *o, bool baseline)
{
	_cleanup_check_stacks_ struct check_stacks s = { 0 };
	struct seep_error *err = check_stacks_init(&s, c, o, e);

	for (size_t i = 0; !err && i < c->leaks.n; i++)
		if (check_record_shown(&c->leaks.records[i], o->show_kinds | o->fail_on))
			put_result(&s, &c->leaks.records[i], baseline);
	return err;
}

/* What each process was, and what its check could not see. */
static void put_invocation(struct emit *e, const struct check *c)
{
	emit_object(e, NULL);
	emit_field(e, "executionSuccessful", NULL, emit_bool(true));
	if (c->command && *c->command)
		emit_field(e, "commandLine", NULL, emit_string(c->command));
	emit_field(e, "processId", NULL, emit_number(c->pid));
	emit_array(e, "toolExecutionNotifications");
	for (const char *const *n = c->coverage.notes; n && *n; n++) {
		emit_object(e, NULL);
		text_object(e, "message", *n);
		emit_field(e, "level", NULL, emit_string("note"));
		emit_object_end(e);
	}
	emit_array_end(e);
	emit_object_end(e);
}

static void put_root(struct emit *e, const char *cwd)
{
	_cleanup_buf_ struct buf uri = { 0 };

	if (!cwd || *cwd != '/')
		return;
	buf_puts(&uri, "file://");
	put_path(&uri, cwd);
	if (uri.data && uri.data[uri.len - 1] != '/')
		buf_putc(&uri, '/');
	emit_object(e, "originalUriBaseIds");
	emit_object(e, ROOT_ID);
	emit_field(e, "uri", NULL, emit_string(uri.data ? uri.data : ""));
	emit_object_end(e);
	emit_object_end(e);
}

struct seep_error *check_sarif(struct buf *out, const struct check *const *checks, size_t n,
                               const struct check_report_options *o)
{
	struct emit_options eo = { .format = EMIT_JSON };
	_cleanup_emit_ struct emit *e = emit_new(&eo, out);
	struct seep_error *err = NULL;
	bool baseline = false;

	if (!e)
		return &seep_error_nomem;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < checks[i]->leaks.n; j++)
			baseline |= checks[i]->leaks.records[j].known;
	emit_object(e, NULL);
	emit_field(e, "$schema", NULL, emit_string(SCHEMA));
	emit_field(e, "version", NULL, emit_string("2.1.0"));
	emit_array(e, "runs");
	emit_object(e, NULL);
	emit_object(e, "tool");
	emit_object(e, "driver");
	emit_field(e, "name", NULL, emit_string("seep"));
	emit_field(e, "version", NULL, emit_string(SEEP_VERSION));
	put_rules(e);
	emit_object_end(e);
	emit_object_end(e);
	put_root(e, o->cwd);
	emit_field(e, "columnKind", NULL, emit_string("unicodeCodePoints"));
	emit_array(e, "invocations");
	for (size_t i = 0; i < n; i++)
		put_invocation(e, checks[i]);
	emit_array_end(e);
	emit_array(e, "results");
	for (size_t i = 0; !err && i < n; i++)
		err = put_results(e, checks[i], o, baseline);
	emit_array_end(e);
	emit_object_end(e);
	emit_array_end(e);
	emit_object_end(e);
	return err ? err : out->failed ? &seep_error_nomem : NULL;
}
