/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ledger says of pieces of memory for leak checks (wire/ledger.h: struct ledger_mark),
 * with what was taken back taken out.
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

struct seep_error *ledger_marks_read(const char *path, struct ledger_marks *ret_marks);
void ledger_marks_release(struct ledger_marks *m);

#endif
