/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report as one file that a browser opens and nobody has to install anything for: summary with what is not in the numbers,
 * the course over time, the flame graph, the call graph, and tables to sort, filter and unfold.
 *
 * It needs no network and no other file, and every name in it is text.  Its size is bounded whatever the profile's is: the
 * largest HTML_REPORT_ROWS of every table, and of the flame graph the largest HTML_REPORT_BOXES boxes; smaller ones
 * are folded into their callers.  The page says what it left out.
 */
#ifndef SEEP_OUTPUT_HTML_REPORT_H
#define SEEP_OUTPUT_HTML_REPORT_H

#include <stdbool.h>

#include "analysis/group.h"

struct buf;
struct diff;
struct seep_error;
struct view;

#define HTML_REPORT_ROWS 1000
#define HTML_REPORT_BOXES 20000

struct html_report_options {
	struct measure measure;
	struct diff *diff; /* v is a view of its joint profile; NULL: of one profile */
	bool normalize, noise, colorblind;
	const char *const *warnings; /* the symbolizer's, NULL-terminated; NULL none */
};

/* Appends to `out`. */
struct seep_error *html_report(const struct view *v, const struct html_report_options *o,
                               struct buf *out);

#endif
