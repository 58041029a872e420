/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened over sizes and time: the balance of allocated against freed by
 * block size, how long freed blocks lived, and the course of bytes in use.
 *
 * The balance is where a plain imbalance leaps to the eye: a size whose blocks are
 * allocated and never freed shows 100 % kept and the longest bar.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "output/report_private.h"
#include "output/timeline.h"
#include "output/units.h"
#include "wire/ledger.h"

_Static_assert(PROF_SIZE_CLASSES == LEDGER_SIZE_CLASSES, "one set of size classes");

#define BAR_WIDTH 16u

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* ---- balance by size ---------------------------------------------------------- */

struct size_row {
	uint64_t min, max;
	struct prof_value alloc, freed;
};

/* Rows of whole doublings (two classes each), or of single classes; *n of them are not empty. */
static size_t size_rows(const struct profile *p, bool fine, struct size_row rows[PROF_SIZE_CLASSES])
{
	size_t n = 0;

	for (unsigned int c = 0; c < PROF_SIZE_CLASSES; c++) {
		const struct prof_class *class = &p->classes[c];
		struct size_row *row = n ? &rows[n - 1] : NULL;
		unsigned int first = fine || c < 3 ? c : c - (c - 1) % 2;

		if (!class->alloc.blocks && !class->freed.blocks)
			continue;
		if (!row || row->min != ledger_size_class_min(first)) {
			unsigned int last = fine || c < 3 ? c : first + 1;

			row = &rows[n++];
			*row = (struct size_row){ .min = ledger_size_class_min(first),
				                  .max = last + 1 < PROF_SIZE_CLASSES
				                                 ? ledger_size_class_min(last + 1) - 1
				                                 : UINT64_MAX };
		}
		prof_value_add(&row->alloc, &class->alloc);
		prof_value_add(&row->freed, &class->freed);
	}
	return n;
}

/* 4 KiB, 1.5 KiB: class limits are round numbers. */
static const char *size_unit(uint64_t bytes, double *ret_number)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	size_t u = 0;

	for (*ret_number = (double)bytes; *ret_number >= 1024 && u + 1 < ARRAY_SIZE(units); u++)
		*ret_number /= 1024;
	return units[u];
}

/* "32–63 B" and "4–8 KiB" (8 KiB itself belongs to the next row). */
static void size_text(const struct size_row *r, char *text, size_t size)
{
	bool small = r->max < 1024;
	double from, to;
	const char *from_unit = size_unit(r->min, &from),
		   *to_unit = size_unit(small ? r->max : r->max + 1, &to);

	if (r->min == r->max)
		snprintf(text, size, "%g %s", from, from_unit);
	else if (r->max == UINT64_MAX)
		snprintf(text, size, "%g %s and up", from, from_unit);
	else if (from_unit == to_unit)
		snprintf(text, size, "%g–%g %s", from, to, to_unit);
	else
		snprintf(text, size, "%g %s–%g %s", from, from_unit, to, to_unit);
}

static const struct emit_column size_columns[] = {
	{ NULL, "size", EMIT_RIGHT, 0 },   { "min_bytes", NULL, 0, 0 },
	{ "max_bytes", NULL, 0, 0 },       { "allocated_blocks", "allocated", 0, 0 },
	{ "freed_blocks", "freed", 0, 0 }, { "in_use_blocks", "in use", 0, 0 },
	{ "kept", "kept", 0, 0 },          { "allocated_bytes", "allocated", 0, 0 },
	{ "freed_bytes", NULL, 0, 0 },     { "in_use_bytes", "in use", 0, 0 },
	{ NULL, "", 0, BAR_WIDTH },
};

void report_balance(const struct report *r)
{
	struct size_row rows[PROF_SIZE_CLASSES];
	size_t n = size_rows(r->p, r->o->hist, rows);
	uint64_t most = 0, all = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t inuse = minus(rows[i].alloc.bytes, rows[i].freed.bytes);

		most = inuse > most ? inuse : most;
		all += inuse;
	}
	if (n) {
		emit_heading(r->e, "Allocated against freed, by block size%s",
		             r->v->filtered ? " (all stacks)" : "");
		emit_blank(r->e);
	}
	emit_table(r->e, "size_classes", 2, size_columns, ARRAY_SIZE(size_columns));
	for (size_t i = 0; i < n; i++) {
		const struct size_row *row = &rows[i];
		uint64_t blocks = minus(row->alloc.blocks, row->freed.blocks);
		uint64_t inuse = minus(row->alloc.bytes, row->freed.bytes);
		double kept = report_share(blocks, row->alloc.blocks);
		char size[48];

		size_text(row, size, sizeof(size));
		/* what holds a tenth of all and hardly ever gives back deserves the eye */
		emit_row(r->e, 0, kept >= 0.9 && inuse >= all / 10 && inuse ? EMIT_MARK : EMIT_PLAIN,
		         (struct emit_value[]){ emit_string(size), emit_bytes(row->min),
		                                emit_bytes(row->max), emit_count(row->alloc.blocks),
		                                emit_count(row->freed.blocks), emit_count(blocks),
		                                emit_ratio(kept), emit_bytes(row->alloc.bytes),
		                                emit_bytes(row->freed.bytes), emit_bytes(inuse),
		                                emit_bar(report_share(inuse, most)) });
	}
	emit_table_end(r->e);
}

/* ---- lifetimes ------------------------------------------------------------------ */

static const struct emit_column life_columns[] = {
	{ NULL, "", EMIT_RIGHT, 0 }, { "from_ns", NULL, 0, 0 }, { "to_ns", NULL, 0, 0 },
	{ "blocks", "", 0, 0 },      { "share", "", 0, 0 },     { NULL, "", 0, BAR_WIDTH * 2 },
};

/* From bucket `from` up to, but without, bucket `to`. */
static void life_text(unsigned int from, unsigned int to, char *text, size_t size)
{
	struct buf b = { 0 };

	if (!from) {
		buf_puts(&b, "under ");
		unit_duration(&b, lifetime_bucket_ns(to));
	} else if (to >= PROF_LIFE_BUCKETS) {
		unit_duration(&b, lifetime_bucket_ns(from));
		buf_puts(&b, " or longer");
	} else {
		unit_duration(&b, lifetime_bucket_ns(from));
		buf_puts(&b, " to ");
		unit_duration(&b, lifetime_bucket_ns(to));
	}
	snprintf(text, size, "%s", b.data ? b.data : "");
	buf_release(&b);
}

/* Eightfold steps tell requests from sessions from forever; --hist shows every doubling. */
void report_lifetimes(const struct report *r)
{
	struct lifetimes l = lifetimes_make(r->v);
	unsigned int step = r->o->hist ? 1 : 3, from = 0;
	uint64_t most = 0;

	if (l.total) {
		emit_heading(r->e, "How long freed blocks had lived");
		emit_blank(r->e);
	}
	for (unsigned int pass = 0; pass < 2; pass++) {
		if (pass)
			emit_table(r->e, "lifetimes", 2, life_columns, ARRAY_SIZE(life_columns));
		for (unsigned int to; from < PROF_LIFE_BUCKETS; from = to) {
			uint64_t blocks = 0;
			char text[64];

			to = from ? from + step : 1;
			to = to > PROF_LIFE_BUCKETS ? PROF_LIFE_BUCKETS : to;
			for (unsigned int b = from; b < to; b++)
				blocks += l.blocks[b];
			most = blocks > most ? blocks : most;
			if (!pass || !blocks)
				continue;
			life_text(from, to, text, sizeof(text));
			emit_row(r->e, 0, EMIT_PLAIN,
			         (struct emit_value[]){
					 emit_string(text), emit_duration(lifetime_bucket_ns(from)),
					 to < PROF_LIFE_BUCKETS
						 ? emit_duration(lifetime_bucket_ns(to))
						 : emit_none(),
					 emit_count(blocks),
					 emit_ratio(report_share(blocks, l.total)),
					 emit_bar(report_share(blocks, most)) });
		}
		from = 0;
	}
	emit_table_end(r->e);
}

/* ---- timeline --------------------------------------------------------------------- */

static const struct emit_column point_columns[] = {
	{ "time_ns", NULL, 0, 0 },
	{ "in_use_bytes", NULL, 0, 0 },
	{ "allocated_bytes", NULL, 0, 0 },
	{ "allocated_blocks", NULL, 0, 0 },
};

/* The highest bytes in use in each of n equal spans of time; a span without a point keeps the last one's level. */
static void resample(const struct profile *p, uint64_t *spans, size_t n)
{
	uint64_t first = p->points[0].time, last = p->points[p->npoints - 1].time,
		 level = p->points[0].inuse;
	double length = (double)(last - first) / (double)n;
	size_t i = 0;

	for (size_t s = 0; s < n; s++) {
		double end = (double)first + length * (double)(s + 1);

		spans[s] = level;
		for (; i < p->npoints && ((double)p->points[i].time <= end || s == n - 1); i++) {
			level = p->points[i].inuse;
			spans[s] = level > spans[s] ? level : spans[s];
		}
	}
}

static void sparkline(const struct report *r)
{
	static const char *const levels[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	size_t n = emit_width(r->e) - 4 > 72 ? 72 : emit_width(r->e) - 4;
	_cleanup_free_ uint64_t *spans = calloc(n, sizeof(*spans));
	const struct prof_point *last = &r->p->points[r->p->npoints - 1];
	struct buf line = { 0 }, from = { 0 }, to = { 0 }, most = { 0 }, now = { 0 };
	uint64_t top = 0;

	if (!spans)
		return;
	resample(r->p, spans, n);
	for (size_t i = 0; i < n; i++)
		top = spans[i] > top ? spans[i] : top;
	for (size_t i = 0; i < n; i++)
		buf_puts(&line,
		         spans[i] ? levels[(size_t)(report_share(spans[i], top) * 7 + 0.5)] : " ");
	unit_duration(&from, r->p->points[0].time);
	unit_duration(&to, last->time);
	unit_bytes(&most, top);
	unit_bytes(&now, last->inuse);
	emit_heading(r->e, "In use over time");
	emit_blank(r->e);
	emit_line(r->e, EMIT_PLAIN, "  %",
	          (struct emit_part[]){ { NULL, emit_string(line.data), false } }, 1);
	emit_text(r->e, EMIT_DIM, 2, "%s to %s; highest %s, at the end %s%s", from.data, to.data,
	          most.data, now.data,
	          r->p->nmerged ? "; a process holds nothing any more once it has ended" : "");
	buf_release(&line);
	buf_release(&from);
	buf_release(&to);
	buf_release(&most);
	buf_release(&now);
}

static const struct emit_column rss_columns[] = {
	{ "time_ns", NULL, 0, 0 },
	{ "bytes", NULL, 0, 0 },
};

static const struct emit_column event_columns[] = {
	{ "time_ns", NULL, 0, 0 },
	{ "kind", NULL, 0, 0 },
	{ "text", NULL, 0, 0 },
};

/* JSON: what was seen from outside, and marks. */
static void emit_times(const struct report *r)
{
	const struct profile *p = r->p;

	emit_table(r->e, "resident", 2, rss_columns, ARRAY_SIZE(rss_columns));
	for (size_t i = 0; i < p->nrss; i++)
		emit_row(r->e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_duration(p->rss[i].time),
		                                emit_bytes(p->rss[i].bytes) });
	emit_table_end(r->e);
	emit_table(r->e, "events", 2, event_columns, ARRAY_SIZE(event_columns));
	for (size_t i = 0; i < p->nevents; i++)
		emit_row(r->e, 0, EMIT_PLAIN,
		         (struct emit_value[]){
				 emit_duration(p->events[i].time),
				 emit_string(timeline_event_names[p->events[i].kind].key),
				 emit_string(p->events[i].text) });
	emit_table_end(r->e);
}

void report_timeline(const struct report *r)
{
	const struct profile *p = r->p;

	if (emit_is_text(r->e)) {
		/* between a few points there is no course to be seen */
		if (p->npoints > 4 && p->points[p->npoints - 1].time > p->points[0].time)
			sparkline(r);
		return;
	}
	emit_times(r);
	emit_table(r->e, "timeline", 2, point_columns, ARRAY_SIZE(point_columns));
	for (size_t i = 0; i < p->npoints; i++)
		emit_row(r->e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_duration(p->points[i].time),
		                                emit_bytes(p->points[i].inuse),
		                                emit_bytes(p->points[i].alloc_bytes),
		                                emit_count(p->points[i].alloc_blocks) });
	emit_table_end(r->e);
}

struct seep_error *report_timeline_graph(const struct report *r)
{
	const struct timeline_text_options o = { .width = emit_width(r->e),
		                                 .height = (unsigned int)r->o->height,
		                                 .ascii = r->o->ascii,
		                                 .marks = r->o->top };
	_cleanup_buf_ struct buf graph = { 0 };
	struct seep_error *err = timeline_text(r->p, &o, &graph);

	if (err)
		return err;
	emit_heading(r->e, "Over time");
	emit_blank(r->e);
	if (!graph.len)
		emit_text(r->e, EMIT_DIM, 2, "The source does not say how memory went over time.");
	for (char *line = graph.data, *end; line && *line; line = end) {
		end = strchrnul(line, '\n');
		if (*end)
			*end++ = '\0';
		if (*line)
			emit_line(r->e, EMIT_PLAIN, "%",
			          (struct emit_part[]){ { NULL, emit_string(line), false } }, 1);
		else
			emit_blank(r->e);
	}
	return NULL;
}
