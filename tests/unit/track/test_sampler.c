/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sampler against the mathematics of docs/SAMPLING.md: weights against libm, distances against the
 * exponential distribution, and what a sequence of blocks is sampled with against 1 - exp(-size/period).
 * Seeds are fixed, so the numbers are the same every time; the bounds are what chance allows.
 */
#include "tracker.h"

#include <math.h>

static void weights_equal_libm(void **state)
{
	static const uint64_t periods[] = { 1, 2, 100, 4096, 65536, 524288, 1 << 30, 1ull << 40 };
	uint64_t seed = 7;
	double worst = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(periods) / sizeof(periods[0]); i++) {
		for (unsigned int k = 0; k < 20000; k++) {
			uint64_t size = random_next(&seed) >> (20 + k % 44);
			double x = (double)(size ? size : 1) / (double)periods[i], p;
			double got = sampler_weight(size, periods[i], &p), p_wanted = -expm1(-x);

			assert_true(fabs(got * p - 1) < 1e-14);
			worst = fmax(worst, fabs(got * p_wanted - 1));
			assert_true(p > 0 && p <= 1 && got >= 1);
		}
		/* Around the place where the series takes over. */
		for (double x = 0.9e-3; x < 1.1e-3; x += 1e-6) {
			uint64_t size = (uint64_t)(x * (double)periods[i]);
			double y = (double)(size ? size : 1) / (double)periods[i], p;

			worst = fmax(worst,
			             fabs(sampler_weight(size, periods[i], &p) * -expm1(-y) - 1));
		}
	}
	if (worst > 1e-12)
		fail_msg("relative error of a weight: %g", worst);
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

#define DRAWS 200000u

static void distances_are_exponential(void **state)
{
	static const uint64_t periods[] = { 1000, 524288, 1ull << 34 };
	static double d[DRAWS];

	(void)state;
	for (unsigned int k = 0; k < 9; k++) {
		double period = (double)periods[k % 3], sum = 0, squares = 0, distance = 0;

		opt.seed = 100 + k;
		sampler_seed(t_self);
		for (unsigned int i = 0; i < DRAWS; i++) {
			int64_t v = sampler_draw(t_self, periods[k % 3]);

			assert_true(v >= 0);
			d[i] = (double)v + 0.5; /* whole bytes: the fraction was cut */
			sum += d[i];
			squares += d[i] * d[i];
		}
		/* Mean and standard deviation are both the period; 5 standard errors. */
		assert_true(fabs(sum / DRAWS / period - 1) < 5 / sqrt(DRAWS));
		assert_true(fabs(squares / DRAWS / (2 * period * period) - 1) <
		            5 * sqrt(5.0 / DRAWS));
		/* Kolmogorov and Smirnov: the largest distance between the distribution functions. */
		qsort(d, DRAWS, sizeof(d[0]), compare_doubles);
		for (unsigned int i = 0; i < DRAWS; i++) {
			double f = -expm1(-d[i] / period);

			distance = fmax(distance, fmax(fabs(f - (double)i / DRAWS),
			                               fabs(f - (double)(i + 1) / DRAWS)));
		}
		/* 2.2 / sqrt(n): one in 8,000 by chance, and 0.5/period for the whole bytes. */
		if (distance > 2.2 / sqrt(DRAWS) + 0.5 / period)
			fail_msg("seed %u, period %g: distance %g", 100 + k, period, distance);
	}
}

/* Successive distances have nothing to do with each other: the bytes to the second are Gamma(2). */
static void distances_are_independent(void **state)
{
	double period = 524288, last = 0, product = 0;

	(void)state;
	opt.seed = 42;
	sampler_seed(t_self);
	for (unsigned int i = 0; i < DRAWS; i++) {
		double v = (double)sampler_draw(t_self, 524288) / period - 1;

		product += last * v;
		last = v;
	}
	assert_true(fabs(product / DRAWS) < 5 / sqrt(DRAWS));
}

/* The hooks' arithmetic (hooks.h: of_interest(), hooks.c: got_slow()) over n blocks; how many were sampled. */
static unsigned int sampled(const uint64_t *sizes, unsigned int kinds, unsigned int n,
                            uint64_t period, unsigned int *ret_by_kind)
{
	struct thread *t = t_self;
	unsigned int all = 0;

	t->countdown = sampler_draw(t, period);
	for (unsigned int i = 0; i < n; i++) {
		uint64_t size = sizes[i % kinds];

		if ((t->countdown -= (int64_t)(size + !size)) >= 0)
			continue;
		ret_by_kind[i % kinds]++;
		all++;
		t->countdown = sampler_draw(t, period);
	}
	return all;
}

static void blocks_are_sampled_by_their_size(void **state)
{
	/* Mixed, so that what one size leaves of a distance is another's. */
	static const uint64_t sizes[] = { 0, 1, 16, 100, 1000, 4096, 8192, 30000 };
	const uint64_t period = 4096;
	enum { N = 8 * 200000 };

	(void)state;
	for (unsigned int seed = 1; seed <= 3; seed++) {
		unsigned int by_kind[8] = { 0 };
		double blocks = 0, bytes = 0, true_bytes = 0, variance = 0;

		opt.seed = seed;
		sampler_seed(t_self);
		sampled(sizes, 8, N, period, by_kind);
		for (unsigned int i = 0; i < 8; i++) {
			double p, w = sampler_weight(sizes[i], period, &p), n = N / 8;
			double wanted = -expm1(-(double)(sizes[i] ? sizes[i] : 1) / (double)period);

			/* Binomial; 5 standard errors. */
			assert_true(fabs(by_kind[i] - n * wanted) <=
			            5 * sqrt(n * wanted * (1 - wanted)) + 1e-9);
			blocks += w * by_kind[i];
			bytes += w * by_kind[i] * (double)sizes[i];
			true_bytes += n * (double)sizes[i];
			variance += n * (1 - p) / p * (double)sizes[i] * (double)sizes[i];
		}
		/* And so the estimates are right: unbiased, with the variance the ledger would state. */
		assert_true(fabs(bytes - true_bytes) < 5 * sqrt(variance));
		assert_true(fabs(blocks / N - 1) < 0.05);
	}
}

static void a_seed_gives_the_same_distances(void **state)
{
	int64_t first[100];
	unsigned int same = 0;

	(void)state;
	opt.seed = 5;
	sampler_seed(t_self);
	for (unsigned int i = 0; i < 100; i++)
		first[i] = sampler_draw(t_self, 524288);
	sampler_seed(t_self);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(sampler_draw(t_self, 524288), first[i]);
	opt.seed = 6;
	sampler_seed(t_self);
	for (unsigned int i = 0; i < 100; i++)
		same += sampler_draw(t_self, 524288) == first[i];
	assert_true(same < 3);
	/* Threads of one process differ. */
	opt.seed = 5;
	t_self->index++;
	sampler_seed(t_self);
	t_self->index--;
	for (unsigned int i = 0, k = 0; i < 100; i++) {
		k += sampler_draw(t_self, 524288) == first[i];
		assert_true(k < 3);
	}
}

static void extreme_periods_stay_in_range(void **state)
{
	(void)state;
	opt.seed = 1;
	sampler_seed(t_self);
	for (unsigned int i = 0; i < 100000; i++) {
		int64_t v = sampler_draw(t_self, UINT64_MAX);

		assert_true(v >= 0 && v <= 4000000000000000000);
		assert_true(sampler_draw(t_self, 1) >= 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights_equal_libm),
		cmocka_unit_test(distances_are_exponential),
		cmocka_unit_test(distances_are_independent),
		cmocka_unit_test(blocks_are_sampled_by_their_size),
		cmocka_unit_test(a_seed_gives_the_same_distances),
		cmocka_unit_test(extreme_periods_stay_in_range),
	};

	return cmocka_run_group_tests(tests, tracker_setup, tracker_teardown);
}
