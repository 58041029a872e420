/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as people read them; every function appends to a buffer. */
#ifndef SEEP_BASE_UNITS_H
#define SEEP_BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

struct buf;

void unit_bytes(struct buf *b, uint64_t bytes); /* 0 B, 512 B, 1.25 KiB, 24.0 MiB, 317 GiB */
void unit_count(struct buf *b, uint64_t n);     /* 1,234,567 */
void unit_ratio(struct buf *b, double ratio);   /* 0.479 → 47.9 % */
void unit_duration(struct buf *b, uint64_t ns); /* 850 ms, 12.3 s, 4 min 10 s, 3 h 12 min, 2 d 4 h */
void unit_time(struct buf *b, uint64_t epoch_ns); /* 2026-01-31 12:00:00 UTC */

/* Columns a UTF-8 string takes on a terminal (every code point counts as one). */
size_t text_columns(const char *s);

/*
 * The string made safe to show: control characters (a name in a target may carry escape
 * sequences) and bytes that are no UTF-8 become U+FFFD.
 */
void text_clean(struct buf *b, const char *s);

/* Appends s, cut to `columns` with an ellipsis at its end, or at its start to keep a path's file name. */
void text_cut(struct buf *b, const char *s, size_t columns, int keep_end);

/* Length of the valid UTF-8 sequence at s, 0 if there is none (NUL, or a byte that cannot stand here). */
size_t utf8_length(const char *s);

#endif
