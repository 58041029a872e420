/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control word of a ledger: switching a tracker on and off and changing what it samples while
 * its program runs.
 *
 * This is the only thing anybody but the tracker writes into a ledger.  It is written with pwrite(), never
 * through a mapping: a file that its owner truncates meanwhile is then an error and no SIGBUS, and not a byte
 * but the few of the control word can be touched.
 */
#ifndef SEEP_CAPTURE_CONTROL_H
#define SEEP_CAPTURE_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct seep_error;

struct control {
	pid_t pid;
	bool running; /* the program that writes this ledger still does */
	bool active;
	uint64_t period; /* bytes; 0: every block */
	uint32_t generation, taken;
	uint64_t threads, threads_taken; /* that live; of those, which go by this generation */
};

/* What the ledger says now. */
struct seep_error *control_read(const char *path, struct control *ret_control);

struct control_change {
	bool set_active, active;
	bool set_period;
	uint64_t period; /* bytes; 0 or 1: every block */
};

/*
 * Changes it.  Only in a ledger of a running process that belongs to the caller (root: that belongs to the user it
 * names); links are not followed.  Errors: not a ledger, not ours, its process has ended, its tracker has given up.
 */
struct seep_error *control_change(const char *path, const struct control_change *change);

/*
 * Waits until every thread goes by the present generation, the process has ended, or timeout_ns is over, and says how it
 * stands.  A thread takes it up at its next allocation: one that sleeps may not for hours.
 */
struct seep_error *control_wait(const char *path, uint64_t timeout_ns, struct control *ret_control);

#endif
