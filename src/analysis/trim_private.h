/* SPDX-License-Identifier: Apache-2.0 */
/* What trim.c and trim_release.c share. */
#ifndef SEEP_ANALYSIS_TRIM_PRIVATE_H
#define SEEP_ANALYSIS_TRIM_PRIVATE_H

#include "analysis/trim.h"

struct trim_range {
	uint64_t start, len;
};

void trim_note(struct trim *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct trim_part *trim_add_part(struct trim *t); /* NULL: out of memory */
bool trim_wanted(const struct trim_options *o, const char *allocator);

/* trim_release.c: the allocators that have a call for it. */
struct seep_error *trim_released(struct trim *t, const struct trim_options *o);
/* Nobody was found to ask: an error that says what there is instead. */
struct seep_error *trim_nobody(const struct trim *t, const struct trim_options *o);

#endif
