/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ledger says of pieces of memory for leak checks (wire/ledger.h: struct ledger_mark),
 * with what was taken back taken out.
 *
 * The lists do not depend on the ledger being honest: they are sorted, ranges are not empty and do not
 * wrap around.  Ranges of regions and of tracker are disjoint; those of stacks are as recorded.
 */
#ifndef SEEP_CAPTURE_MARKS_H
#define SEEP_CAPTURE_MARKS_H

#include <stddef.h>
#include <stdint.h>

struct seep_error;

struct marks_range {
	uint64_t start, end;
};

struct ledger_marks {
	uint64_t *ignored; /* addresses inside blocks, ascending */
	size_t nignored;
	struct marks_range *regions; /* root regions, ascending */
	size_t nregions;
	struct marks_range *tracker; /* the tracker's own memory, ascending */
	size_t ntracker;
	struct marks_range *stacks; /* thread stacks the ledger knows as live blocks, ascending */
	size_t nstacks;
};

/*
 * A ledger without marks (of an earlier build) gives empty lists, but its stacks.  On success release with
 * ledger_marks_release(); with an error *ret_marks is left alone.
 */
struct seep_error *ledger_marks_read(const char *path, struct ledger_marks *ret_marks);
void ledger_marks_release(struct ledger_marks *m);

#endif
