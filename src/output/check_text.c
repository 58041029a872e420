/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a leak check's result around its records: what was checked and when, the sums of each class, the
 * suppression rules with what they matched, and the completeness line, which every result ends with: a
 * check that found nothing is worth what it has looked at.
 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "output/check_private.h"
#include "output/emit.h"
#include "output/units.h"

static const char *moment_words(const struct check *c)
{
	switch (c->moment) {
	case CHECK_LIVE:
		return "running, stopped while it was checked";
	case CHECK_CLONE:
		return "running, checked through a copy of it";
	case CHECK_CORE:
		return "from a core file";
	case CHECK_EXIT:
		return "at exit, before its exit handlers";
	case CHECK_END:
		return "at the very end, after its exit handlers";
	case CHECK_REQUESTED:
		return "where the program asked for it";
	case CHECK_LOCAL:
		return "at the end of a local check";
	}
	return "";
}

/* A sum under a key: "  label   1.00 MiB in 3 blocks". */
static void total(struct emit *e, const char *key, const char *label, unsigned int style,
                  const struct reach_total *t, const char *remark)
{
	struct emit_part parts[] = {
		{ "bytes", emit_bytes(t->bytes), false },
		{ "blocks", emit_count(t->blocks), false },
	};
	char format[160];

	snprintf(format, sizeof(format), "  %-17s%s%s", label ? label : "",
	         t->blocks == 1 ? "% in % block" : "% in % blocks", remark ? remark : "");
	emit_object(e, key);
	emit_line(e, style, label ? format : NULL, parts, ARRAY_SIZE(parts));
	emit_object_end(e);
}

void check_head(struct emit *e, const struct check *c)
{
	struct reach_total freed = { c->free_blocks, 0 };
	struct reach_total inuse = c->inuse, allocated = { c->alloc_blocks, c->alloc_bytes };

	if (c->profile)
		freed.bytes = profile_totals(c->profile, PROF_HEAP).freed.bytes;
	emit_field(e, "moment", NULL, emit_string(check_moment_key(c->moment)));
	emit_field(e, "name", NULL, emit_string(c->name));
	emit_heading(e, "Leak check of %s", check_command(c));
	emit_object(e, "process");
	emit_line(e, EMIT_PLAIN, "  process          pid %, %",
	          (struct emit_part[]){
			  { "pid", emit_number(c->pid), false },
			  { NULL, emit_string(moment_words(c)), false },
			  { "exe", emit_string(c->exe), true },
			  { "command", emit_string(c->command), true },
			  { "time_ns", c->real_ns ? emit_time(c->real_ns) : emit_none(), true },
		  },
	          5);
	emit_object_end(e);
	if (c->name)
		emit_line(e, EMIT_PLAIN, "  local check      %",
		          &(struct emit_part){ NULL, emit_string(c->name), false }, 1);
	emit_field(e, "allocator", NULL, emit_string(c->allocator));
	emit_field(e, "layout", NULL, emit_string(c->layout));
	if (c->allocator && *c->allocator)
		emit_line(e, EMIT_PLAIN, "  allocator        %",
		          &(struct emit_part){
				  NULL,
				  emit_string(c->layout && *c->layout ? c->layout : c->allocator),
				  false },
		          1);
	emit_object(e, "heap");
	total(e, "in_use", "in use", EMIT_PLAIN, &inuse, NULL);
	if (c->coverage.ledger) {
		total(e, "allocated", "allocated", EMIT_PLAIN, &allocated, NULL);
		if (emit_is_text(e))
			emit_line(e, EMIT_PLAIN,
			          freed.blocks == 1 ? "  freed            % block"
			                            : "  freed            % blocks",
			          &(struct emit_part){ NULL, emit_count(freed.blocks), false }, 1);
		else
			total(e, "freed", NULL, EMIT_PLAIN, &freed, NULL);
	} else {
		emit_field(e, "allocated", NULL, emit_none());
		emit_field(e, "freed", NULL, emit_none());
	}
	emit_object_end(e);
}

/* ---- summary ----------------------------------------------------------------------------- */

static const char *const heuristic_keys[4] = { "stdstring", "length64", "newarray",
	                                       "multipleinheritance" };
static const char *const heuristic_words[4] = { "std::string", "length64", "new[]", "subobject" };

static void heuristics(struct emit *e, const struct check *c)
{
	emit_object(e, "heuristics");
	for (size_t i = 0; i < 4; i++) {
		char label[32];

		snprintf(label, sizeof(label), "  by %s", heuristic_words[i]);
		total(e, heuristic_keys[i],
		      c->by_heuristic[i].blocks || c->by_heuristic[i].bytes ? label : NULL,
		      EMIT_PLAIN, &c->by_heuristic[i], NULL);
	}
	emit_object_end(e);
}

void check_summary(struct emit *e, const struct check *c, const struct check_report_options *o)
{
	const char *unknown = c->coverage.nothing_known;
	const struct reach_total *t = c->total;
	struct reach_total internal = { c->coverage.internal_blocks, c->coverage.internal_bytes };
	bool lost = t[REACH_DEFINITE].blocks || t[REACH_POSSIBLE].blocks;
	bool possible = !o->lsan_preset || t[REACH_POSSIBLE].blocks;

	emit_heading(e, "Leak summary");
	emit_object(e, "classes");
	total(e, "definite", "definitely lost", t[REACH_DEFINITE].blocks ? EMIT_WARN : EMIT_PLAIN,
	      &t[REACH_DEFINITE], NULL);
	total(e, "indirect", "indirectly lost", EMIT_PLAIN, &t[REACH_INDIRECT], NULL);
	total(e, "possible", possible ? "possibly lost" : NULL, EMIT_PLAIN, &t[REACH_POSSIBLE],
	      NULL);
	total(e, "reachable", "still reachable", EMIT_PLAIN, &t[REACH_REACHABLE], NULL);
	if (emit_is_text(e))
		heuristics(e, c);
	total(e, "suppressed", "suppressed", EMIT_PLAIN, &t[REACH_SUPPRESSED], NULL);
	total(e, "internal", internal.blocks ? "C library's own" : NULL, EMIT_PLAIN, &internal,
	      NULL);
	emit_object_end(e);
	if (!emit_is_text(e)) {
		heuristics(e, c);
		emit_field(e, "header", NULL, c->header ? emit_count(c->header) : emit_none());
	}
	total(e, "known", c->known.blocks ? "in the baseline" : NULL, EMIT_PLAIN, &c->known,
	      " (known, and of those above)");
	total(e, "unconfirmed", c->unconfirmed.blocks ? "not confirmed" : NULL, EMIT_PLAIN,
	      &c->unconfirmed, " (seen lost once)");
	emit_blank(e);
	if (c->header)
		emit_text(e, EMIT_PLAIN, 0,
		          "Most of what is possibly lost is pointed to %u bytes behind its start, as where a program "
		          "puts a header of its own in front of each block, or links them by a member. Then it is in "
		          "use: --presets=lsan counts such pointers.",
		          c->header);
	if (unknown)
		emit_text(e, EMIT_BOLD, 0,
		          "Nothing could be checked: %.*s has no walker. With a tracker its blocks are known: `seep run`, or `seep "
		          "attach --full`, and what was allocated since is checked.",
		          (int)strcspn(unknown, ":"), unknown);
	else if (!lost)
		emit_text(e, EMIT_BOLD, 0, "No leaks were found.");
	else if (o->summary_only)
		emit_text(e, EMIT_DIM, 0, "--leak-check=full shows where they were allocated.");
}

/* ---- suppressions -------------------------------------------------------------------------- */

static void rules_json(struct emit *e, const struct suppress_rule *const *rules, size_t n)
{
	emit_array(e, "suppressions");
	for (size_t i = 0; i < n; i++) {
		emit_object(e, NULL);
		emit_field(e, "name", NULL, emit_string(rules[i]->name));
		emit_field(e, "origin", NULL, emit_string(rules[i]->origin));
		emit_field(e, "used", NULL, emit_bool(rules[i]->matches));
		emit_field(e, "matches", NULL, emit_count(rules[i]->matches));
		emit_field(e, "blocks", NULL, emit_count(rules[i]->blocks));
		emit_field(e, "bytes", NULL, emit_bytes(rules[i]->bytes));
		emit_object_end(e);
	}
	emit_array_end(e);
}

static void rules_text(struct emit *e, const struct suppress_rule *const *rules, size_t n, bool used)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		const struct suppress_rule *r = rules[i];
		_cleanup_buf_ struct buf text = { 0 };

		if (used != (r->matches > 0))
			continue;
		if (!any) {
			emit_heading(e, used ? "Suppressions that matched"
			                     : "Suppressions that matched nothing");
			emit_blank(e);
		}
		any = true;
		if (used) {
			unit_bytes(&text, r->bytes);
			buf_puts(&text, " in ");
			unit_count(&text, r->blocks);
			buf_puts(&text, r->blocks == 1 ? " block: " : " blocks: ");
		}
		emit_text(e, used ? EMIT_PLAIN : EMIT_DIM, 2, "%s%s (%s)",
		          text.data ? text.data : "", r->name, r->origin);
	}
}

void check_rules(struct emit *e, const struct check *c, const struct check_report_options *o)
{
	const struct suppress_rule *const *rules = NULL;
	size_t n = 0, skipped = 0;

	if (c->suppressions) {
		rules = suppressions_rules(c->suppressions, &n);
		skipped = suppressions_skipped(c->suppressions);
	}
	if (!emit_is_text(e)) {
		rules_json(e, rules, n);
		return;
	}
	if (!o->rules)
		return;
	rules_text(e, rules, n, true);
	rules_text(e, rules, n, false);
	if (skipped)
		emit_text(e, EMIT_DIM, 2, "%zu more %s for other tools or other errors.", skipped,
		          skipped == 1 ? "is" : "are");
}

/* ---- completeness ---------------------------------------------------------------------------- */

bool check_is_complete(const struct check *c)
{
	const struct check_coverage *v = &c->coverage;

	return !v->missed_threads && !v->unreadable_bytes && !(v->notes && v->notes[0]);
}

static void coverage_text(struct emit *e, const struct check_coverage *v)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_puts(&b, "Looked at ");
	unit_count(&b, v->blocks);
	buf_puts(&b, v->blocks == 1 ? " block" : " blocks");
	if (v->ledger) {
		buf_puts(&b, ", ");
		unit_count(&b, v->recorded_blocks);
		buf_puts(&b,
		         v->sampled ? " of them with a stack (sampled)" : " of them with a stack");
	}
	buf_puts(&b, ", ");
	unit_count(&b, v->threads);
	buf_puts(&b, v->threads == 1 ? " thread and " : " threads and ");
	unit_bytes(&b, v->root_bytes);
	buf_puts(&b, " of roots; read ");
	unit_bytes(&b, v->scanned_bytes);
	buf_puts(&b, " of blocks.");
	if (v->stopped_ns) {
		buf_puts(&b, " The process stood still for ");
		unit_duration(&b, v->stopped_ns);
		if (v->resident_bytes) {
			buf_puts(&b, " with ");
			unit_bytes(&b, v->resident_bytes);
			buf_puts(&b, " resident");
		}
		buf_puts(&b, ".");
	}
	if (v->checker_bytes) {
		buf_puts(&b, " The check took ");
		unit_bytes(&b, v->checker_bytes);
		buf_puts(&b, " of memory.");
	}
	emit_blank(e);
	emit_text(e, EMIT_DIM, 0, "%s", b.data ? b.data : "");
}

static void not_seen_text(struct emit *e, const struct check *c)
{
	const struct check_coverage *v = &c->coverage;
	_cleanup_buf_ struct buf b = { 0 };

	if (check_is_complete(c) && !(c->warnings && c->warnings[0])) {
		emit_text(e, EMIT_DIM, 0, "Nothing was left out.");
		return;
	}
	emit_heading(e, "What the check could not see");
	emit_blank(e);
	if (v->missed_threads) {
		unit_count(&b, v->missed_threads);
		emit_text(e, EMIT_PLAIN, 2,
		          "• %s %s: what only %s registers or stack hold may be "
		          "reported as lost.",
		          b.data ? b.data : "",
		          v->missed_threads == 1 ? "thread could not be stopped"
		                                 : "threads could not be stopped",
		          v->missed_threads == 1 ? "its" : "their");
		buf_reset(&b);
	}
	if (v->unreadable_bytes) {
		unit_bytes(&b, v->unreadable_bytes);
		emit_text(e, EMIT_PLAIN, 2, "• %s could not be read.", b.data ? b.data : "");
	}
	for (const char *const *n = v->notes; n && *n; n++)
		emit_text(e, EMIT_PLAIN, 2, "• %s", *n);
	for (char *const *w = c->warnings; w && *w; w++)
		emit_text(e, EMIT_PLAIN, 2, "• %s", *w);
}

void check_completeness(struct emit *e, const struct check *c)
{
	const struct check_coverage *v = &c->coverage;

	if (emit_is_text(e)) {
		coverage_text(e, v);
		not_seen_text(e, c);
		return;
	}
	emit_object(e, "completeness");
	emit_field(e, "complete", NULL, emit_bool(check_is_complete(c)));
	emit_field(e, "nothing_known", NULL, emit_bool(v->nothing_known != NULL));
	emit_field(e, "ledger", NULL, emit_bool(v->ledger));
	emit_field(e, "sampled", NULL, emit_bool(v->sampled));
	emit_field(e, "recorded_blocks", NULL, emit_count(v->recorded_blocks));
	emit_field(e, "threads", NULL, emit_count(v->threads));
	emit_field(e, "missed_threads", NULL, emit_count(v->missed_threads));
	emit_field(e, "root_bytes", NULL, emit_bytes(v->root_bytes));
	emit_field(e, "scanned_bytes", NULL, emit_bytes(v->scanned_bytes));
	emit_field(e, "unreadable_bytes", NULL, emit_bytes(v->unreadable_bytes));
	emit_field(e, "stopped_ns", NULL, emit_duration(v->stopped_ns));
	emit_field(e, "resident_bytes", NULL, emit_bytes(v->resident_bytes));
	emit_field(e, "checker_bytes", NULL, emit_bytes(v->checker_bytes));
	emit_list(e, "notes");
	for (const char *const *n = v->notes; n && *n; n++)
		emit_item(e, emit_string(*n));
	for (char *const *w = c->warnings; w && *w; w++)
		emit_item(e, emit_string(*w));
	emit_list_end(e);
	emit_object_end(e);
}
