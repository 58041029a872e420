/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The course of a process over time, for a plot a hundred columns wide: MOST points are plenty.  When they are
 * there, every second one of the older half goes, so that the last minutes stay as fine as they were seen.
 */
#include "analysis/top.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "profile/profile.h"

#define MOST 8192u

static void thin_out(struct top_history *h)
{
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++)
		if (i >= h->n / 2 || i % 2 == 0)
			h->points[n++] = h->points[i];
	h->n = n;
}

int top_history_add(struct top_history *h, uint64_t time, uint64_t inuse, uint64_t rss)
{
	if (h->n == h->cap && h->cap < MOST) {
		size_t cap = h->cap ? h->cap * 2 : 256;
		struct top_point *p = reallocarray(h->points, cap, sizeof(*p));

		if (!p)
			return -1;
		h->points = p;
		h->cap = cap;
	} else if (h->n == h->cap) {
		thin_out(h);
	}
	if (h->n && time < h->points[h->n - 1].time)
		time = h->points[h->n - 1].time;
	h->points[h->n++] = (struct top_point){ time, inuse, rss };
	return 0;
}

int top_history_seed(struct top_history *h, const struct profile *p)
{
	size_t next = 0;

	for (size_t i = 0; i < p->npoints; i++) {
		uint64_t rss = TOP_UNKNOWN;

		while (next < p->nrss && p->rss[next].time <= p->points[i].time)
			rss = p->rss[next++].bytes;
		if (top_history_add(h, p->points[i].time, p->points[i].inuse, rss) < 0)
			return -1;
	}
	return 0;
}

void top_history_release(struct top_history *h)
{
	free(TAKE(h->points));
	h->n = h->cap = 0;
}

static void raise_to(uint64_t *column, uint64_t value)
{
	if (value != TOP_UNKNOWN && (*column == TOP_UNKNOWN || value > *column))
		*column = value;
}

void top_history_columns(const struct top_history *h, bool rss, uint64_t from, uint64_t to,
                         uint64_t *ret_columns, size_t n)
{
	double span = to > from ? (double)(to - from) : 1;
	uint64_t last = TOP_UNKNOWN;
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t end = from + (uint64_t)(span * (double)(i + 1) / (double)n);

		/* What held before this column holds in it, unless a point says otherwise at its start. */
		ret_columns[i] = TOP_UNKNOWN;
		for (; at < h->n && (h->points[at].time < end || i + 1 == n); at++) {
			uint64_t value = rss ? h->points[at].rss : h->points[at].inuse;

			if (h->points[at].time > to)
				break;
			if (h->points[at].time >= from)
				raise_to(&ret_columns[i], value);
			last = value != TOP_UNKNOWN ? value : last;
		}
		if (ret_columns[i] == TOP_UNKNOWN)
			ret_columns[i] = last;
	}
}
