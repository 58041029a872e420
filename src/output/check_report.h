/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The result of a leak check for people (as memcheck's users know it: heap summary, leak
 * records, leak summary), and for machines: JSON (docs/CHECK-JSON.md), JUnit XML, SARIF 2.1.0.
 */
#ifndef SEEP_OUTPUT_CHECK_REPORT_H
#define SEEP_OUTPUT_CHECK_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct check;
struct emit;
struct seep_error;

#define CHECK_JSON_VERSION 1

struct check_report_options {
	unsigned int show_kinds; /* set of 1u << enum reach_class whose records are shown */
	unsigned int fail_on;    /* set of classes that make the check fail */
	bool summary_only;       /* --leak-check=summary */
	bool lsan_preset;        /* no possible class: such blocks count as reachable */
	size_t top;              /* records shown in text; 0: all */
	size_t depth;            /* frames of a stack in text; 0: all */
	bool full_paths;
	bool rules; /* list used and unused suppression rules */
	const char *cwd;
};

struct seep_error *check_report_emit(struct emit *e, const struct check *c,
                                     const struct check_report_options *o);
/* Several results (children of a run) in one file. */
struct seep_error *check_junit(struct buf *out, const struct check *const *checks, size_t n,
                               const struct check_report_options *o);
struct seep_error *check_sarif(struct buf *out, const struct check *const *checks, size_t n,
                               const struct check_report_options *o);

/* Records that make the check fail: of the classes in fail_on, not in the baseline. */
struct check_failures {
	uint64_t records, blocks, bytes;
};
struct check_failures check_failures(const struct check *c, unsigned int fail_on);

#endif
