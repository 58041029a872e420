/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A difference for people and for programs, by the same calls (emit.h).  A change has a sign, which the emitter's sizes
 * do not: text gets it as a string, JSON as a number, side by side in the same row.
 */
#include "output/diff_report.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/names.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/report_private.h"
#include "output/units.h"

#define SPARK_COLUMNS 40u

struct diff_report {
	struct report r; /* for the parts that all reports share */
	struct emit *e;
	struct diff *d;
	const struct view *v;
	const struct diff_report_options *o;
	struct diff_groups g;
	uint64_t min;
	size_t shown, left,
		noise; /* entries: shown, left out by --top and --min, left out as noise */
	int64_t left_growth;
};

/* ---- numbers with a sign -------------------------------------------------------- */

static uint64_t magnitude(int64_t v)
{
	return v < 0 ? (uint64_t)-v : (uint64_t)v;
}

static void put_amount(struct buf *b, uint64_t v, bool blocks)
{
	if (blocks)
		unit_count(b, v);
	else
		unit_bytes(b, v);
}

static void put_signed(struct buf *b, int64_t v, bool blocks)
{
	buf_puts(b, v < 0 ? "-" : "+");
	put_amount(b, magnitude(v), blocks);
}

static void put_change(struct buf *b, const struct diff_change *c, bool blocks)
{
	int64_t below = c->value - c->low, above = c->high - c->value;

	put_signed(b, c->value, blocks);
	if (c->low == c->high)
		return;
	buf_puts(b, " ±");
	put_amount(b, magnitude(below > above ? below : above), blocks);
}

/* +1.20 MiB/s; per hour where a second is too short to see it. */
static void put_rate(struct buf *b, int64_t change, uint64_t elapsed_ns, bool blocks)
{
	double second = (double)change / ((double)elapsed_ns / 1e9);
	bool hour = fabs(second) < (blocks ? 1 : 1024);
	double rate = hour ? second * 3600 : second;

	if (fabs(rate) >= 9e18)
		return;
	put_signed(b, (int64_t)rate, blocks);
	buf_puts(b, hour ? "/h" : "/s");
}

static struct emit_value rate_value(const struct diff_report *x, int64_t change)
{
	return x->d->elapsed_ns ? emit_ratio((double)change / ((double)x->d->elapsed_ns / 1e9))
	                        : emit_none();
}

static int64_t blocks_change(const struct group_sum side[2], enum measure_value m)
{
	uint64_t a = side[0].value[m].blocks, b = side[1].value[m].blocks;

	a = a > INT64_MAX ? INT64_MAX : a;
	b = b > INT64_MAX ? INT64_MAX : b;
	return (int64_t)b - (int64_t)a;
}

static const char *word_of(const struct diff_report *x, const struct diff_item *i)
{
	const struct measure m = x->o->measure;

	return !group_measure(&i->total[0], m)   ? "appeared"
	       : !group_measure(&i->total[1], m) ? "vanished"
	       : i->change.value > 0             ? "grew"
	       : i->change.value < 0             ? "shrank"
	                                         : "same";
}

/* Part of all growth, or of all shrinkage. */
static double share_of(const struct diff_report *x, int64_t change)
{
	return report_share(magnitude(change), change < 0 ? x->g.shrunk : x->g.grown);
}

/* One block for each number between the smallest and the largest; long series are thinned, the last stays. */
static void put_course(struct buf *b, const uint64_t *course, size_t n)
{
	static const char *const bars[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	size_t columns = n < SPARK_COLUMNS ? n : SPARK_COLUMNS;
	uint64_t low = UINT64_MAX, high = 0;

	for (size_t i = 0; i < n; i++) {
		low = course[i] < low ? course[i] : low;
		high = course[i] > high ? course[i] : high;
	}
	for (size_t i = 0; i < columns; i++) {
		double v = (double)(course[(i + 1) * n / columns - 1] - low);

		buf_puts(b, bars[high > low ? (size_t)(v / (double)(high - low) * 7 + 0.5) : 0]);
	}
}

static void put_steps(struct buf *b, const struct diff_report *x, const struct diff_item *i)
{
	if (i->grown == x->d->nsides - 1)
		buf_puts(b, "grows in every step");
	else
		buf_printf(b, "grew in %zu of %zu steps", i->grown, x->d->nsides - 1);
}

/* ---- head --------------------------------------------------------------------- */

static struct emit_value value_of(const struct prof_value *v, bool blocks)
{
	return blocks ? emit_count(v->blocks) : emit_bytes(v->bytes);
}

static void side_values(const struct diff_report *x, const char *key, const struct prof_value *v)
{
	emit_object(x->e, key);
	emit_field(x->e, "bytes", NULL, emit_bytes(v->bytes));
	emit_field(x->e, "blocks", NULL, emit_count(v->blocks));
	emit_object_end(x->e);
}

static void side(const struct diff_report *x, size_t n)
{
	const struct profile *p = x->d->sides[n];
	struct prof_totals t = profile_totals_of(p, PROF_MEMORY);
	uint64_t moment = diff_moment(p);
	bool last = n == x->d->nsides - 1;
	struct emit_part parts[] = {
		{ "source", emit_string(p->source), false },
		{ NULL, emit_string(p->command), x->d->same_run || !p->command || !*p->command },
		{ "pid", emit_number(p->pid), !p->pid },
		{ "moment_ns", moment ? emit_time(moment) : emit_none(), !moment },
		{ NULL, emit_bytes(t.inuse.bytes), false },
		{ "command", emit_string(p->command), true },
		{ "exe", emit_string(p->exe), true },
		{ "format", emit_string(p->format), true },
		{ "start_ns", p->start_real_ns ? emit_time(p->start_real_ns) : emit_none(), true },
		{ "duration_ns", emit_duration(p->duration_ns), true },
		{ "running", emit_bool(p->live), true },
		{ "mode", emit_string(p->sampled ? "sampled" : "full"), true },
		{ "period", emit_bytes(p->period), true },
		{ "merged", emit_count(p->nmerged), true },
	};
	_cleanup_buf_ struct buf format = { 0 };

	buf_printf(&format, "  %-13s  %%", n == 0 ? "before" : last ? "after" : "");
	buf_puts(&format, parts[1].json_only ? "" : ": %");
	buf_puts(&format, parts[2].json_only ? "" : ", pid %");
	buf_puts(&format, parts[3].json_only ? "" : ", %");
	buf_puts(&format, "; % in use");
	emit_object(x->e, NULL);
	/* of a long series the ends say enough */
	emit_line(x->e, EMIT_PLAIN, n == 0 || last ? format.data : NULL, parts, ARRAY_SIZE(parts));
	side_values(x, "in_use", &t.inuse);
	side_values(x, "allocated", &t.alloc);
	emit_object_end(x->e);
}

static void between(const struct diff_report *x)
{
	const struct diff *d = x->d;

	emit_field(x->e, "same_run", NULL, emit_bool(d->same_run));
	emit_field(x->e, "elapsed_ns", NULL,
	           d->elapsed_ns ? emit_duration(d->elapsed_ns) : emit_none());
	emit_field(x->e, "rebuilt_modules", NULL, emit_count(d->rebuilt));
	if (!emit_is_text(x->e))
		return;
	if (d->elapsed_ns)
		emit_line(x->e, EMIT_PLAIN,
		          d->nsides > 2 ? "  between        %, % profiles" : "  between        %",
		          (struct emit_part[]){ { NULL, emit_duration(d->elapsed_ns), false },
		                                { NULL, emit_count(d->nsides), false } },
		          2);
	else if (!d->same_run)
		emit_line(x->e, EMIT_PLAIN,
		          "  between        not one process: there is no rate of growth", NULL, 0);
	if (x->d->joint->sampled)
		emit_line(x->e, EMIT_PLAIN,
		          "  tracking       sampled: ± holds in 95 %% of all cases; what may be chance is called noise",
		          NULL, 0);
}

/* Which of many snapshots the first side is. */
static void since(const struct diff_report *x)
{
	if (!x->o->since_ns)
		return;
	emit_object(x->e, "since");
	emit_line(x->e, EMIT_PLAIN, "  since          the newest snapshot that is at least % older",
	          (struct emit_part[]){
			  { "asked_ns", emit_duration(x->o->since_ns), false },
			  { "age_ns", emit_duration(x->o->since_age_ns), true },
		  },
	          2);
	emit_object_end(x->e);
}

/* in use  +20.0 MiB (12.0 MiB → 32.0 MiB), +20 blocks */
static void total(const struct diff_report *x, enum measure_value m, const char *label)
{
	struct diff_change bytes =
		diff_change(x->d, &x->g.sum[0], &x->g.sum[1], (struct measure){ m, false }, 1);
	struct diff_change blocks =
		diff_change(x->d, &x->g.sum[0], &x->g.sum[1], (struct measure){ m, true }, 1);
	_cleanup_buf_ struct buf change = { 0 }, count = { 0 }, format = { 0 };

	put_change(&change, &bytes, false);
	put_signed(&count, blocks.value, true);
	buf_printf(&format, "  %-13s  %% (%% → %%), %% blocks%s", label,
	           bytes.noise ? "; noise" : "");
	emit_object(x->e, value_names[m].key);
	emit_line(x->e, EMIT_PLAIN, format.data,
	          (struct emit_part[]){
			  { NULL, emit_string(change.data), false },
			  { NULL, emit_bytes(x->g.sum[0].value[m].bytes), false },
			  { NULL, emit_bytes(x->g.sum[1].value[m].bytes), false },
			  { NULL, emit_string(count.data), false },
			  { "growth_bytes", emit_number(bytes.value), true },
			  { "growth_bytes_low", emit_number(bytes.low), true },
			  { "growth_bytes_high", emit_number(bytes.high), true },
			  { "growth_blocks", emit_number(blocks.value), true },
			  { "noise", emit_bool(bytes.noise), true },
			  { "bytes_per_second", rate_value(x, bytes.value), true },
		  },
	          10);
	side_values(x, "before", &x->g.sum[0].value[m]);
	side_values(x, "after", &x->g.sum[1].value[m]);
	emit_object_end(x->e);
}

static void head(const struct diff_report *x)
{
	emit_heading(x->e, "%s %s", x->d->nsides > 2 ? "The course of" : "What changed in",
	             profile_title(x->d->joint));
	emit_array(x->e, "sides");
	for (size_t i = 0; i < x->d->nsides; i++)
		side(x, i);
	emit_array_end(x->e);
	since(x);
	between(x);
	emit_object(x->e, "totals");
	total(x, MEASURE_INUSE, "in use");
	total(x, MEASURE_ALLOC, "allocated");
	emit_object_end(x->e);
}

/* ---- what is shown ---------------------------------------------------------------- */

static bool changed(const struct diff_item *i)
{
	return i->change.value != 0 || i->self_change.value != 0;
}

static bool is_noise(const struct diff_report *x, const struct diff_item *i)
{
	return i->change.noise && !x->o->noise;
}

static bool passes(const struct diff_report *x, const struct diff_item *i)
{
	return changed(i) && !is_noise(x, i) && magnitude(i->change.value) >= x->min;
}

static void choose(struct diff_report *x)
{
	double all = (double)x->g.grown + (double)x->g.shrunk, share = ceil(all * x->o->min_ratio);

	x->min = share > (double)x->o->min_value ? (uint64_t)share : x->o->min_value;
	for (size_t i = 0; i < x->g.n; i++) {
		const struct diff_item *item = &x->g.items[i];

		if (!changed(item))
			continue;
		if (is_noise(x, item)) {
			x->noise++;
		} else if (passes(x, item) && (!x->o->top || x->shown < x->o->top)) {
			x->shown++;
		} else {
			x->left++;
			if (__builtin_add_overflow(x->left_growth, item->change.value,
			                           &x->left_growth))
				x->left_growth = item->change.value < 0 ? -INT64_MAX : INT64_MAX;
		}
	}
}

static const struct {
	const char *key, *word;
} by_names[] = {
	[GROUP_SITE] = { "sites", "site" },       [GROUP_FUNCTION] = { "functions", "function" },
	[GROUP_MODULE] = { "modules", "module" }, [GROUP_THREAD] = { "threads", "thread" },
	[GROUP_KIND] = { "kinds", "kind" },
};

static void view_object(const struct diff_report *x)
{
	const struct measure m = x->o->measure;

	emit_object(x->e, "view");
	emit_field(x->e, "value", NULL, emit_string(value_names[m.value].key));
	emit_field(x->e, "unit", NULL, emit_string(m.blocks ? "blocks" : "bytes"));
	emit_list(x->e, "kinds");
	for (uint8_t k = 0; k < PROF_NKINDS; k++)
		if (x->v->kinds & PROF_KIND_BIT(k))
			emit_item(x->e, emit_string(kind_names[k].key));
	emit_list_end(x->e);
	emit_field(x->e, "filtered", NULL, emit_bool(x->v->filtered));
	emit_field(x->e, "sites_left_out", NULL, emit_count(x->v->dropped));
	emit_field(x->e, "normalized", NULL, emit_bool(x->o->normalize));
	emit_field(x->e, "scale", NULL, emit_ratio(x->g.scale));
	emit_field(x->e, "grown", NULL, emit_count(x->g.grown));
	emit_field(x->e, "shrunk", NULL, emit_count(x->g.shrunk));
	emit_object_end(x->e);
}

static void heading(const struct diff_report *x)
{
	const struct measure m = x->o->measure;
	_cleanup_buf_ struct buf grown = { 0 }, shrunk = { 0 }, scale = { 0 };
	char title[32];

	put_amount(&grown, x->g.grown, m.blocks);
	put_amount(&shrunk, x->g.shrunk, m.blocks);
	if (x->o->normalize)
		buf_printf(&scale, " (before is scaled by %.3g)", x->g.scale);
	snprintf(title, sizeof(title), "%s", value_names[m.value].words);
	title[0] = (char)toupper((unsigned char)title[0]);
	emit_heading(x->e, "%s%s by %s: %s up, %s down%s", title, m.blocks ? ", in blocks," : "",
	             by_names[x->o->by].word, grown.data ? grown.data : "",
	             shrunk.data ? shrunk.data : "", scale.data ? scale.data : "");
	if (x->d->nsides > 2 && emit_is_text(x->e)) {
		_cleanup_buf_ struct buf course = { 0 };
		const uint64_t *c = x->g.sum_course;

		put_course(&course, c, x->d->nsides);
		emit_line(x->e, EMIT_PLAIN, "  all together   %  % → %",
		          (struct emit_part[]){
				  { NULL, emit_string(course.data), false },
				  { NULL, m.blocks ? emit_count(c[0]) : emit_bytes(c[0]), false },
				  { NULL,
		                    m.blocks ? emit_count(c[x->d->nsides - 1])
		                             : emit_bytes(c[x->d->nsides - 1]),
		                    false } },
		          3);
	}
	emit_blank(x->e);
}

static void course_list(const struct diff_report *x, const char *key, const uint64_t *course)
{
	emit_list(x->e, key);
	for (size_t i = 0; i < x->d->nsides; i++)
		emit_item(x->e, emit_count(course[i]));
	emit_list_end(x->e);
}

/* JSON: both ends of what was asked for and of the two values everybody wants. */
static void both_values(const struct diff_report *x, const struct group_sum side[2])
{
	static const enum measure_value values[] = { MEASURE_INUSE, MEASURE_ALLOC };

	for (size_t i = 0; i < ARRAY_SIZE(values) && !emit_is_text(x->e); i++) {
		emit_object(x->e, value_names[values[i]].key);
		side_values(x, "before", &side[0].value[values[i]]);
		side_values(x, "after", &side[1].value[values[i]]);
		emit_object_end(x->e);
	}
}

/* ---- sites --------------------------------------------------------------------- */

/* 1.  +20.0 MiB ±1.0 MiB  (99.1 % of all growth)  0 B → 20.0 MiB, +20 blocks, +1.6 MiB/s; appeared */
static void site_line(const struct diff_report *x, size_t rank, const struct diff_item *i)
{
	const struct measure m = x->o->measure;
	_cleanup_buf_ struct buf format = { 0 }, change = { 0 }, other = { 0 }, rate = { 0 },
				 course = { 0 }, steps = { 0 };
	struct diff_change second = diff_change(x->d, &i->total[0], &i->total[1],
	                                        (struct measure){ m.value, !m.blocks }, 1);
	double share[2] = {
		report_share(group_measure(&i->total[0], m), group_measure(&x->g.sum[0], m)),
		report_share(group_measure(&i->total[1], m), group_measure(&x->g.sum[1], m))
	};
	/* normalised amounts are of no time, and the ones compared are shares */
	bool series = x->d->nsides > 2, shares = x->o->normalize;
	bool rated = x->d->elapsed_ns != 0 && !shares;
	struct emit_part parts[] = {
		{ "rank", emit_number((int64_t)rank), false },
		{ NULL, emit_string(NULL), false },
		{ "share", emit_ratio(share_of(x, i->change.value)), false },
		{ "before", value_of(&i->total[0].value[m.value], m.blocks), shares },
		{ "before_share", emit_ratio(share[0]), !shares },
		{ "after", value_of(&i->total[1].value[m.value], m.blocks), shares },
		{ "after_share", emit_ratio(share[1]), !shares },
		{ NULL, emit_string(NULL), false },
		{ NULL, emit_string(NULL), !rated },
		{ "change", emit_string(word_of(x, i)), false },
		{ NULL, emit_string(NULL), !series },
		{ NULL, emit_string(NULL), !series },
		{ NULL, emit_string(kind_names[i->kind].words), i->kind == PROF_HEAP },
		{ "kind", emit_string(kind_names[i->kind].key), true },
		{ "growth", emit_number(i->change.value), true },
		{ "growth_low", emit_number(i->change.low), true },
		{ "growth_high", emit_number(i->change.high), true },
		{ "noise", emit_bool(i->change.noise), true },
		{ m.blocks ? "growth_bytes" : "growth_blocks", emit_number(second.value), true },
		{ "per_second", rate_value(x, i->change.value), true },
		{ "sites", emit_count(i->total[1].sites), true },
		{ "stack_cut", emit_bool(i->cut), true },
		{ "steps_grown", emit_count(i->grown), true },
	};

	put_change(&change, &i->change, m.blocks);
	put_signed(&other, second.value, !m.blocks);
	if (rated)
		put_rate(&rate, i->change.value, x->d->elapsed_ns, m.blocks);
	put_course(&course, diff_course(&x->g, i), x->d->nsides);
	put_steps(&steps, x, i);
	parts[1].value = emit_string(change.data);
	parts[7].value = emit_string(other.data);
	parts[8].value = emit_string(rate.data);
	parts[10].value = emit_string(course.data);
	parts[11].value = emit_string(steps.data);
	buf_printf(&format, "%%.  %%%s  (%% of all %s)  %% → %%%s, %%%s", m.blocks ? " blocks" : "",
	           i->change.value < 0 ? "shrinkage" : "growth", shares ? " of everything" : "",
	           m.blocks                       ? ""
	           : magnitude(second.value) == 1 ? " block"
	                                          : " blocks");
	buf_puts(&format, rated ? ", %" : "");
	buf_puts(&format, i->change.noise ? "; %, may be noise" : "; %");
	buf_puts(&format, series ? "  %  %" : "");
	buf_puts(&format, i->kind != PROF_HEAP ? "; %" : "");
	emit_line(x->e, i->change.noise ? EMIT_DIM : EMIT_BOLD, format.data, parts,
	          ARRAY_SIZE(parts));
}

static void site(const struct diff_report *x, size_t rank, const struct diff_item *i)
{
	emit_object(x->e, NULL);
	site_line(x, rank, i);
	course_list(x, "course", diff_course(&x->g, i));
	both_values(x, i->total);
	report_stack(&x->r, i->id);
	emit_object_end(x->e);
	emit_blank(x->e);
}

/* ---- tables -------------------------------------------------------------------- */

enum {
	COL_CHANGE,
	COL_SHARE,
	COL_SELF,
	COL_BEFORE,
	COL_AFTER,
	COL_BLOCKS,
	COL_COURSE,
	COL_STEPS,
	COL_WORD,
	COL_TID,
	COL_NAME,
	COL_MODULE,
	COL_JSON,
	COL_ENDED = COL_JSON + 9
};

static const struct emit_column columns[] = {
	[COL_CHANGE] = { NULL, "change", EMIT_RIGHT, 0 },
	[COL_SHARE] = { "share", "%", 0, 0 },
	[COL_SELF] = { NULL, "self", EMIT_RIGHT, 0 },
	[COL_BEFORE] = { "before", "before", 0, 0 },
	[COL_AFTER] = { "after", "after", 0, 0 },
	[COL_BLOCKS] = { NULL, "blocks", EMIT_RIGHT, 0 },
	[COL_COURSE] = { NULL, "course", 0, 0 },
	[COL_STEPS] = { NULL, "up", EMIT_RIGHT, 0 },
	[COL_WORD] = { "change", "", 0, 0 },
	[COL_TID] = { "tid", "tid", 0, 0 },
	[COL_NAME] = { "name", NULL, EMIT_SHRINK, 0 }, /* titled by what it is */
	[COL_MODULE] = { "module", "module", EMIT_SHRINK_PATH, 0 },
	{ "growth", NULL, 0, 0 },
	{ "growth_low", NULL, 0, 0 },
	{ "growth_high", NULL, 0, 0 },
	{ "noise", NULL, 0, 0 },
	{ "growth_blocks", NULL, 0, 0 },
	{ "self_growth", NULL, 0, 0 },
	{ "per_second", NULL, 0, 0 },
	{ "steps_grown", NULL, 0, 0 },
	{ "sites", NULL, 0, 0 },
	[COL_ENDED] = { "ended", NULL, 0, 0 },
};

static const char *shown_path(const struct diff_report *x, const char *path)
{
	return x->o->full_paths || !emit_is_text(x->e) ? path : path_base(path);
}

static const char *item_name(const struct diff_report *x, const struct diff_item *i)
{
	struct group as_group = { .id = i->id, .kind = i->kind };
	const char *name = group_name(x->v, x->o->by, &as_group);

	if (x->o->by == GROUP_MODULE)
		return name ? shown_path(x, name) : "(no module)";
	if (x->o->by == GROUP_THREAD)
		return name && *name                     ? name
		       : !i->id                          ? "(unknown)"
		       : x->d->joint->threads[i->id].tid ? ""
		                                         : "(threads without a name)";
	return name                       ? name
	       : i->id < x->v->nfunctions ? "(functions without a name)"
	                                  : "(stack unknown)";
}

static void row(const struct diff_report *x, const struct diff_item *i)
{
	const struct measure m = x->o->measure;
	_cleanup_buf_ struct buf change = { 0 }, self = { 0 }, blocks = { 0 }, course = { 0 },
				 steps = { 0 };
	struct emit_value values[ARRAY_SIZE(columns)] = { 0 };
	uint32_t module = PROF_NO_MODULE;
	const struct prof_thread *thread = x->o->by == GROUP_THREAD ? &x->d->joint->threads[i->id]
	                                                            : NULL;
	size_t n = COL_JSON;

	if (x->o->by == GROUP_FUNCTION && i->id < x->v->nfunctions)
		module = x->v->functions[i->id].module;
	put_change(&change, &i->change, m.blocks);
	if (i->self_change.value)
		put_signed(&self, i->self_change.value, m.blocks);
	put_signed(&blocks, blocks_change(i->total, m.value), true);
	if (x->d->nsides > 2) {
		put_course(&course, diff_course(&x->g, i), x->d->nsides);
		buf_printf(&steps, "%zu/%zu", i->grown, x->d->nsides - 1);
	}
	values[COL_CHANGE] = emit_string(change.data);
	values[COL_SHARE] = emit_ratio(share_of(x, i->change.value));
	values[COL_SELF] = emit_string(self.data);
	values[COL_BEFORE] = value_of(&i->total[0].value[m.value], m.blocks);
	values[COL_AFTER] = value_of(&i->total[1].value[m.value], m.blocks);
	values[COL_BLOCKS] = emit_string(blocks.data);
	values[COL_COURSE] = emit_string(course.data);
	values[COL_STEPS] = emit_string(steps.data);
	values[COL_WORD] = emit_string(word_of(x, i));
	values[COL_TID] = thread && thread->tid ? emit_number(thread->tid) : emit_none();
	values[COL_NAME] = emit_string(item_name(x, i));
	values[COL_MODULE] = emit_string(
		module == PROF_NO_MODULE ? NULL : shown_path(x, x->d->joint->modules[module].path));
	values[n++] = emit_number(i->change.value);
	values[n++] = emit_number(i->change.low);
	values[n++] = emit_number(i->change.high);
	values[n++] = emit_bool(i->change.noise);
	values[n++] = emit_number(blocks_change(i->total, m.value));
	values[n++] = emit_number(i->self_change.value);
	values[n++] = rate_value(x, i->change.value);
	values[n++] = emit_count(i->grown);
	values[n++] = emit_count(i->total[1].sites);
	values[COL_ENDED] = thread ? emit_bool(thread->died) : emit_none();
	emit_row(x->e, 0, i->change.noise ? EMIT_DIM : EMIT_PLAIN, values);
}

/* Columns that this table does not need have no title, and take no room. */
static void make_columns(const struct diff_report *x, struct emit_column *to)
{
	memcpy(to, columns, sizeof(columns));
	to[COL_NAME].title = by_names[x->o->by].word;
	if (x->o->by == GROUP_MODULE)
		to[COL_NAME].flags = EMIT_SHRINK_PATH;
	if (x->o->by != GROUP_FUNCTION)
		to[COL_MODULE].title = NULL;
	if (x->o->by == GROUP_KIND || x->o->by == GROUP_THREAD)
		to[COL_SELF].title = NULL;
	if (x->o->by != GROUP_THREAD || !x->d->same_run)
		to[COL_TID].title = NULL;
	/* only of threads, so that the other tables are what they were */
	if (x->o->by != GROUP_THREAD)
		to[COL_TID].key = to[COL_ENDED].key = NULL;
	if (x->d->nsides == 2)
		to[COL_COURSE].title = to[COL_STEPS].title = NULL;
	if (x->o->measure.blocks)
		to[COL_BLOCKS].title = NULL;
	if (!emit_is_text(x->e))
		return;
	/* what a narrow terminal can do without */
	if (emit_width(x->e) < 110)
		to[COL_SHARE].title = NULL;
	if (emit_width(x->e) < 100)
		to[COL_BEFORE].title = NULL;
	if (emit_width(x->e) < 90)
		to[COL_BLOCKS].title = to[COL_STEPS].title = NULL;
}

/* ---- all of it ------------------------------------------------------------------- */

static void rest(const struct diff_report *x)
{
	_cleanup_buf_ struct buf change = { 0 };
	bool sums = x->o->by != GROUP_FUNCTION && x->o->by != GROUP_MODULE; /* which overlap */
	const char *word = by_names[x->o->by].word;
	struct emit_part parts[] = {
		{ "count", emit_count(x->left), false },
		{ NULL, emit_string(NULL), !sums },
		{ "growth", sums ? emit_number(x->left_growth) : emit_none(), true },
	};
	char format[96];

	put_signed(&change, x->left_growth, x->o->measure.blocks);
	parts[1].value = emit_string(change.data);
	emit_object(x->e, "rest");
	snprintf(format, sizeof(format), "  … %% more %s%s changed%s", word,
	         x->left == 1 ? "" : "s", sums ? ", % together" : "");
	emit_line(x->e, EMIT_DIM, x->left ? format : NULL, parts, ARRAY_SIZE(parts));
	emit_object_end(x->e);
	emit_object(x->e, "noise");
	snprintf(format, sizeof(format), "  noise: %% %s%s left out (--noise shows them)", word,
	         x->noise == 1 ? "" : "s");
	emit_line(x->e, EMIT_DIM, x->noise ? format : NULL,
	          (struct emit_part[]){ { "count", emit_count(x->noise), false } }, 1);
	emit_object_end(x->e);
}

static void note(const struct diff_report *x, const char *code, const char *text)
{
	if (emit_is_text(x->e)) {
		emit_text(x->e, EMIT_PLAIN, 2, "• %s", text);
		return;
	}
	emit_object(x->e, NULL);
	emit_field(x->e, "code", NULL, emit_string(code));
	emit_field(x->e, "text", NULL, emit_string(text));
	emit_object_end(x->e);
}

static void notes(const struct diff_report *x)
{
	_cleanup_buf_ struct buf text = { 0 };
	bool any = x->d->rebuilt || (x->o->warnings && *x->o->warnings);

	if (any)
		emit_heading(x->e, "Notes");
	emit_array(x->e, "notes");
	if (x->d->rebuilt) {
		buf_printf(&text, "%s", path_base(x->d->rebuilt_module));
		if (x->d->rebuilt > 1)
			buf_printf(&text, " and %zu more module%s", x->d->rebuilt - 1,
			           x->d->rebuilt > 2 ? "s" : "");
		buf_puts(&text, x->d->rebuilt > 1 ? " were" : " was");
		buf_puts(&text,
		         " built anew in between: stacks through them are matched by the names of "
		         "functions and files, without lines");
		note(x, "rebuilt", text.data ? text.data : "");
	}
	for (const char *const *w = x->o->warnings; w && *w; w++)
		note(x, "symbols", *w);
	emit_array_end(x->e);
}

static struct seep_error *take_frames(struct diff_report *x, struct frame_table *frames)
{
	struct seep_error *err = frames_init(frames, x->v);
	size_t n = 0;

	if (err)
		return err;
	for (size_t i = 0; i < x->g.n && n < x->shown; i++) {
		if (!passes(x, &x->g.items[i]))
			continue;
		n++;
		for (uint32_t k = x->g.items[i].id; k; k = x->v->nodes[k].parent)
			frames_take(frames, x->v->nodes[k].location);
	}
	x->r.frames = frames;
	report_frames(&x->r);
	return NULL;
}

static struct seep_error *entries(struct diff_report *x)
{
	_cleanup_frames_ struct frame_table frames = { 0 };
	struct emit_column cols[ARRAY_SIZE(columns)];
	bool sites = x->o->by == GROUP_SITE;
	size_t n = 0;

	if (sites && !emit_is_text(x->e)) {
		struct seep_error *err = take_frames(x, &frames);

		if (err)
			return err;
	}
	heading(x);
	if (!x->shown)
		emit_text(x->e, EMIT_PLAIN, 2, "%s",
		          x->o->by == GROUP_THREAD && !x->d->joint->ncells
		                  ? "The profiles do not say which thread allocated what."
		          : x->noise ? "Nothing changed by more than chance."
		          : x->left  ? "Nothing changed above the minimum."
		                     : "Nothing changed.");
	make_columns(x, cols);
	if (sites)
		emit_array(x->e, by_names[x->o->by].key);
	else
		emit_table(x->e, by_names[x->o->by].key, 2, cols, ARRAY_SIZE(cols));
	for (size_t i = 0; i < x->g.n && n < x->shown; i++) {
		if (!passes(x, &x->g.items[i]))
			continue;
		n++;
		if (sites)
			site(x, n, &x->g.items[i]);
		else
			row(x, &x->g.items[i]);
	}
	if (sites)
		emit_array_end(x->e);
	else
		emit_table_end(x->e);
	x->r.frames = NULL;
	return NULL;
}

struct seep_error *diff_report_emit(struct emit *e, struct diff *d, const struct view *v,
                                    const struct diff_report_options *o)
{
	struct report_options as_report = {
		.measure = o->measure,
		.by = o->by,
		.depth = o->depth,
		.full_paths = o->full_paths,
		.cwd = o->cwd,
	};
	struct diff_report x = {
		.r = { .e = e, .v = v, .p = d->joint, .o = &as_report },
		.e = e,
		.d = d,
		.v = v,
		.o = o,
	};
	struct seep_error *err = diff_groups_make(d, v, o->by, o->measure, o->normalize, &x.g);

	if (err)
		return err;
	if (o->order != DIFF_GROWTH)
		diff_groups_sort(v, o->by, o->order, &x.g);
	choose(&x);
	emit_object(e, NULL);
	emit_field(e, "seep_diff", NULL, emit_number(DIFF_JSON_VERSION));
	head(&x);
	view_object(&x);
	course_list(&x, "course", x.g.sum_course);
	err = entries(&x);
	if (!err) {
		rest(&x);
		notes(&x);
		emit_object_end(e);
	}
	diff_groups_release(&x.g);
	return err;
}
