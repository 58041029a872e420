/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a sampled value may be from the truth: 95 % confidence intervals.
 *
 * The estimate itself (value and variance) comes with the profile; this turns it
 * into an interval that covers the truth in 93 to 97 % of all runs, also for
 * sites with only a few samples, where the usual "± two standard errors" covers
 * 80 to 90 %.  docs/SAMPLING.md has the mathematics, the measurements and the
 * limits: bytes from about three expected samples on; blocks from three expected
 * samples on of the sizes that most of the blocks are of, which is the same where a
 * site's blocks have one size.  Blocks of mixed sizes need v->max_weight; without it
 * (0) the interval is the one for a single size and too narrow for mixed ones.
 *
 * `samples` is the number of records behind the value, `period` the sampling
 * period in bytes (0: every block is recorded).  An exact value gives the
 * interval [value, value].  Without a single sample the value is 0 and the
 * interval reaches up to what such silence still allows.
 */
#ifndef SEEP_PROFILE_ESTIMATE_H
#define SEEP_PROFILE_ESTIMATE_H

#include <stdint.h>

struct prof_value;

struct prof_interval {
	uint64_t low, high;
};

struct prof_interval prof_interval_bytes(const struct prof_value *v, uint64_t samples,
                                         uint64_t period);
struct prof_interval prof_interval_blocks(const struct prof_value *v, uint64_t samples,
                                          uint64_t period);

/* The number of records behind v, worked out from its variance where nobody counted them. */
uint64_t prof_effective_samples(const struct prof_value *v);

/* The larger distance from `value` to an end: what is printed after "±". */
uint64_t prof_interval_margin(const struct prof_interval *i, uint64_t value);

/* What a sampled block of `size` bytes adds; the reader of a ledger sums these over live records. */
double prof_weight(uint64_t size, uint64_t period);          /* 1 / p: blocks it stands for */
double prof_weight_variance(uint64_t size, uint64_t period); /* (1 - p) / p²; times size² for bytes */

#endif
