/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns and axes of a timeline: see timeline.h.
 *
 * A profile has thousands of points and a picture some hundred columns; each shows the highest of its points, so
 * that a spike of a millisecond in a week is still seen.  Between points a value holds.  Points and
 * resident memory come in two arrays of two clocks' making; both are walked once, by the same function.
 */
#include "output/timeline.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

#define SECOND 1000000000ull
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

const struct timeline_event_name timeline_event_names[PROF_EVENT_NKINDS] = {
	[PROF_EVENT_SNAPSHOT] = { "snapshot", "snapshot", 'S' },
	[PROF_EVENT_FORK] = { "fork", "fork", 'F' },
	[PROF_EVENT_EXEC] = { "exec", "exec", 'E' },
	[PROF_EVENT_LOAD] = { "load", "loaded", 'L' },
	[PROF_EVENT_UNLOAD] = { "unload", "unloaded", 'U' },
	[PROF_EVENT_CONTROL] = { "control", "tracking", 'C' },
	[PROF_EVENT_KILLED] = { "killed", "killed", 'K' },
};

/* ---- columns ---------------------------------------------------------------------- */

size_t timeline_column(const struct timeline *t, uint64_t time)
{
	size_t c = (size_t)((double)time / (double)t->end * (double)t->n);

	return c < t->n ? c : t->n - 1;
}

/* One series, point by point: a column takes its highest, and those after it begin with its last. */
struct fill {
	uint64_t *columns;
	size_t at; /* column of the last point */
	uint64_t level;
};

static void fill_point(const struct timeline *t, struct fill *f, uint64_t time, uint64_t v)
{
	size_t c = timeline_column(t, time);

	for (; f->at < c; f->at++)
		f->columns[f->at + 1] = f->level;
	if (f->columns[c] == TIMELINE_UNKNOWN || v > f->columns[c])
		f->columns[c] = v;
	f->level = v;
}

static void fill_rest(const struct timeline *t, struct fill *f)
{
	for (; f->at + 1 < t->n; f->at++)
		f->columns[f->at + 1] = f->level;
}

static void fill_columns(struct timeline *t)
{
	const struct profile *p = t->p;
	struct fill inuse = { .columns = t->inuse };
	struct fill rss = { .columns = t->rss, .level = TIMELINE_UNKNOWN };

	for (size_t i = 0; i < t->n; i++)
		t->rss[i] = TIMELINE_UNKNOWN;
	for (size_t i = 0; i < p->npoints; i++) {
		fill_point(t, &inuse, p->points[i].time, p->points[i].inuse);
		if (p->points[i].inuse > t->peak) {
			t->peak = p->points[i].inuse;
			t->peak_time = p->points[i].time;
		}
		t->last = p->points[i].inuse;
	}
	fill_rest(t, &inuse);
	/* Points are noted now and then; the tracker knows when the peak was. */
	if (!p->nmerged && p->peak_bytes && p->peak_bytes >= t->peak) {
		size_t c = timeline_column(t, p->peak_time), to = c;

		/* where the next point is as high, it was so until then */
		for (size_t i = 0; i < p->npoints; i++) {
			if (p->points[i].time < p->peak_time)
				continue;
			if (p->points[i].inuse == p->peak_bytes)
				to = timeline_column(t, p->points[i].time);
			break;
		}
		for (; c <= to; c++)
			t->inuse[c] = p->peak_bytes;
		t->peak = p->peak_bytes;
		t->peak_time = p->peak_time;
	}
	t->highest_rss = TIMELINE_UNKNOWN;
	for (size_t i = 0; i < p->nrss; i++) {
		uint64_t v = p->rss[i].bytes == TIMELINE_UNKNOWN ? TIMELINE_UNKNOWN - 1
		                                                 : p->rss[i].bytes;

		fill_point(t, &rss, p->rss[i].time, v);
		if (t->highest_rss == TIMELINE_UNKNOWN || v > t->highest_rss)
			t->highest_rss = v;
	}
	fill_rest(t, &rss);
}

/* ---- axes -------------------------------------------------------------------------- */

/* Steps that people count in: 128 KiB, 1, 2, 5, 10 MiB, 256 MiB, 1 GiB. */
static void scale_bytes(struct timeline *t, size_t ticks)
{
	static const unsigned int eighths[] = { 1, 2, 4, 8, 16, 40, 80, 160, 400, 800, 2048 };
	uint64_t most = t->peak, unit = 1;

	if (t->highest_rss != TIMELINE_UNKNOWN && t->highest_rss > most)
		most = t->highest_rss;
	most = most < 8 ? 8 : most > UINT64_MAX / 4 ? UINT64_MAX / 4 : most;
	while (most / unit >= 1024)
		unit *= 1024;
	for (size_t i = unit > 1 ? 0 : 3; i < ARRAY_SIZE(eighths); i++) {
		t->step = unit / 8 ? unit / 8 * eighths[i] : eighths[i] / 8;
		if ((most + t->step - 1) / t->step <= ticks)
			break;
	}
	t->top = (most + t->step - 1) / t->step * t->step;
}

static void scale_time(struct timeline *t, size_t ticks)
{
	static const uint64_t steps[] = { SECOND,      2 * SECOND,  5 * SECOND,  10 * SECOND,
		                          20 * SECOND, 30 * SECOND, MINUTE,      2 * MINUTE,
		                          5 * MINUTE,  10 * MINUTE, 20 * MINUTE, 30 * MINUTE,
		                          HOUR,        2 * HOUR,    3 * HOUR,    6 * HOUR,
		                          12 * HOUR,   DAY,         2 * DAY,     5 * DAY };
	static const unsigned int decade[] = { 1, 2, 5 };
	uint64_t base = 1;

	ticks = ticks ? ticks : 1;
	for (; base < SECOND; base *= 10)
		for (size_t i = 0; i < ARRAY_SIZE(decade); i++)
			if (t->end / (t->time_step = base * decade[i]) <= ticks)
				return;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (t->end / (t->time_step = steps[i]) <= ticks)
			return;
	for (base = 10 * DAY; base < UINT64_MAX / 100; base *= 10)
		for (size_t i = 0; i < ARRAY_SIZE(decade); i++)
			if (t->end / (t->time_step = base * decade[i]) <= ticks)
				return;
}

void timeline_tick(struct buf *b, const struct timeline *t, uint64_t time)
{
	static const struct {
		uint64_t below, unit; /* for axes shorter than that */
		const char *name;
	} units[] = {
		{ 2000, 1, "ns" },
		{ 2000000, 1000, "µs" },
		{ 2 * SECOND, 1000000, "ms" },
		{ 3 * MINUTE, SECOND, "s" },
		{ 3 * HOUR, MINUTE, "min" },
		{ 3 * DAY, HOUR, "h" },
		{ UINT64_MAX, DAY, "d" },
	};
	size_t i = 0;

	while (i + 1 < ARRAY_SIZE(units) && t->end >= units[i].below)
		i++;
	if (time)
		buf_printf(b, "%.5g %s", (double)time / (double)units[i].unit, units[i].name);
	else
		buf_puts(b, "0");
}

/* ---- all of it ------------------------------------------------------------------------ */

struct seep_error *timeline_make(const struct profile *p, size_t columns, size_t ticks,
                                 size_t byte_ticks, struct timeline *ret_timeline)
{
	struct timeline t = { .p = p, .end = p->duration_ns };

	if (p->npoints && p->points[p->npoints - 1].time > t.end)
		t.end = p->points[p->npoints - 1].time;
	if (p->nrss && p->rss[p->nrss - 1].time > t.end)
		t.end = p->rss[p->nrss - 1].time;
	if (p->nevents && p->events[p->nevents - 1].time > t.end)
		t.end = p->events[p->nevents - 1].time;
	/* Beyond any clock; so that sums of times below need no care. */
	t.end = t.end > UINT64_MAX / 4 ? UINT64_MAX / 4 : t.end;
	if (t.end && columns && p->npoints + p->nrss) {
		t.inuse = calloc(columns, sizeof(*t.inuse));
		t.rss = calloc(columns, sizeof(*t.rss));
		if (!t.inuse || !t.rss) {
			timeline_release(&t);
			return &seep_error_nomem;
		}
		t.n = columns;
		fill_columns(&t);
		scale_bytes(&t, byte_ticks);
		scale_time(&t, ticks);
	}
	*ret_timeline = t;
	return NULL;
}

void timeline_release(struct timeline *t)
{
	free(t->inuse);
	free(t->rss);
	memset(t, 0, sizeof(*t));
}
