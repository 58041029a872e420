/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that a user will read.
 *
 * A function that can fail for a reason the user must know returns
 * `struct seep_error *`: NULL is success, anything else is owned by the caller
 * and is released with seep_error_free() (or by `_cleanup_error_`).  An error
 * carries an errno value (0 when no system call failed) and a message that says
 * what failed and on what; callers add context from the outside in:
 *
 *     err = ledger_open(path, &l);
 *     if (err)
 *         return seep_error_wrap(err, "cannot report on %s", path);
 *
 * When memory for an error cannot be had, the static seep_error_nomem is
 * returned; it may be freed like any other.  Library code never prints: only
 * cmd_*.c shows errors to people.
 */
#ifndef SEEP_BASE_ERROR_H
#define SEEP_BASE_ERROR_H

#include <stdarg.h>

struct seep_error {
	int code;      /* an errno value, or 0 */
	char *message; /* what failed, on what; no newline at the end */
	char *hint;    /* what to do next, or NULL */
};

extern struct seep_error seep_error_nomem;

/* A new error; `code` is an errno value or 0.  strerror(code) is appended when code != 0. */
struct seep_error *seep_error_new(int code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), warn_unused_result));

/* Puts "context: " in front of err's message.  Takes err over, returns the error to use. */
struct seep_error *seep_error_wrap(struct seep_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), warn_unused_result));

/* Sets what the user can do next (replaces an earlier hint).  Returns err. */
struct seep_error *seep_error_hint(struct seep_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Gives err a code without its text, when the message says more than strerror() would.  Returns err. */
struct seep_error *seep_error_set_code(struct seep_error *err, int code);

void seep_error_free(struct seep_error *err); /* NULL is fine */

static inline void seep_error_freep(struct seep_error **err)
{
	seep_error_free(*err);
}
#define _cleanup_error_ __attribute__((cleanup(seep_error_freep)))

#endif
