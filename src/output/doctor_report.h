/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the doctor found, as text (verdicts first, then the split, then who and where) and as JSON
 * (docs/DOCTOR-JSON.md).
 */
#ifndef SEEP_OUTPUT_DOCTOR_REPORT_H
#define SEEP_OUTPUT_DOCTOR_REPORT_H

#include <stdbool.h>
#include <stddef.h>

struct doctor;
struct emit;
struct seep_error;

#define DOCTOR_JSON_VERSION 1

struct doctor_report_options {
	bool all; /* every verdict in full, every arena, part and mapping; text only */
};

/* d: judged.  before: the earlier look of a window, or NULL. */
struct seep_error *doctor_report_emit(struct emit *e, const struct doctor *d,
                                      const struct doctor *before,
                                      const struct doctor_report_options *o);

#endif
