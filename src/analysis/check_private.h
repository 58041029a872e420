/* SPDX-License-Identifier: Apache-2.0 */
/* What check.c and check_why.c share: everything a check needs before it marks. */
#ifndef SEEP_ANALYSIS_CHECK_PRIVATE_H
#define SEEP_ANALYSIS_CHECK_PRIVATE_H

#include "analysis/blocks.h"
#include "analysis/check.h"
#include "analysis/roots.h"
#include "capture/marks.h"

struct check_input {
	struct image *img;
	struct heap *heap;
	struct profile *profile; /* NULL without a ledger */
	struct blocks_result met;
	struct ledger_marks marks;
	struct roots roots;
	uint64_t ns_walk, ns_ledger;
};

struct seep_error *check_input_make(struct image *img, const struct check_options *opts,
                                    struct check_input *ret_input);
void check_input_release(struct check_input *in);

/* Names for all frames of the profile; *ret_warnings (may be NULL) gets a NULL-terminated copy. */
struct seep_error *check_symbolize(const struct image *img, const struct check_options *opts,
                                   struct profile *p, char ***ret_warnings);

uint64_t check_now_ns(void);

#endif
