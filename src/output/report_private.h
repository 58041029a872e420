/* SPDX-License-Identifier: Apache-2.0 */
/* What the files report*.c share; nobody else includes it. */
#ifndef SEEP_OUTPUT_REPORT_PRIVATE_H
#define SEEP_OUTPUT_REPORT_PRIVATE_H

#include "analysis/group.h"
#include "analysis/view.h"
#include "output/emit.h"
#include "output/report.h"
#include "profile/profile.h"

struct report {
	struct emit *e;
	const struct view *v;
	const struct profile *p;
	const struct report_options *o;
	struct group_sum kinds[PROF_NKINDS]; /* all sites, whatever the view shows */
	uint64_t min;                        /* of both minimums, in the measure's unit */
	struct frame_table *frames;          /* JSON: report_frames.c */
};

/* What a kind is called in JSON and by --kind, and in text. */
struct kind_name {
	const char *key, *words;
};
extern const struct kind_name kind_names[PROF_NKINDS];

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

/*
 * JSON says every frame once: a table, and stacks that are lists of places in it.  First all frames
 * to be shown are taken in, then the table is written, then its numbers may be asked for.
 */
struct frame_table {
	uint32_t *number;   /* by location; UINT32_MAX: not shown */
	uint32_t *location; /* by number */
	uint32_t n;
};
struct seep_error *frames_init(struct frame_table *f, const struct view *v);
void frames_release(struct frame_table *f);
#define _cleanup_frames_ __attribute__((cleanup(frames_release)))
void frames_take(struct frame_table *f, uint32_t location); /* UINT32_MAX: nothing */
void report_frames(const struct report *r);
struct emit_value report_frame(const struct report *r, uint32_t location); /* its number */

/* The stack that ends at node `leaf`: in text a table of frames, in JSON numbers, and which one to look at. */
void report_stack(const struct report *r, uint32_t leaf);

void report_head(const struct report *r);
struct seep_error *report_groups(struct report *r, const struct groups *g);
struct seep_error *report_tree(struct report *r, const struct tree *t);
void report_balance(const struct report *r);
void report_lifetimes(const struct report *r);
void report_timeline(const struct report *r);
struct seep_error *report_timeline_graph(const struct report *r); /* the large one; text only */
void report_notes(const struct report *r);

#endif
