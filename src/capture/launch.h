/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a program under the tracker: preloaded from its first instruction.
 *
 * Nothing is started before everything that can be known beforehand was checked:
 * the program can be executed at all, the loader will honour LD_PRELOAD for it,
 * the ledger has a place to go.
 */
#ifndef SEEP_CAPTURE_LAUNCH_H
#define SEEP_CAPTURE_LAUNCH_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct seep_error;

/* Exit statuses a shell gives for what could not be started. */
#define LAUNCH_NOT_FOUND 127
#define LAUNCH_NOT_EXECUTABLE 126
#define LAUNCH_NOT_TRACKABLE 2

struct launch_options {
	char *const *argv;           /* the command and its arguments, NULL-terminated */
	const char *ledger_dir;      /* where its ledgers go; must exist */
	uint64_t period;             /* bytes; 0: every block */
	bool follow;                 /* its children too */
	const char *tracker_options; /* more for SEEP_OPTIONS, "check=end"; NULL or "": none */
	const sigset_t *sigmask;     /* the signal mask the program starts with; NULL: ours */
};

/*
 * What execvp() would run for `command` (malloc'ed), after checking that it can be run and tracked.
 * On failure *ret_status is one of the statuses above.
 */
struct seep_error *launch_check(const char *command, char **ret_path, int *ret_status);

/* libseep.so: $SEEP_LIBRARY, or beside the running seep, installed or just built. */
struct seep_error *launch_find_library(char **ret_path);

/* /dev/shm/seep-UID, the standard place, made when missing; an error when it is not the user's alone. */
struct seep_error *launch_base(char **ret_dir);
/* Makes the private directory of a run under `base` (NULL: /dev/shm/seep-UID, made when missing). */
struct seep_error *launch_make_dir(const char *base, char **ret_dir);

/* Checks, forks and executes.  Returns when the program's execve() has happened, or failed. */
struct seep_error *launch_start(const struct launch_options *opts, pid_t *ret_pid, int *ret_status);

#endif
