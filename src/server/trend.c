/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leak's course is a ramp, or stairs that only go up; a cache's bends over; a buffer's is a comb.  Least squares over all
 * readings would call all three growth.  So three things are asked for: in which direction the steps go, whether what was gained is
 * kept, and whether the second half gains as much per second as the first.
 */
#include "server/trend.h"

#include "base/buf.h"
#include "output/units.h"

#include <math.h>
#include <stdlib.h>

/* The second half of a cache that fills gains less than this share of what the first half gained. */
#define SLOWER 0.4
/* Of all ups and downs together, what remains must be at least this share to be a direction. */
#define DIRECTION 0.5

const char *trend_word(enum trend t)
{
	static const char *const words[TREND_NKINDS] = {
		[TREND_UNKNOWN] = "unknown",
		[TREND_GROWING] = "growing",
		[TREND_SLOWING] = "slowing",
		[TREND_STEADY] = "steady",
		[TREND_SHRINKING] = "shrinking",
		[TREND_JUMPY] = "jumpy",
		[TREND_NEW] = "new",
	};

	return t < TREND_NKINDS ? words[t] : "unknown";
}

static double slope(const int64_t *t, const uint64_t *v, size_t n)
{
	double mean_t = 0, mean_v = 0, above = 0, below = 0;

	if (n < 2)
		return NAN;
	for (size_t i = 0; i < n; i++) {
		mean_t += (double)(t[i] - t[0]) / 1000 / (double)n;
		mean_v += (double)v[i] / (double)n;
	}
	for (size_t i = 0; i < n; i++) {
		double x = (double)(t[i] - t[0]) / 1000 - mean_t;

		above += x * ((double)v[i] - mean_v);
		below += x * x;
	}
	return below > 0 ? above / below : NAN;
}

static uint64_t largest(const uint64_t *v, size_t n)
{
	uint64_t most = 0;

	for (size_t i = 0; i < n; i++)
		most = v[i] > most ? v[i] : most;
	return most;
}

static enum trend judge(const int64_t *t, const uint64_t *v, size_t n, const struct trend_result *r,
                        double swing)
{
	size_t half = n / 2;
	double small = (double)largest(v, n) * TREND_SMALL, first, second;
	double first_s = (double)(t[half] - t[0]) / 1000,
	       second_s = (double)(t[n - 1] - t[half]) / 1000;

	if (!largest(v, half) && v[n - 1])
		return TREND_NEW;
	if (swing <= small)
		return TREND_STEADY;
	if (fabs((double)r->change) < DIRECTION * swing)
		return fabs((double)r->change) <= small && !r->up ? TREND_STEADY : TREND_JUMPY;
	if (r->change < 0)
		return TREND_SHRINKING;
	first = (double)v[half] - (double)v[0];
	second = (double)v[n - 1] - (double)v[half];
	if (first > 0 && first_s > 0 && second_s > 0 && second / second_s < SLOWER * first / first_s)
		return TREND_SLOWING;
	return TREND_GROWING;
}

struct trend_result trend_of(const int64_t *times_ms, const uint64_t *values, size_t n)
{
	struct trend_result r = { .rate = NAN, .recent_rate = NAN };
	double small = (double)largest(values, n) * TREND_SMALL / 4, swing = 0;

	if (!n)
		return r;
	r.rate = slope(times_ms, values, n);
	r.recent_rate = slope(times_ms + n / 2, values + n / 2, n - n / 2);
	r.steps = n - 1;
	r.change = (int64_t)(values[n - 1] - values[0]);
	r.elapsed_ms = times_ms[n - 1] - times_ms[0];
	for (size_t i = 1; i < n; i++) {
		double d = (double)values[i] - (double)values[i - 1];

		swing += fabs(d);
		r.up += d > small;
		r.down += d < -small;
	}
	if (n >= TREND_LEAST)
		r.trend = judge(times_ms, values, n, &r, swing);
	return r;
}

void trend_evidence(const struct trend_result *r, struct buf *out)
{
	if (r->trend == TREND_UNKNOWN) {
		buf_printf(out, "only %zu reading%s so far", r->steps + 1, r->steps ? "s" : "");
		return;
	}
	if (r->trend == TREND_STEADY) {
		buf_printf(out, "about the same in %zu readings over ", r->steps + 1);
		unit_duration(out, (uint64_t)r->elapsed_ms * 1000000);
		return;
	}
	if (r->up || !r->down)
		buf_printf(out, "grew in %zu of %zu steps", r->up, r->steps);
	if (r->down)
		buf_printf(out, "%sshrank in %zu%s", r->up ? ", " : "", r->down,
		           r->up ? "" : " steps");
	buf_puts(out, r->change < 0 ? ", in all by \xe2\x88\x92" : ", in all by ");
	unit_bytes(out, r->change < 0 ? 0 - (uint64_t)r->change : (uint64_t)r->change);
	buf_puts(out, " in ");
	unit_duration(out, (uint64_t)r->elapsed_ms * 1000000);
	if (r->trend == TREND_SLOWING)
		buf_puts(out, "; less and less");
}
