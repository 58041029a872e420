/* SPDX-License-Identifier: Apache-2.0 */
/* What the pictures (dot*.c, flame*.c) share: one weight with or without a sign, names and colours. */
#ifndef SEEP_OUTPUT_PICTURE_H
#define SEEP_OUTPUT_PICTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "analysis/diff.h"

struct buf;
struct view;

/* What a picture is of. */
struct picture {
	const struct view *v;
	struct diff *diff; /* NULL: of one profile */
	struct measure measure;
	struct node_pairs pairs;
	double total; /* all weights without their signs: what 100 % is */
};

struct seep_error *picture_init(struct picture *p, const struct view *v, struct diff *d,
                                struct measure m, bool normalize);
void picture_release(struct picture *p);
#define _cleanup_picture_ __attribute__((cleanup(picture_release)))

/* The weight of a sum: a value, or of a difference a change. */
struct diff_change picture_weight(const struct picture *p, const struct node_pair *sum);
/* The same without its interval, which is quicker. */
int64_t picture_value(const struct picture *p, const struct node_pair *sum);
bool picture_pair_empty(const struct node_pair *sum);
void picture_pair_add(struct node_pair *to, const struct node_pair *pair);

void picture_amount(struct buf *b, const struct picture *p,
                    int64_t v); /* +24.0 MiB; no + without a diff */
void picture_what(struct buf *b,
                  const struct picture *p); /* "in use, bytes", "in use, change in bytes" */

struct picture_rgb {
	uint8_t r, g, b;
};
/* score -1..1: how much of all it is, and which way; as pprof's boxes. */
struct picture_rgb picture_color(double score, bool background, bool colorblind);

#endif
