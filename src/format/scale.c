/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sampled values in files.
 *
 * A block of n bytes is sampled with probability p = 1 - exp(-n / R) (docs/SAMPLING.md).  jemalloc and
 * tcmalloc write down what was sampled, C blocks with S bytes for a stack, and leave it to the reader to
 * divide both by p, taken at the stack's average size S / C.  seep's values are estimates already, so for
 * these formats its writer takes p out again; since dividing both by the same number leaves the average
 * as it is, each direction is exactly the other's inverse, up to rounding.
 *
 * The variance of an estimate is not in any of these files.  With all blocks of the average size it
 * follows from estimate and period (docs/SAMPLING.md, "What a recorded block stands for").
 */
#include "format/private.h"

#include <math.h>

static uint64_t rounded(double v)
{
	return !(v > 0) ? 0 : v >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)(v + 0.5);
}

/* Probability of a block of average size; 1 when nothing is sampled or there is no size. */
static double probability(uint64_t blocks, uint64_t bytes, uint64_t period)
{
	if (!period || !blocks || !bytes)
		return 1;
	return -expm1(-((double)bytes / (double)blocks) / (double)period);
}

void scale_variance(uint64_t period, struct prof_value *v)
{
	double p = probability(v->blocks, v->bytes, period), odds = (1 - p) / p, size;

	v->var_blocks = v->var_bytes = 0;
	if (period <= 1 || !v->blocks || !v->bytes || !isfinite(odds))
		return;
	size = (double)v->bytes / (double)v->blocks;
	v->var_blocks = (double)v->blocks * odds;
	v->var_bytes = (double)v->blocks * size * size * odds;
}

uint64_t scale_samples(uint64_t period, const struct prof_value *v)
{
	uint64_t n;

	if (period <= 1 || !v->blocks)
		return v->blocks;
	n = rounded((double)v->blocks * probability(v->blocks, v->bytes, period));
	return n ? n : 1;
}

void scale_unbias(uint64_t blocks, uint64_t bytes, uint64_t period, struct prof_value *ret_value)
{
	double p = probability(blocks, bytes, period);

	*ret_value = (struct prof_value){ .blocks = blocks, .bytes = bytes };
	if (p < 1 && p > 0) {
		ret_value->blocks = rounded((double)blocks / p);
		ret_value->bytes = rounded((double)bytes / p);
	}
	scale_variance(period, ret_value);
}

/*
 * A reader divides by what it finds: neither may a block count of 0 stand beside bytes, nor bytes of 0 beside
 * a count (jeprof dies of the division, pprof calls it malformed).
 */
void scale_bias(const struct prof_value *v, uint64_t period, uint64_t *ret_blocks,
                uint64_t *ret_bytes)
{
	double p = probability(v->blocks, v->bytes, period);
	uint64_t blocks = v->blocks, bytes = v->bytes;

	if (p < 1) {
		blocks = rounded((double)v->blocks * p);
		bytes = rounded((double)v->bytes * p);
	}
	if (v->bytes && !blocks)
		blocks = 1;
	if (v->bytes && !bytes)
		bytes = 1;
	if (period && !v->bytes)
		blocks = 0;
	*ret_blocks = blocks;
	*ret_bytes = bytes;
}
