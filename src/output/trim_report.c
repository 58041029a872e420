/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trim as text and JSON.
 */
#include "output/trim_report.h"

#include <stddef.h>

#include "analysis/trim.h"
#include "base/cleanup.h"
#include "output/emit.h"

static const char *const kind_names[FREE_PAGES_NKINDS] = {
	[FREE_PAGES_BIN] = "free chunks",
	[FREE_PAGES_MAIN_TOP] = "main arena's top",
	[FREE_PAGES_THREAD_TOP] = "other arenas' tops",
	[FREE_PAGES_SLOT] = "free slots",
};

static const char *const kind_keys[FREE_PAGES_NKINDS] = {
	[FREE_PAGES_BIN] = "bin",
	[FREE_PAGES_MAIN_TOP] = "main_top",
	[FREE_PAGES_THREAD_TOP] = "thread_top",
	[FREE_PAGES_SLOT] = "slot",
};

static const char *const tier_keys[] = {
	[TRIM_NOTHING] = "nothing",
	[TRIM_MADVISE] = "madvise",
	[TRIM_RELEASE] = "release",
	[TRIM_IMPOSSIBLE] = "impossible",
};

static void show_kinds(const struct trim_part *p, struct emit *e)
{
	static const struct emit_column columns[] = {
		{ "kind", NULL, 0, 0 },
		{ NULL, "where", 0, 0 },
		{ "chunks", "chunks", 0, 0 },
		{ "free_bytes", "whole pages", 0, 0 },
		{ "resident_bytes", "in memory", 0, 0 },
		{ "swapped_bytes", "swapped", 0, 0 },
		{ "returned_before_bytes", "not there", 0, 0 },
	};

	emit_table(e, "kinds", 2, columns, ARRAY_SIZE(columns));
	for (unsigned int k = 0; k < FREE_PAGES_NKINDS; k++) {
		const struct free_sum *s = &p->pages.kinds[k];

		if (!s->chunks)
			continue;
		emit_row(e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_string(kind_keys[k]),
		                                emit_string(kind_names[k]), emit_count(s->chunks),
		                                emit_bytes(s->bytes), emit_bytes(s->resident),
		                                emit_bytes(s->swapped), emit_bytes(s->returned) });
	}
	emit_table_end(e);
}

static void show_part(const struct trim_part *p, bool dry_run, struct emit *e)
{
	emit_object(e, NULL);
	emit_field(e, "allocator", NULL, emit_string(p->allocator));
	emit_field(e, "detail", NULL, emit_string(p->detail));
	emit_field(e, "how", NULL, emit_string(tier_keys[p->tier]));
	if (emit_is_text(e)) {
		if (p->narenas)
			emit_heading(e, "%s, %llu arena%s", p->detail[0] ? p->detail : p->allocator,
			             (unsigned long long)p->narenas, p->narenas == 1 ? "" : "s");
		else
			emit_heading(e, "%s%s%s", p->allocator, p->detail[0] ? ", " : "", p->detail);
	}
	emit_field(e, "predicted_bytes", NULL,
	           p->predicted_known ? emit_bytes(p->predicted) : emit_none());
	emit_field(e, "predicted_swap_bytes", NULL, emit_bytes(p->predicted_swap));
	emit_field(e, "returned_bytes", NULL, dry_run ? emit_none() : emit_bytes(p->returned));
	emit_field(e, "problem", NULL, emit_string(p->problem));
	if (p->narenas) {
		emit_field(e, "arenas", NULL, emit_count(p->narenas));
		show_kinds(p, e);
	}
	if (p->tier == TRIM_NOTHING)
		emit_text(e, EMIT_DIM, 2,
		          "nothing to give back: no whole page inside free memory is "
		          "in memory");
	else if (p->tier == TRIM_RELEASE)
		emit_line(e, EMIT_PLAIN,
		          p->predicted_known ? "  its own release call: predicted %, returned %"
		                             : "  its own release call: returned %",
		          (struct emit_part[]){ { NULL, emit_bytes(p->predicted), false },
		                                { NULL, emit_bytes(p->returned), false } } +
		                  !p->predicted_known,
		          p->predicted_known ? 2 : 1);
	if (p->problem)
		emit_text(e, EMIT_WARN, 2, "%s", p->problem);
	emit_object_end(e);
}

static void show_memory(const char *key, const struct trim_memory *m, struct emit *e)
{
	emit_object(e, key);
	emit_field(e, "rss_bytes", NULL, emit_bytes(m->rss));
	emit_field(e, "swap_bytes", NULL, emit_bytes(m->swap));
	emit_field(e, "huge_page_bytes", NULL, emit_bytes(m->huge));
	emit_field(e, "exact", NULL, emit_bool(m->exact));
	emit_object_end(e);
}

static void show_cost(const struct trim *t, struct emit *e)
{
	emit_object(e, "stop");
	emit_field(e, "clone_ns", NULL, emit_number((int64_t)t->clone_ns));
	emit_field(e, "stops", NULL, emit_number((int64_t)t->stops));
	emit_field(e, "refused", NULL, emit_number((int64_t)t->refused));
	emit_field(e, "refused_in_malloc", NULL, emit_number((int64_t)t->refused_malloc));
	emit_field(e, "refused_locked", NULL, emit_number((int64_t)t->refused_locked));
	emit_field(e, "refused_changed", NULL, emit_number((int64_t)t->refused_changed));
	emit_field(e, "total_ns", NULL, emit_number((int64_t)t->stopped_ns));
	emit_field(e, "longest_ns", NULL, emit_number((int64_t)t->longest_ns));
	emit_field(e, "allowed_ns", NULL, emit_number((int64_t)t->allowed_ns));
	emit_field(e, "asked_ns", NULL, emit_number((int64_t)t->asked_ns));
	emit_field(e, "calls", NULL, emit_number((int64_t)t->calls));
	emit_object_end(e);
	if (!emit_is_text(e))
		return;
	if (t->clone_ns)
		emit_line(e, EMIT_DIM, "  stood still       % for the look",
		          (struct emit_part[]){ { NULL, emit_duration(t->clone_ns), false } }, 1);
	if (t->stops + t->refused)
		emit_line(e, EMIT_DIM,
		          "                    % in % stops, % at the longest (% allowed), % calls",
		          (struct emit_part[]){ { NULL, emit_duration(t->stopped_ns), false },
		                                { NULL, emit_count(t->stops + t->refused), false },
		                                { NULL, emit_duration(t->longest_ns), false },
		                                { NULL, emit_duration(t->allowed_ns), false },
		                                { NULL, emit_count(t->calls), false } },
		          5);
	if (t->asked_ns)
		emit_line(e, EMIT_DIM,
		          "                    % for calls of the allocator's own (single threads)",
		          (struct emit_part[]){ { NULL, emit_duration(t->asked_ns), false } }, 1);
	if (t->refused)
		emit_line(e, EMIT_DIM,
		          "  not safe yet      at % of these: % inside malloc, % locked, % used meanwhile",
		          (struct emit_part[]){ { NULL, emit_count(t->refused), false },
		                                { NULL, emit_count(t->refused_malloc), false },
		                                { NULL, emit_count(t->refused_locked), false },
		                                { NULL, emit_count(t->refused_changed), false } },
		          4);
}

static void show_gain(const struct trim *t, bool dry_run, struct emit *e)
{
	emit_blank(e);
	emit_field(e, "predicted_bytes", NULL, emit_bytes(t->predicted));
	emit_line(e, EMIT_BOLD, "  predicted gain    %",
	          (struct emit_part[]){ { NULL, emit_bytes(t->predicted), false } }, 1);
	emit_field(e, "returned_bytes", NULL, dry_run ? emit_none() : emit_bytes(t->returned));
	if (dry_run) {
		emit_line(e, EMIT_PLAIN, "  in memory         % now",
		          (struct emit_part[]){ { NULL, emit_bytes(t->before.rss), false } }, 1);
	} else {
		emit_line(e, EMIT_BOLD, "  returned          %",
		          (struct emit_part[]){ { NULL, emit_bytes(t->returned), false } }, 1);
		emit_line(e, EMIT_PLAIN, "  in memory         % before, % after",
		          (struct emit_part[]){ { NULL, emit_bytes(t->before.rss), false },
		                                { NULL, emit_bytes(t->after.rss), false } },
		          2);
	}
	if (t->before.swap)
		emit_line(e, EMIT_PLAIN, "  in swap           % before, % after",
		          (struct emit_part[]){ { NULL, emit_bytes(t->before.swap), false },
		                                { NULL, emit_bytes(t->after.swap), false } },
		          2);
	emit_field(e, "used_meanwhile_bytes", NULL, emit_bytes(t->left));
	emit_field(e, "unfit_bytes", NULL, emit_bytes(t->unfit));
	if (t->left)
		emit_line(e, EMIT_DIM, "  used meanwhile    %",
		          (struct emit_part[]){ { NULL, emit_bytes(t->left), false } }, 1);
	if (t->unfit)
		emit_line(e, EMIT_DIM,
		          "  left out          % of free memory is locked or in huge pages",
		          (struct emit_part[]){ { NULL, emit_bytes(t->unfit), false } }, 1);
	if (t->before.huge > t->before.rss / 4)
		emit_line(e, EMIT_DIM,
		          "  huge pages        % of RSS: what is cut out of one is free when the kernel splits it",
		          (struct emit_part[]){ { NULL, emit_bytes(t->before.huge), false } }, 1);
	show_memory("before", &t->before, e);
	show_memory("after", &t->after, e);
}

void trim_report(const struct trim *t, bool dry_run, const struct trim_later *later,
                 const char *error, struct emit *e)
{
	emit_object(e, NULL);
	emit_field(e, "seep_trim", NULL, emit_number(TRIM_JSON_VERSION));
	emit_field(e, "pid", NULL, emit_number(t->pid));
	emit_field(e, "exe", NULL, emit_string(t->exe));
	emit_field(e, "dry_run", NULL, emit_bool(dry_run));
	emit_array(e, "allocators");
	for (size_t i = 0; i < t->nparts; i++) {
		show_part(&t->parts[i], dry_run, e);
		emit_blank(e);
	}
	emit_array_end(e);
	if (t->nparts || !emit_is_text(e)) {
		show_gain(t, dry_run, e);
		show_cost(t, e);
	}
	if (later) {
		emit_object(e, "later");
		emit_field(e, "after_ns", NULL, emit_number((int64_t)later->after_ns));
		emit_field(e, "used_again_bytes", NULL, emit_bytes(later->back));
		emit_field(e, "rss_bytes", NULL, emit_bytes(later->memory->rss));
		emit_object_end(e);
		emit_line(e, EMIT_PLAIN,
		          "  % later      % in memory; % of what was returned is in use again",
		          (struct emit_part[]){ { NULL, emit_duration(later->after_ns), false },
		                                { NULL, emit_bytes(later->memory->rss), false },
		                                { NULL, emit_bytes(later->back), false } },
		          3);
	}
	emit_list(e, "notes");
	for (size_t i = 0; i < t->nnotes; i++)
		emit_item(e, emit_string(t->notes[i]));
	emit_list_end(e);
	emit_field(e, "error", NULL, emit_string(error));
	if (emit_is_text(e) && t->nnotes) {
		emit_blank(e);
		for (size_t i = 0; i < t->nnotes; i++)
			emit_text(e, EMIT_DIM, 2, "note: %s", t->notes[i]);
	}
	emit_object_end(e);
}

void trim_report_round(const struct trim *t, uint64_t round, struct emit *e)
{
	emit_object(e, NULL);
	emit_line(e, EMIT_PLAIN, "round %: % of % returned, % in memory, stood still %",
	          (struct emit_part[]){
			  { "round", emit_number((int64_t)round), false },
			  { "returned_bytes", emit_bytes(t->returned), false },
			  { "predicted_bytes", emit_bytes(t->predicted), false },
			  { "rss_bytes", emit_bytes(t->after.rss), false },
			  { "longest_ns",
	                    emit_duration(t->longest_ns > t->clone_ns ? t->longest_ns : t->clone_ns),
	                    false } },
	          5);
	emit_object_end(e);
}
