/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a process cannot be looked at, in words: what is in the way, what to do, what still works.
 */
#ifndef SEEP_PROC_REFUSAL_H
#define SEEP_PROC_REFUSAL_H

#include <stdbool.h>
#include <sys/types.h>

struct seep_error;

/*
 * What can be known before touching the process; NULL: nothing is in the way.  Another seep that traces it lets go
 * within moments and is waited for, at most three seconds.
 */
struct seep_error *refusal_check(pid_t pid) __attribute__((warn_unused_result));
/* After tracing failed with an errno, with this thread (0: unknown). */
struct seep_error *refusal_explain(pid_t pid, int code, pid_t tid)
	__attribute__((warn_unused_result));
/* Whether trying again may help: what refused is, or was, another tracer that does not stay. */
bool refusal_may_pass(pid_t pid, int code);

#endif
