/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep as a child process, with bounds: what it may take of time, what it may say.  A crash, a hang or an answer without end is an
 * error of that one call.  It is told to stop with SIGTERM first, so that it can leave its target as it found it.
 */
#ifndef SEEP_SERVER_CHILD_H
#define SEEP_SERVER_CHILD_H

#include "base/buf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct seep_error;

#define CHILD_ARGS 24

struct child {
	const char *program;
	const char *args[CHILD_ARGS]; /* after the program's name; ends with NULL */
	uint64_t timeout_ms;
	size_t most_out;           /* bytes of standard output */
	int inherit;               /* a descriptor that the child gets as 3; -1 none */
	const atomic_bool *cancel; /* NULL: cannot be */
	void (*line)(void *arg, const char *text); /* for each line of standard error; NULL none */
	void *arg;
};

struct child_result {
	int status;          /* exit status; 128 + signal when one ended it */
	struct buf out, err; /* err: its end, at most 16 KiB */
};

void child_result_release(struct child_result *r);
#define _cleanup_child_ __attribute__((cleanup(child_result_release)))

/* An error when it could not be run, took too long (ETIMEDOUT), was cancelled (ECANCELED) or said too much (EFBIG). */
struct seep_error *child_run(const struct child *c, struct child_result *ret);

/*
 * What a child that failed said, as an error: "seep check: MESSAGE" and a hint on a line of its own.  Its code is guessed from
 * the words where a route needs one (EACCES, ESRCH).
 */
struct seep_error *child_error(const struct child *c, const struct child_result *r);

#endif
