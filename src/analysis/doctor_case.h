/* SPDX-License-Identifier: Apache-2.0 */
/* What the doctor's rules look at, and how they say what they found (private to doctor_*.c). */
#ifndef SEEP_ANALYSIS_DOCTOR_CASE_H
#define SEEP_ANALYSIS_DOCTOR_CASE_H

#include "analysis/doctor_private.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)

/* Bytes, facts, and what they grew by since the look before (0: there was none, or it is not known). */
uint64_t case_bytes(const struct doctor_case *j, enum doctor_class c);
int64_t case_growth(const struct doctor_case *j, enum doctor_class c);
uint64_t case_fact(const struct doctor_case *j, enum doctor_fact f);
int64_t case_fact_growth(const struct doctor_case *j, enum doctor_fact f);
bool case_explains(const struct doctor_case *j, int64_t growth); /* half of all growth */

uint64_t case_part(uint64_t bytes, uint64_t percent);
double case_ratio(uint64_t a, uint64_t b);

/*
 * fmt: "%B" is bytes, "%C" a count (uint64_t), "%D" a change (int64_t), "%P" a share (double), "%d" an int, "%s" a string.
 * command: NULL, or what to type, with the process for PID.
 */
void say_title(struct doctor_case *j, struct doctor_verdict *v, const char *fmt, ...);
void say_evidence(struct doctor_case *j, struct doctor_verdict *v, const char *fmt, ...);
void say_remedy(struct doctor_case *j, struct doctor_verdict *v, const char *command,
                const char *text);
/* What of the resident memory, and of its growth, the verdict explains. */
void say_claim(struct doctor_case *j, struct doctor_verdict *v, uint64_t bytes, int64_t growth);
/* How sure it is: by how far a threshold was passed, less after a walk that met damage. */
void say_trust(struct doctor_case *j, struct doctor_verdict *v, uint64_t value, uint64_t threshold);

/* doctor_rules_others.c */
bool rule_jemalloc_dirty(struct doctor_case *j, struct doctor_verdict *v);
bool rule_jemalloc_internal(struct doctor_case *j, struct doctor_verdict *v);
bool rule_tcmalloc_free(struct doctor_case *j, struct doctor_verdict *v);
bool rule_tcmalloc_caches(struct doctor_case *j, struct doctor_verdict *v);
bool rule_mimalloc(struct doctor_case *j, struct doctor_verdict *v);

#endif
