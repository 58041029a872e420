/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report of a profile, for a person who looks for the line that holds the
 * memory, and the same as JSON (docs/REPORT-JSON.md): head and totals, what was
 * asked for (sites, functions, …, or a tree), the balance of allocated against
 * freed by size, lifetimes, the course over time, and what is not in the numbers.
 */
#ifndef SEEP_OUTPUT_REPORT_H
#define SEEP_OUTPUT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/group.h"
#include "analysis/tree.h"

struct emit;
struct seep_error;
struct view;

#define REPORT_JSON_VERSION 1

struct report_options {
	struct measure measure;
	enum group_by by;
	enum group_order order;
	bool tree; /* instead of groups */
	enum tree_direction direction;
	size_t top;         /* groups, or children of a tree node; 0: all */
	uint64_t min_value; /* leave out what is smaller, in the measure's unit */
	double min_ratio;   /* and what is a smaller share of all, 0..1 */
	size_t depth;       /* frames of a stack in text; 0: all */
	bool groups_only;   /* JSON without head, histograms, course and notes */
	bool timeline;      /* instead of groups, in text: the course over time, large */
	bool ascii;         /* and its graph without block characters */
	size_t height;      /* rows of it; 0: by the width */
	bool hist;          /* fine-grained size and lifetime histograms, whatever else is shown */
	bool full_paths;
	const char *cwd;             /* file names below it are shown relative to it; NULL none */
	const char *const *warnings; /* the symbolizer's, NULL-terminated; NULL none */
};

struct seep_error *report_emit(struct emit *e, const struct view *v, const struct report_options *o);

#endif
