/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A profile's course over time: what was in use (an area), what was resident where that is known (a line), the peak, and
 * what happened meanwhile (marks).  As lines of text, and as an SVG.
 *
 *   struct timeline      the course as so many columns of equal time, each with its highest value, and axes that
 *                        begin at 0 and end at a round number
 *   timeline_text()      a graph for a terminal, of blocks or of ASCII; needs no colour to be read
 *   timeline_svg()       a picture, light and dark, that says in words what it shows
 */
#ifndef SEEP_OUTPUT_TIMELINE_H
#define SEEP_OUTPUT_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "profile/profile.h"

struct buf;
struct seep_error;

/* How an event is called in JSON and in text, and the letter of its mark. */
struct timeline_event_name {
	const char *key, *words;
	char letter;
};
extern const struct timeline_event_name timeline_event_names[PROF_EVENT_NKINDS];

/* ---- the model ----------------------------------------------------------------- */

#define TIMELINE_UNKNOWN UINT64_MAX

struct timeline {
	const struct profile *p;
	uint64_t end;             /* ns; the axis is 0..end */
	size_t n;                 /* columns; 0: nothing happened that could be drawn */
	uint64_t *inuse;          /* the highest of each column */
	uint64_t *rss;            /* likewise, or TIMELINE_UNKNOWN */
	uint64_t peak, peak_time; /* of what is in use */
	uint64_t last;            /* in use at the end */
	uint64_t highest_rss;     /* TIMELINE_UNKNOWN: of no moment known */
	uint64_t top, step;       /* bytes: end of the axis, distance of its ticks */
	uint64_t time_step;       /* ns */
};

/* Below the graph fit so many labels, beside it `byte_ticks`. */
struct seep_error *timeline_make(const struct profile *p, size_t columns, size_t ticks,
                                 size_t byte_ticks, struct timeline *ret_timeline);
void timeline_release(struct timeline *t);
#define _cleanup_timeline_ __attribute__((cleanup(timeline_release)))

/* Which column a moment lies in. */
size_t timeline_column(const struct timeline *t, uint64_t time);
/* A tick's label: all of one axis have the same unit. */
void timeline_tick(struct buf *b, const struct timeline *t, uint64_t time);

/* ---- pictures ------------------------------------------------------------------- */

struct timeline_text_options {
	unsigned int width, height; /* of everything but the legend; height 0: fit the width */
	bool ascii;
	size_t marks; /* events told below the graph; 0: all */
};

/* Lines, each with its newline; nothing when there is no course to be seen. */
struct seep_error *timeline_text(const struct profile *p, const struct timeline_text_options *o,
                                 struct buf *out);

struct timeline_svg_options {
	bool part;   /* of a page: no XML declaration, no name, no background */
	bool narrow; /* 640 wide instead of 1200 */
	uint64_t before; /* ns: a line there, where the earlier side of a difference was taken; 0: none */
};

/* An SVG document; an error when there is no course to be seen. */
struct seep_error *timeline_svg(const struct profile *p, const struct timeline_svg_options *o,
                                struct buf *out);

#endif
