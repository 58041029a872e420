/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a trim found and did, for people and as JSON (docs/TRIM-JSON.md).
 */
#ifndef SEEP_OUTPUT_TRIM_REPORT_H
#define SEEP_OUTPUT_TRIM_REPORT_H

#include <stdbool.h>
#include <stdint.h>

struct emit;
struct trim;
struct trim_memory;

#define TRIM_JSON_VERSION 1

/* A look some time later. */
struct trim_later {
	uint64_t after_ns;
	uint64_t back;                    /* of what was returned: bytes in memory again */
	const struct trim_memory *memory; /* then */
};

/* later: NULL: none was taken.  error: what did not work (NULL: everything did); the rest shows what was found. */
void trim_report(const struct trim *t, bool dry_run, const struct trim_later *later,
                 const char *error, struct emit *e);
/* One line for a round of --every. */
void trim_report_round(const struct trim *t, uint64_t round, struct emit *e);

#endif
