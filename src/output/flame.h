/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flame and icicle graphs: who called what, as wide as what it holds.
 *
 * flame_html() makes one page that needs nothing else (no network, no files): zoom, search, tooltips, keyboard, light and
 * dark, a palette for colour-blind eyes; a difference can be looked at by change, before and after.
 * flame_svg() makes a picture that stands still, for documents.
 *
 * Frames are functions: the lines of one function that were called from one place are one box, which is named by the
 * heaviest of them.  Hostile names are escaped.
 */
#ifndef SEEP_OUTPUT_FLAME_H
#define SEEP_OUTPUT_FLAME_H

#include <stdbool.h>
#include <stddef.h>

#include "analysis/group.h"

struct buf;
struct diff;
struct seep_error;
struct view;

struct flame_options {
	struct measure measure;
	struct diff *diff; /* v is a view of its joint profile; NULL: of one profile */
	bool normalize;
	bool colorblind; /* the page can switch it */
	size_t most;     /* boxes; what is smaller is folded into its caller; 0: all */
};

/* Both append to `out`. */
struct seep_error *flame_html(const struct view *v, const struct flame_options *o, struct buf *out);
struct seep_error *flame_svg(const struct view *v, const struct flame_options *o, struct buf *out);

#endif
