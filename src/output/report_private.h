/* SPDX-License-Identifier: Apache-2.0 */
/* What the files report*.c share; nobody else includes it. */
#ifndef SEEP_OUTPUT_REPORT_PRIVATE_H
#define SEEP_OUTPUT_REPORT_PRIVATE_H

#include "analysis/view.h"
#include "output/emit.h"
#include "output/report.h"
#include "profile/profile.h"

struct report {
	struct emit *e;
	const struct view *v;
	const struct profile *p;
	const struct report_options *o;
	uint64_t min; /* of both minimums, in the measure's unit */
};

/* How the four values are called: key in JSON, words in text. */
struct value_name {
	const char *key, *words;
};
extern const struct value_name value_names[MEASURE_NVALUES];

/* A sum's value as bytes or blocks, with its interval when the profile is sampled. */
struct emit_value report_value(const struct profile *p, const struct group_sum *s,
                               enum measure_value m, bool blocks);
struct emit_value report_measure(const struct report *r, const struct group_sum *s);
double report_share(uint64_t part, uint64_t whole);

/* Text of a location; the strings stay valid until the next call with the same `text`. */
struct location_text {
	char function[512];
	char where[512];
};
void report_location(const struct report *r, uint32_t location, struct location_text *text);

void report_head(const struct report *r);
void report_groups(const struct report *r, const struct groups *g);
void report_tree(const struct report *r, const struct tree *t);
void report_balance(const struct report *r);
void report_lifetimes(const struct report *r);
void report_timeline(const struct report *r);
void report_notes(const struct report *r);

#endif
