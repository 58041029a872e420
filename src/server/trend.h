/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The course of one value over time, in a word: does it grow without an end, fill up like a cache, stay, jump?
 *
 * The word is for people who have looked at thousands of courses and want to see the ten that matter first; it comes with a sentence that
 * says from which numbers it was concluded, so that they can disagree.
 */
#ifndef SEEP_SERVER_TREND_H
#define SEEP_SERVER_TREND_H

#include <stddef.h>
#include <stdint.h>

struct buf;

enum trend {
	TREND_UNKNOWN, /* fewer than TREND_LEAST readings */
	TREND_GROWING, /* goes up, and does not slow down */
	TREND_SLOWING, /* grows less and less */
	TREND_STEADY,
	TREND_SHRINKING,
	TREND_JUMPY, /* up and down without a direction */
	TREND_NEW,   /* nothing in the first half */
	TREND_NKINDS
};

#define TREND_LEAST 4
#define TREND_SMALL 0.02 /* of the largest: less than this is no change */

struct trend_result {
	enum trend trend;
	double rate; /* bytes a second, least squares over all readings; NaN: fewer than two */
	double recent_rate;     /* of the second half */
	size_t steps, up, down; /* from one reading to the next; what is no change is neither */
	int64_t change;         /* from the first to the last */
	int64_t elapsed_ms;
};

/* times_ms ascending. */
struct trend_result trend_of(const int64_t *times_ms, const uint64_t *values, size_t n);

const char *trend_word(enum trend t); /* "growing" */

/* "grew in 9 of 9 steps, by 24.0 MiB in 9m"; appended. */
void trend_evidence(const struct trend_result *r, struct buf *out);

#endif
