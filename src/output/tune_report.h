/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters of a process's allocators, for people and as JSON (docs/TRIM-JSON.md).
 */
#ifndef SEEP_OUTPUT_TUNE_REPORT_H
#define SEEP_OUTPUT_TUNE_REPORT_H

struct emit;
struct tune;

#define TUNE_JSON_VERSION 1

void tune_report(const struct tune *t, struct emit *e);

#endif
