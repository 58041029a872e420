/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report's frame: what is shown in which order, its head, and the wording
 * shared by all parts.  Everything is said through the emitter, so text and JSON
 * cannot drift apart.
 */
#include "output/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "analysis/names.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/report_private.h"
#include "output/units.h"

const struct value_name value_names[MEASURE_NVALUES] = {
	[MEASURE_INUSE] = { "in_use", "in use" },
	[MEASURE_ALLOC] = { "allocated", "allocated" },
	[MEASURE_FREED] = { "freed", "freed" },
	[MEASURE_PEAK] = { "peak", "in use at the peak" },
};

double report_share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

struct emit_value report_value(const struct profile *p, const struct group_sum *s,
                               enum measure_value m, bool blocks)
{
	const struct prof_value *v = &s->value[m];
	struct emit_value value = blocks ? emit_count(v->blocks) : emit_bytes(v->bytes);
	uint64_t samples = group_samples(s, m);

	/* Without a variance the source does not say how sure the value is. */
	if (!p->sampled || !p->period || !samples)
		return value;
	return emit_sampled(value, blocks ? prof_interval_blocks(v, samples, p->period)
	                                  : prof_interval_bytes(v, samples, p->period));
}

struct emit_value report_measure(const struct report *r, const struct group_sum *s)
{
	return report_value(r->p, s, r->o->measure.value, r->o->measure.blocks);
}

/* ---- locations ------------------------------------------------------------ */

/* Takes out "/./" and "/x/../", which compilers leave in when they are called from a build directory. */
static const char *tidy_path(const char *path, char *buf, size_t size)
{
	size_t n = 0, len;

	for (const char *p = path; *p; p += len) {
		len = 1 + strcspn(p + 1, "/");
		if (len == 2 && !strncmp(p, "/.", 2))
			continue;
		if (len == 3 && !strncmp(p, "/..", 3)) {
			size_t last = n;

			while (last && buf[last - 1] != '/')
				last--;
			/* a name to take back, and not ".." itself */
			if (last < n && strncmp(buf + last, "..", n - last < 2 ? 2 : n - last)) {
				n = last ? last - 1 : 0;
				continue;
			}
		}
		if (n + len >= size)
			return path;
		memcpy(buf + n, p, len);
		n += len;
	}
	buf[n] = '\0';
	return n ? buf : path;
}

/* src/http/server.c of /home/someone/project/src/http/server.c: what tells files of one project apart. */
static const char *short_path(const struct report *r, const char *path, char *buf, size_t size)
{
	size_t n = r->o->cwd ? strlen(r->o->cwd) : 0;
	const char *p;

	if (r->o->full_paths)
		return path;
	path = tidy_path(path, buf, size);
	if (n > 1 && !strncmp(path, r->o->cwd, n) && path[n] == '/')
		return path + n + 1;
	p = path + strlen(path);
	for (unsigned int parts = 0; p > path; p--)
		if (p[-1] == '/' && ++parts == 3)
			break;
	while (!strncmp(p, "../", 3) || !strncmp(p, "./", 2))
		p = strchr(p, '/') + 1;
	return p;
}

void report_location(const struct report *r, uint32_t location, struct location_text *text)
{
	const struct view_location *l;
	const char *module;
	char path[1024];
	int n;

	text->where[0] = '\0';
	if (location == UINT32_MAX) {
		snprintf(text->function, sizeof(text->function), "(stack unknown)");
		return;
	}
	l = &r->v->locations[location];
	module = l->module == PROF_NO_MODULE ? "" : r->p->modules[l->module].path;
	if (!r->o->full_paths)
		module = path_base(module);
	if (l->function)
		snprintf(text->function, sizeof(text->function), "%s", l->function);
	else if (l->address)
		snprintf(text->function, sizeof(text->function), "?? 0x%llx",
		         (unsigned long long)l->address);
	else
		snprintf(text->function, sizeof(text->function), "??");
	if (l->file && l->line)
		n = snprintf(text->where, sizeof(text->where), "%s:%u",
		             short_path(r, l->file, path, sizeof(path)), l->line);
	else if (l->file)
		n = snprintf(text->where, sizeof(text->where), "%s",
		             short_path(r, l->file, path, sizeof(path)));
	else if (*module)
		n = snprintf(text->where, sizeof(text->where), "in %s", module);
	else if (l->address || !l->function)
		n = snprintf(text->where, sizeof(text->where), "in no module");
	else /* a name is all that the source had */
		n = 0;
	if (l->flags & VIEW_INLINED && n > 0 && (size_t)n < sizeof(text->where))
		snprintf(text->where + n, sizeof(text->where) - (size_t)n, " (inlined)");
}

/* ---- head ------------------------------------------------------------------ */

static const char *state_words(const struct profile *p)
{
	return p->live       ? "running"
	       : p->execed   ? "went on as another program (exec)"
	       : p->detached ? "detached from; it went on without the tracker"
	       : p->killed   ? "killed (ended without running its exit handlers)"
	                     : "exited";
}

/* Of several processes: what is true of at least one of them. */
static const char *merged_words(const struct profile *p)
{
	return p->live ? "some still running" : p->killed ? "some were killed" : "all have ended";
}

static void total_line(const struct report *r, enum measure_value m, const struct group_sum *sum,
                       const char *label)
{
	const struct prof_value *v = &sum->value[m];
	struct emit_part parts[] = {
		{ "bytes", report_value(r->p, sum, m, false), false },
		{ "blocks", report_value(r->p, sum, m, true), false },
		{ NULL, emit_count(v->bytes), false },
	};
	char format[64];

	/* An estimate has no exact bytes to show. */
	snprintf(format, sizeof(format), "  %-15s%s", label,
	         r->p->sampled || v->bytes < 1024 ? "% in % blocks" : "% in % blocks  (% bytes)");
	emit_object(r->e, value_names[m].key);
	emit_line(r->e, EMIT_PLAIN, format, parts, ARRAY_SIZE(parts));
	emit_object_end(r->e);
}

/* Once over all sites, which may be hundreds of megabytes: the parts of all sums that are shown. */
static void sum_kinds(struct report *r)
{
	for (uint8_t k = 0; k < PROF_NKINDS; k++)
		r->kinds[k] = (struct group_sum){ .oldest = UINT64_MAX };
	for (size_t i = 0; i < r->p->nsites; i++) {
		const struct prof_site *s = &r->p->sites[i];
		struct group_sum *sum = &r->kinds[s->kind];

		prof_value_add(&sum->value[MEASURE_INUSE], &s->inuse);
		prof_value_add(&sum->value[MEASURE_ALLOC], &s->alloc);
		prof_value_add(&sum->value[MEASURE_FREED], &s->freed);
		prof_value_add(&sum->value[MEASURE_PEAK], &s->peak);
		sum->samples += s->samples;
		sum->inuse_samples += s->inuse_samples;
	}
}

static struct group_sum whole_sum(const struct report *r, unsigned int kinds)
{
	struct group_sum sum = { .oldest = UINT64_MAX };

	for (uint8_t k = 0; k < PROF_NKINDS; k++)
		if (kinds & PROF_KIND_BIT(k))
			group_sum_add(&sum, &r->kinds[k]);
	return sum;
}

static void head_process(const struct report *r)
{
	const struct profile *p = r->p;
	struct emit_part who[] = {
		{ NULL, emit_count(p->nmerged), !p->nmerged },
		{ "pid", emit_number(p->pid), false },
		{ NULL, emit_string(p->nmerged ? merged_words(p) : state_words(p)), false },
		{ "merged", emit_count(p->nmerged), true },
		{ "state", emit_string(profile_state(p)), true },
		{ "ppid", emit_number(p->ppid), true },
		{ "exec_seq", emit_number(p->exec_seq), true },
		{ "exe", emit_string(p->exe), true },
		{ "allocator", emit_string(p->allocator), true },
		{ "source", emit_string(p->source), true },
		{ "format", emit_string(p->format), true },
		{ "start_ns", emit_time(p->start_real_ns), true },
		{ "duration_ns", emit_duration(p->duration_ns), true },
	};

	emit_heading(r->e, "%s", profile_title(p));
	emit_object(r->e, "process");
	emit_field(r->e, "command", NULL, emit_string(p->command));
	emit_line(r->e, EMIT_PLAIN,
	          p->nmerged ? "  processes      % together, the first with pid %; %"
	                     : "  process        pid %, %",
	          who, ARRAY_SIZE(who));
	emit_object_end(r->e);
}

static void head_tracking(const struct report *r)
{
	const struct profile *p = r->p;
	struct emit_part how[] = {
		{ "mode", emit_string(p->sampled ? "sampled" : "full"), true },
		{ "period", emit_bytes(p->period), !p->sampled },
		{ NULL, emit_duration(p->duration_ns), false },
		{ "bypassed", emit_bool(p->bypassed), true },
		{ "attached", emit_bool(p->attached), true },
		{ "before_blocks", emit_number((int64_t)p->before_blocks), true },
		{ "before_bytes", emit_number((int64_t)p->before_bytes), true },
		{ "forked", emit_bool(p->forked), true },
	};

	emit_object(r->e, "tracking");
	emit_line(r->e, EMIT_PLAIN,
	          p->sampled
	                  ? "  tracking       sampled, about once every % allocated, for %; ± holds in 95 %% of all cases"
	                  : "  tracking       every block, for %",
	          how, ARRAY_SIZE(how));
	emit_object_end(r->e);
}

static const struct emit_column kind_columns[] = {
	{ "kind", NULL, 0, 0 },
	{ "in_use_bytes", NULL, 0, 0 },
	{ "in_use_blocks", NULL, 0, 0 },
	{ "allocated_bytes", NULL, 0, 0 },
	{ "allocated_blocks", NULL, 0, 0 },
	{ "freed_bytes", NULL, 0, 0 },
	{ "freed_blocks", NULL, 0, 0 },
	{ "peak_bytes", NULL, 0, 0 },
	{ "peak_blocks", NULL, 0, 0 },
};

/* JSON: the totals of each kind by itself. */
static void head_kinds(const struct report *r)
{
	emit_table(r->e, "kinds", 0, kind_columns, ARRAY_SIZE(kind_columns));
	for (uint8_t k = 0; k < PROF_NKINDS; k++) {
		struct group_sum sum = whole_sum(r, PROF_KIND_BIT(k));
		struct emit_value values[ARRAY_SIZE(kind_columns)] = { emit_string(
			kind_names[k].key) };

		for (enum measure_value m = 0; m < MEASURE_NVALUES; m++) {
			values[1 + 2 * m] = report_value(r->p, &sum, m, false);
			values[2 + 2 * m] = report_value(r->p, &sum, m, true);
		}
		emit_row(r->e, 0, EMIT_PLAIN, values);
	}
	emit_table_end(r->e);
}

/* Reserved address space: named, but in no total. */
static void head_stacks(const struct report *r)
{
	struct prof_stacks s = profile_stacks(r->p);
	struct emit_part parts[] = {
		{ "live", emit_count(s.live), false },
		{ "reserved_bytes", emit_bytes(s.reserved), false },
		{ "created", emit_count(s.created), false },
		{ "unjoined", emit_count(s.unjoined), !s.unjoined },
	};
	const char *format = NULL;

	if (s.unjoined)
		format = s.unjoined == 1
		                 ? "  thread stacks  % live, % reserved, % created; % is of a thread that has "
		                   "ended and was never joined (--kind stack)"
		                 : "  thread stacks  % live, % reserved, % created; % are of threads that have "
		                   "ended and were never joined (--kind stack)";
	else if (s.created)
		format = "  thread stacks  % live, % reserved, % created";
	emit_object(r->e, "thread_stacks");
	emit_line(r->e, EMIT_PLAIN, format, parts, ARRAY_SIZE(parts));
	emit_object_end(r->e);
}

static void head_totals(const struct report *r)
{
	const struct profile *p = r->p;
	struct group_sum sum = whole_sum(r, PROF_MEMORY);
	struct emit_part peak[] = {
		{ "bytes", emit_bytes(p->peak_bytes), false },
		{ "time_ns", emit_duration(p->peak_time), false },
		{ "composition_bytes", emit_bytes(p->peak_copy_bytes), true },
	};

	emit_object(r->e, "totals");
	total_line(r, MEASURE_INUSE, &sum, "in use");
	total_line(r, MEASURE_ALLOC, &sum, "allocated");
	total_line(r, MEASURE_FREED, &sum, "freed");
	emit_object(r->e, "peak");
	emit_line(r->e, EMIT_PLAIN,
	          p->nmerged     ? "  peak           % (the sum of each process's own)"
	          : p->peak_time ? "  peak           % after %"
	                         : "  peak           %, in the first milliseconds",
	          peak, ARRAY_SIZE(peak));
	emit_object_end(r->e);
	head_kinds(r);
	head_stacks(r);
	emit_object_end(r->e);
}

void report_head(const struct report *r)
{
	head_process(r);
	head_tracking(r);
	head_totals(r);
	if (r->p->bypassed) {
		emit_blank(r->e);
		emit_text(
			r->e, EMIT_WARN, 2,
			"This program brings a malloc of its own inside its binary (static or bundled). Preloading "
			"cannot see what is allocated through that one: it is not in these numbers.");
	}
}

/* ---- all of it -------------------------------------------------------------- */

static uint64_t minimum(const struct report_options *o, uint64_t all)
{
	double share = ceil((double)all * o->min_ratio);

	return share > (double)o->min_value ? (uint64_t)share : o->min_value;
}

static struct seep_error *main_part(struct report *r)
{
	_cleanup_groups_ struct groups g = { 0 };
	_cleanup_tree_ struct tree t = { 0 };
	const struct report_options *o = r->o;
	struct seep_error *err;

	if (o->tree) {
		struct group_sum sum = whole_sum(r, r->v->kinds);

		r->min = minimum(o, group_measure(&sum, o->measure));
		err = tree_make(r->v, o->direction, o->measure, (struct tree_cut){ r->min, o->top },
		                &t);
		if (err)
			return err;
		return report_tree(r, &t);
	}
	err = groups_make(r->v, o->by, o->measure, &g);
	if (err)
		return err;
	r->min = minimum(o, group_measure(&g.sum, o->measure));
	if (o->order != ORDER_TOTAL)
		groups_sort(r->v, o->by, o->measure, o->order, &g);
	return report_groups(r, &g);
}

struct seep_error *report_emit(struct emit *e, const struct view *v, const struct report_options *o)
{
	struct report r = { .e = e, .v = v, .p = v->profile, .o = o };
	bool overview = o->by == GROUP_SITE && !o->tree;
	struct seep_error *err;

	if (!o->groups_only || o->tree)
		sum_kinds(&r);
	emit_object(e, NULL);
	emit_field(e, "seep_report", NULL, emit_number(REPORT_JSON_VERSION));
	if (o->groups_only) {
		err = main_part(&r);
		emit_object_end(e);
		return err;
	}
	report_head(&r);
	if (o->timeline && emit_is_text(e)) {
		overview = false;
		err = report_timeline_graph(&r);
	} else {
		err = main_part(&r);
	}
	if (err)
		return err;
	if (overview || o->hist || !emit_is_text(e)) {
		report_balance(&r);
		report_lifetimes(&r);
		report_timeline(&r);
	}
	report_notes(&r);
	emit_object_end(e);
	return NULL;
}
