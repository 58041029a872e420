/* SPDX-License-Identifier: Apache-2.0 */
/* What the files check_*.c share; nobody else includes it. */
#ifndef SEEP_OUTPUT_CHECK_PRIVATE_H
#define SEEP_OUTPUT_CHECK_PRIVATE_H

#include "analysis/check.h"
#include "analysis/view.h"
#include "output/check_report.h"
#include "output/report_private.h"

struct buf;

/* A check with its stacks as they are shown: report.v is NULL without a ledger. */
struct check_stacks {
	const struct check *c;
	struct view *view;
	struct report report; /* for report_location() and the table of frames */
	struct report_options options;
};

/* e may be NULL.  Release it in any case. */
struct seep_error *check_stacks_init(struct check_stacks *s, const struct check *c,
                                     const struct check_report_options *o, struct emit *e);
void check_stacks_release(struct check_stacks *s);
#define _cleanup_check_stacks_ __attribute__((cleanup(check_stacks_release)))

/* The leaf of a record's stack in s->view; 0: unknown. */
uint32_t check_leaf(const struct check_stacks *s, const struct leak_record *r);
/* How many frames of a stack are shown: all but what lies outside of main. */
size_t check_depth(const struct check_stacks *s, uint32_t leaf);
/* The first frame of the program's own, else the leaf; 0: unknown. */
uint32_t check_culprit(const struct check_stacks *s, uint32_t leaf);

extern const char *const check_class_keys[REACH_NCLASSES];  /* definite, … */
extern const char *const check_class_words[REACH_NCLASSES]; /* definitely lost, … */
extern const char *const check_content_keys[];
const char *check_moment_key(enum check_moment m);

/* "1.00 MiB in 1 block definitely lost, and 3.20 MiB in 400 blocks it holds (a cycle)". */
void check_record_sentence(struct buf *b, const struct leak_record *r);
/* "objects of app::Item, 32 B each"; nothing where there is nothing to say. */
void check_record_what(struct buf *b, const struct leak_record *r);
/* Why there is no stack. */
const char *check_no_stack(const struct check *c, const struct leak_record *r);
bool check_record_shown(const struct leak_record *r, unsigned int classes);
bool check_record_fails(const struct leak_record *r, unsigned int fail_on);
bool check_is_complete(const struct check *c);
const char *check_command(
	const struct check *c); /* the command line, else the program, else "(unnamed)" */

/* check_text.c: the parts of the result that are not records. */
void check_head(struct emit *e, const struct check *c);
void check_summary(struct emit *e, const struct check *c, const struct check_report_options *o);
void check_rules(struct emit *e, const struct check *c, const struct check_report_options *o);
void check_completeness(struct emit *e, const struct check *c);

#endif
