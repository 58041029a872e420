/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Poisson sampling in bytes: docs/SAMPLING.md.
 *
 * A sample point falls on every byte with probability 1/period, independently.  A block is
 * recorded when at least one falls on it, so with p = 1 - exp(-size/period), and stands for 1/p
 * blocks.  Between points lie exponential distances; since they have no memory, a new one may
 * be drawn at the end of every sampled block.
 *
 * exp and log are here because libseep.so links nothing but libc; they run once for
 * every sample, not for every event, and are good to 1e-15.
 */
#include "track/hash.h"
#include "track/track.h"

#define LN2 0.693147180559945309417

static double pow2(int k)
{
	union {
		uint64_t u;
		double d;
	} v = { .u = (uint64_t)(k + 1023) << 52 };

	return v.d;
}

/* exp(-x) for x >= 0 */
static double exp_minus(double x)
{
	int k = (int)(x / LN2 + 0.5);
	double r, term = 1, sum = 1;

	if (x > 700)
		return 0;
	r = k * LN2 - x; /* in [-ln2/2, ln2/2] */
	for (int i = 1; i < 18; i++) {
		term *= r / i;
		sum += term;
	}
	return sum * pow2(-k);
}

/* log(u) for 0 < u <= 1 */
static double log_unit(double u)
{
	union {
		double d;
		uint64_t u;
	} v = { .d = u };
	int e = (int)(v.u >> 52) - 1023;
	double m, s, s2, term, sum = 0;

	v.u = (v.u & 0xfffffffffffffull) | 1023ull << 52;
	m = v.d;
	if (m > 1.41421356237309504880) {
		m /= 2;
		e++;
	}
	s = (m - 1) / (m + 1);
	s2 = s * s;
	term = s;
	for (int i = 1; i < 26; i += 2) {
		sum += term / i;
		term *= s2;
	}
	return e * LN2 + 2 * sum;
}

double sampler_weight(uint64_t size, uint64_t period, double *ret_probability)
{
	double x = (double)(size ? size : 1) / (double)period, p;

	/* For small x, 1 - exp(-x) loses digits; the series does not. */
	p = x < 1e-3 ? x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4))) : 1 - exp_minus(x);
	*ret_probability = p;
	return 1 / p;
}

void sampler_seed(struct thread *t)
{
	uint64_t seed = opt.seed;

	if (!seed)
		seed = g.hdr->start_real_ns ^ (uint64_t)g.pid << 32 ^ (uint64_t)t;
	t->rng = hash_two(seed, t->index);
}

int64_t sampler_draw(struct thread *t, uint64_t period)
{
	double u, d;

	t->rng += 0x9e3779b97f4a7c15ull;
	u = (double)((hash_mix(t->rng) >> 11) + 1) * 0x1p-53; /* (0, 1] */
	d = -log_unit(u) * (double)period;
	return d < 4e18 ? (int64_t)d : (int64_t)4e18;
}
