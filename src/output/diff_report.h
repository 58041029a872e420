/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report of a difference, as text and as JSON (docs/DIFF-JSON.md): what the sides are, how the totals changed,
 * then what grew, appeared, shrank and vanished, by site, function, module, thread or kind.  Of a series of more than two
 * profiles every entry has its course over time too.
 *
 * Of sampled profiles what may be chance alone is left out, and counted, unless `noise` is set.
 */
#ifndef SEEP_OUTPUT_DIFF_REPORT_H
#define SEEP_OUTPUT_DIFF_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/diff.h"

struct emit;
struct seep_error;
struct view;

#define DIFF_JSON_VERSION 1

struct diff_report_options {
	struct measure measure;
	enum group_by by; /* by thread: MEASURE_INUSE only */
	enum diff_order order;
	bool normalize;     /* compare shares: the first side is scaled to the total of the last */
	bool noise;         /* show what may be chance too */
	size_t top;         /* 0: all */
	uint64_t min_value; /* leave out smaller changes, up or down, in the measure's unit */
	double min_ratio;   /* and smaller shares of all that changed, 0..1 */
	size_t depth;       /* frames of a stack in text; 0: all */
	bool full_paths;
	uint64_t since_ns; /* how much older the first side was to be at least; 0: not asked for */
	uint64_t since_age_ns;       /* how much older it is */
	const char *cwd;             /* as in report.h */
	const char *const *warnings; /* NULL-terminated; NULL none */
};

/* `v` is a view of d->joint. */
struct seep_error *diff_report_emit(struct emit *e, struct diff *d, const struct view *v,
                                    const struct diff_report_options *o);

#endif
