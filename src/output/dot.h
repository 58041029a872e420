/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The call graph as a Graphviz file, drawn the way pprof's users know it: a box for each function, its font by what it
 * holds itself, "of" what it holds together with all it called; arrows from callers to callees by weight; dotted where
 * functions in between are left out; a box at the top that says what is shown and what was dropped.
 *
 * Of a difference the numbers have signs: growth is red, shrinkage green, or orange and blue for
 * eyes that cannot tell those apart; what may be chance is dropped.
 */
#ifndef SEEP_OUTPUT_DOT_H
#define SEEP_OUTPUT_DOT_H

#include <stdbool.h>
#include <stddef.h>

#include "analysis/group.h"

struct buf;
struct diff;
struct seep_error;
struct view;

#define DOT_NODECOUNT 80
#define DOT_NODEFRACTION 0.005
#define DOT_EDGEFRACTION 0.001

struct dot_options {
	struct measure measure;
	struct diff *diff; /* v is a view of its joint profile; NULL: of one profile */
	bool normalize;
	bool noise;          /* draw also what may be chance */
	size_t nodecount;    /* at most so many boxes; 0: all */
	double nodefraction; /* of the total: smaller boxes are dropped */
	double edgefraction; /* and smaller arrows */
	bool colorblind;
};

/* Appends to `out`.  Hostile names are escaped. */
struct seep_error *dot_write(const struct view *v, const struct dot_options *o, struct buf *out);

/* Runs Graphviz's `dot -Tsvg`, found on PATH; an error says so when it is not there. */
struct seep_error *dot_to_svg(const struct buf *dot, struct buf *out);

#endif
