/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intervals for Poisson-sampled values: docs/SAMPLING.md derives and measures them.
 *
 * With sampling period R a block of n bytes is recorded with p = 1 - exp(-n/R)
 * and stands for w = 1/p blocks, n/p bytes.  The errors of such a sum are far from
 * normal while few records are behind it, so it is taken apart:
 *
 *     value = base + scale · k_eff
 *
 * base is what was recorded with certainty (large blocks, p near 1), scale what
 * one uncertain record stands for, and k_eff the number of records that would
 * carry the same variance were they a Poisson count: k_eff = variance / scale².
 * An interval for the mean of a Poisson count, moved and scaled back, is the
 * answer.  Scale comes from the block sums, which give the sampling probability
 * of the uncertain part without knowing a single size:
 *
 *     p = Σ (1/p_i - 1) / Σ (1/p_i)(1/p_i - 1) = (blocks - samples) / var_blocks
 *
 * exact when all uncertain blocks have one size, whatever certain ones are mixed in.
 *
 * For the Poisson mean no textbook interval stays within 93..97 % below six
 * expected events (the count is too coarse: one step moves the coverage by
 * several percent), so for small counts the ends come from a table made by
 * dynamic programming: of all acceptance regions whose ends only move up, the
 * ones whose coverage is nearest to 95 % for every mean from 3 on.  Above, and
 * where p is too large for the count to be Poisson, Wilson's score interval.
 *
 * That is all for bytes, whose records below R stand for R bytes whatever their
 * size.  Blocks of mixed sizes need one number more, the largest weight: the other
 * records say little of how many of the smallest blocks went unseen.  See mixed().
 */
#include "profile/estimate.h"

#include <math.h>

#include "base/cleanup.h"
#include "profile/profile.h"

#define Z 1.959964 /* 97.5 % quantile of the normal distribution */

/* Ends of the interval for a Poisson mean when k events were seen: coverage 93.8..96.2 % for means >= 3. */
static const double table_low[] = {
	0.00, 0.10, 0.49, 1.00, 1.58,  2.21,  2.79,  2.79,  2.79,  4.72,  4.72,  6.06,  6.82,
	7.25, 8.21, 8.21, 9.83, 10.21, 11.27, 12.02, 12.05, 13.52, 13.52, 15.23, 15.23, 16.31,
};
static const double table_high[] = { 2.78, 4.71, 6.81, 8.20, 9.82, 11.26, 12.04, 13.51, 15.22, 16.30 };

/* Up to P_TABLE the count is Poisson enough for the table, from P_SCORE on the score interval is better. */
#define P_TABLE 0.1
#define P_SCORE 0.3
#define P_CERTAIN 0.9

static double score_low(double k)
{
	return k + Z * Z / 2 - Z * sqrt(k + Z * Z / 4);
}

static double score_high(double k)
{
	return k + Z * Z / 2 + Z * sqrt(k + Z * Z / 4);
}

/* table[k] between its rows; the last row leads over to the score end. */
static double from_table(const double *table, size_t n, double (*score)(double), double k)
{
	size_t i = (size_t)k;
	double f = k - (double)i, next;

	if (i >= n)
		return score(k);
	next = i + 1 < n ? table[i + 1] : score((double)n);
	return table[i] + f * (next - table[i]);
}

static void poisson_ends(double k, double p, double *ret_low, double *ret_high)
{
	double mix = p <= P_TABLE ? 1 : p >= P_SCORE ? 0 : (P_SCORE - p) / (P_SCORE - P_TABLE);

	*ret_low = score_low(k);
	*ret_high = score_high(k);
	if (mix <= 0 || k >= (double)ARRAY_SIZE(table_low))
		return;
	*ret_low += mix * (from_table(table_low, ARRAY_SIZE(table_low), score_low, k) - *ret_low);
	*ret_high += mix *
	             (from_table(table_high, ARRAY_SIZE(table_high), score_high, k) - *ret_high);
}

static uint64_t to_u64(double v)
{
	return !(v > 0) ? 0 : v >= 18446744073709549568.0 ? UINT64_MAX : (uint64_t)v;
}

/* The integers between low and high; `value` is always one of them. */
static struct prof_interval round_in(double low, double high, uint64_t value)
{
	struct prof_interval i = { to_u64(ceil(low)), to_u64(high) };

	if (i.low > value)
		i.low = value;
	if (i.high < value)
		i.high = value;
	return i;
}

struct ends {
	double low, high;
};

static struct ends ends_of(double value, double var, double scale, double p)
{
	double k, low, high, base;

	if (!(scale >= var / value)) /* also when it is no number: then every record is alike */
		scale = var / value;
	k = var / scale / scale;
	base = value - scale * k;
	poisson_ends(k, p, &low, &high);
	return (struct ends){ base + scale * low, base + scale * high };
}

/* The quantile z standard deviations from the middle of a gamma law (Wilson and Hilferty). */
static double gamma_quantile(double mean, double deviation, double z)
{
	double d = deviation / mean / 3, root = 1 - d * d + z * d;

	return root > 0 ? mean * root * root * root : 0;
}

/* Heavy records that carry the variance: from MANY on their Poisson count is all that matters, below FEW it says little. */
#define HEAVY_MANY 5.0
#define HEAVY_FEW 3.0
#define HEAVIER 0.25 /* so much above the typical weight, weights are fully taken for mixed */
#define CAUTION 1.5  /* how fast an unseen record's share grows with the spread of weights */

/*
 * The number of blocks where sizes are mixed: `*e` comes with the ends for one size, `scale` is their scale, and
 * `weight` the largest weight among the records (0: unknown).
 *
 * The upper end takes the heaviest record's variance per block, `heavy`, for scale: what is
 * missing is most likely of the small blocks, whose records are the heaviest.  With few of them the count of
 * heavy records is no basis at all; there the ends lead over to those of Fay and Feuer, quantiles of
 * gamma laws of the same mean and variance, the upper one with one record more than was seen, which
 * is taken to be the heavier the more mixed the weights are.  With one size all of it comes to nothing.
 */
static void mixed(double value, double var, double scale, double weight, struct ends *e)
{
	/* One record alone has the variance w (w - 1): none behind this variance is heavier. */
	double most = (1 + sqrt(1 + 4 * var)) / 2, heavy = (weight < most ? weight : most) - 1;
	double spread, few, heavier, one_more, low, high;

	if (!(scale >= var / value))
		scale = var / value;
	if (!(heavy > scale))
		return;
	spread = heavy / scale;
	few = (HEAVY_MANY - var / heavy / heavy) / (HEAVY_MANY - HEAVY_FEW);
	few = few < 0 ? 0 : few > 1 ? 1 : few;
	heavier = (spread - 1) / HEAVIER;
	few *= heavier < 1 ? heavier : 1;
	high = ends_of(value, var, heavy, 1 / (1 + heavy)).high;
	if (high > e->high)
		e->high = high;
	one_more = heavy * spread * sqrt(spread);
	low = gamma_quantile(value, sqrt(var), -Z);
	high = gamma_quantile(value + one_more, hypot(sqrt(var), one_more), Z);
	if (low < e->low)
		e->low += few * (low - e->low);
	if (high > e->high)
		e->high += few * (high - e->high);
}

/* Sampling probability of what is not recorded with certainty; 1 when there is no telling. */
static double uncertain_p(const struct prof_value *v, uint64_t samples)
{
	double unseen = (double)v->blocks - (double)samples, p = unseen / v->var_blocks;

	/* Below one unseen block the rounding of `blocks` would be all there is. */
	if (unseen < 1 || !(p > 0) || p > 1)
		return 1;
	return p;
}

/*
 * Half a block, where about every tenth site like this has one that was not recorded: more
 * seldom and it does not matter, more often and the ends reach one block further by themselves.
 * The quotient of the variances is the mean square of the uncertain blocks' sizes.
 */
static double half_block(const struct prof_value *v, double p)
{
	if (p <= P_CERTAIN || v->var_blocks < 0.03 || v->var_blocks > 0.22)
		return 0;
	return 0.5 * sqrt(v->var_bytes / v->var_blocks);
}

struct prof_interval prof_interval_bytes(const struct prof_value *v, uint64_t samples,
                                         uint64_t period)
{
	double scale = 0, p, margin;
	struct ends e;

	if (!period)
		return (struct prof_interval){ v->bytes, v->bytes };
	if (!samples)
		return round_in(0, table_high[0] * (double)period, v->bytes);
	if (!(v->var_bytes > 0) || !v->bytes)
		return (struct prof_interval){ v->bytes, v->bytes };
	p = uncertain_p(v, samples);
	if (p < 1) /* n (1-p)/p for blocks of the size n that is sampled with p */
		scale = -(double)period * log1p(-p) * (1 - p) / p;
	e = ends_of((double)v->bytes, v->var_bytes, scale, p);
	margin = half_block(v, p);
	return round_in(e.low - margin, e.high + margin, v->bytes);
}

struct prof_interval prof_interval_blocks(const struct prof_value *v, uint64_t samples,
                                          uint64_t period)
{
	double p, scale, margin;
	struct ends e;

	if (!period)
		return (struct prof_interval){ v->blocks, v->blocks };
	if (!samples) /* they may be as small as one byte: nothing bounds them */
		return (struct prof_interval){ 0, UINT64_MAX };
	if (!(v->var_blocks > 0) || !v->blocks)
		return (struct prof_interval){ v->blocks, v->blocks };
	p = uncertain_p(v, samples);
	e = ends_of((double)v->blocks, v->var_blocks, p < 1 ? 1 / p - 1 : 0, p);
	/* With p = 1 less than one block is unseen, whatever the weights; else their scale, not less for rounding. */
	if (p < 1) {
		scale = v->var_blocks / ((double)v->blocks - (double)samples - 0.5) - 1;
		mixed((double)v->blocks, v->var_blocks, scale, v->max_weight, &e);
	}
	/* Where nearly all is recorded the value's rounding is as large as its error. */
	margin = p > P_CERTAIN ? 0.5 : 0;
	return round_in(e.low - margin, e.high + margin, v->blocks);
}

/* With one p, blocks = k/p and var = k (1-p)/p², so that var / blocks gives p, and p gives k. */
uint64_t prof_effective_samples(const struct prof_value *v)
{
	double blocks = (double)v->blocks;

	return blocks > 0 ? to_u64(ceil(blocks * blocks / (blocks + v->var_blocks))) : 0;
}

uint64_t prof_interval_margin(const struct prof_interval *i, uint64_t value)
{
	uint64_t below = value > i->low ? value - i->low : 0,
		 above = i->high > value ? i->high - value : 0;

	return below > above ? below : above;
}

/* ---- one record ---------------------------------------------------------- */

/* Sampling periods the block spans: it stays unseen with probability exp(-that). */
static double periods_of(uint64_t size, uint64_t period)
{
	return period ? (double)(size ? size : 1) / (double)period : INFINITY;
}

double prof_weight(uint64_t size, uint64_t period)
{
	return 1 / -expm1(-periods_of(size, period));
}

double prof_weight_variance(uint64_t size, uint64_t period)
{
	double x = periods_of(size, period), p = -expm1(-x);

	return exp(-x) / p / p;
}
