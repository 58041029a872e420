/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timelines of many processes → one.
 *
 * Every series is a step function: a value holds until the next, and nothing is held once its process
 * has ended.  The sum is made in one pass over the steps of all, sorted by time, on the clock of the
 * merged profile.  Resident memory goes the same way as what is in use.  Pages that processes share are counted in
 * each of them, as everywhere where resident memories are added.  Events are not added but
 * lined up.
 */
#include "profile/merge_times.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MERGED_POINTS 8192u /* a combined timeline is thinned to this */

struct step {
	struct prof_point point;
	size_t input;
};

static int by_time(const void *a, const void *b)
{
	const struct step *x = a, *y = b;

	if (x->point.time != y->point.time)
		return x->point.time < y->point.time ? -1 : 1;
	return x->input < y->input ? -1 : x->input > y->input;
}

/* Keeps the highest of every run of `stride` points, and the last; returns how many are left. */
static size_t thin(struct prof_point *points, size_t npoints)
{
	size_t stride = (npoints + MERGED_POINTS - 1) / MERGED_POINTS, n = 0;

	if (stride < 2)
		return npoints;
	for (size_t i = 0; i < npoints; i += stride) {
		size_t best = i;

		for (size_t j = i; j < i + stride && j < npoints; j++)
			if (points[j].inuse > points[best].inuse || j == npoints - 1)
				best = j;
		points[n++] = points[best];
	}
	return n;
}

/*
 * Adds the last step of input i, whose steps end at steps[n - 1]: just after its last moment, which
 * still counts, it holds nothing.  Those that end last count to the end.
 */
static size_t end_steps(const struct profile *out, const struct profile *p, uint64_t shift,
                        struct step *steps, size_t n)
{
	struct step end = steps[n - 1];
	uint64_t over = prof_add(p->duration_ns, shift);

	over = over > end.point.time ? over : end.point.time;
	if (p->live || over >= out->duration_ns)
		return n;
	end.point.time = over + 1;
	end.point.inuse = 0;
	steps[n] = end;
	return n + 1;
}

/* Sorts the steps of n inputs and writes their running sum; returns the number of points. */
static size_t sum_steps(struct step *steps, size_t nsteps, struct prof_point *now,
                        struct prof_point *points)
{
	struct prof_point sum = { 0 };
	size_t n = 0;

	qsort(steps, nsteps, sizeof(*steps), by_time);
	for (size_t e = 0; e < nsteps; e++) {
		struct prof_point *cur = &now[steps[e].input], *next = &steps[e].point;

		sum.time = next->time;
		sum.inuse += next->inuse - cur->inuse; /* modulo 2^64: exact once every term is in */
		sum.alloc_bytes += next->alloc_bytes - cur->alloc_bytes;
		sum.alloc_blocks += next->alloc_blocks - cur->alloc_blocks;
		*cur = *next;
		if (e + 1 < nsteps && steps[e + 1].point.time == sum.time)
			continue;
		points[n++] = sum;
	}
	return thin(points, n);
}

static int merge_points(struct profile *out, struct profile *const *in, size_t n,
                        const uint64_t *shifts)
{
	_cleanup_free_ struct step *steps = NULL;
	_cleanup_free_ struct prof_point *now = calloc(n, sizeof(*now));
	size_t nsteps = 0, total = 0;

	for (size_t i = 0; i < n; i++)
		total += in[i]->npoints + 1;
	steps = calloc(total, sizeof(*steps));
	out->points = calloc(total, sizeof(*out->points));
	if (!steps || !now || !out->points)
		return -1;
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < in[i]->npoints; j++) {
			steps[nsteps] = (struct step){ in[i]->points[j], i };
			steps[nsteps++].point.time = prof_add(in[i]->points[j].time, shifts[i]);
		}
		if (in[i]->npoints)
			nsteps = end_steps(out, in[i], shifts[i], steps, nsteps);
	}
	out->npoints = sum_steps(steps, nsteps, now, out->points);
	return 0;
}

static int merge_rss(struct profile *out, struct profile *const *in, size_t n,
                     const uint64_t *shifts)
{
	_cleanup_free_ struct step *steps = NULL;
	_cleanup_free_ struct prof_point *now = calloc(n, sizeof(*now)), *points = NULL;
	size_t nsteps = 0, total = 0, npoints;

	for (size_t i = 0; i < n; i++)
		total += in[i]->nrss ? in[i]->nrss + 1 : 0;
	if (!total)
		return 0;
	steps = calloc(total, sizeof(*steps));
	points = calloc(total, sizeof(*points));
	if (!steps || !now || !points)
		return -1;
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < in[i]->nrss; j++) {
			const struct prof_rss *r = &in[i]->rss[j];

			steps[nsteps++] = (struct step){
				{ .time = prof_add(r->time, shifts[i]), .inuse = r->bytes }, i
			};
		}
		if (in[i]->nrss)
			nsteps = end_steps(out, in[i], shifts[i], steps, nsteps);
	}
	npoints = sum_steps(steps, nsteps, now, points);
	out->rss = calloc(npoints + 1, sizeof(*out->rss));
	if (!out->rss)
		return -1;
	for (size_t i = 0; i < npoints; i++)
		out->rss[i] = (struct prof_rss){ points[i].time, points[i].inuse };
	out->nrss = npoints;
	return 0;
}

struct placed {
	const struct prof_event *event;
	uint64_t time;
	size_t order; /* those of one moment stay as they were */
};

static int by_place(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static int merge_events(struct profile *out, struct profile *const *in, size_t n,
                        const uint64_t *shifts)
{
	_cleanup_free_ struct placed *all = NULL;
	size_t total = 0, k = 0;

	for (size_t i = 0; i < n; i++)
		total += in[i]->nevents;
	if (!total)
		return 0;
	all = calloc(total, sizeof(*all));
	out->events = calloc(total, sizeof(*out->events));
	if (!all || !out->events)
		return -1;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < in[i]->nevents; j++, k++)
			all[k] = (struct placed){ &in[i]->events[j],
				                  prof_add(in[i]->events[j].time, shifts[i]), k };
	qsort(all, total, sizeof(*all), by_place);
	for (size_t i = 0; i < total; i++) {
		const char *text = all[i].event->text;
		char *copy = text ? strdup(text) : NULL;

		if (text && !copy)
			return -1;
		out->events[out->nevents++] = (struct prof_event){ .time = all[i].time,
			                                           .kind = all[i].event->kind,
			                                           .text = copy };
	}
	return 0;
}

int merge_times(struct profile *out, struct profile *const *in, size_t n, const uint64_t *shifts)
{
	if (merge_points(out, in, n, shifts) < 0 || merge_rss(out, in, n, shifts) < 0)
		return -1;
	return merge_events(out, in, n, shifts);
}
