/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes to look at: a child of the test that runs one function and shares a page with it.
 */
#ifndef SEEP_TESTS_PROC_SUBJECT_H
#define SEEP_TESTS_PROC_SUBJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct subject_shared {
	_Atomic int ready;        /* set by the subject */
	_Atomic uint64_t counter; /* advanced while it runs */
	_Atomic uint64_t signals; /* taken by its handler */
	_Atomic uint64_t wrong;   /* things that should not have been */
	_Atomic int done, result, error;
	_Atomic uint64_t elapsed_ns;
	_Atomic uint64_t address, value; /* of something to look for */
	_Atomic int pipe_write, stop;
	_Atomic int tid;
};

struct subject {
	pid_t pid;
	struct subject_shared *shared;
};

/* Forks and waits until it says that it is ready. */
struct subject subject_start(void (*run)(struct subject_shared *s));
void subject_end(struct subject *s); /* SIGKILL, and reaped */

uint64_t subject_now(void); /* CLOCK_MONOTONIC, ns */
/* The state letter of /proc/PID/status; 0: gone. */
char subject_state(pid_t pid);
/* Waits until the process is in one of these states. */
bool subject_wait_state(pid_t pid, const char *states);
/* Does the counter advance? */
bool subject_runs(const struct subject *s);
/* Children of the process's threads, zombies included. */
unsigned int subject_children(pid_t pid, pid_t *ret_first);
/* Any thread of it in tracing stop, or traced? */
bool subject_traced(pid_t pid);

#define SUBJECT_WAIT(cond)                                      \
	({                                                      \
		uint64_t end_ = subject_now() + 20000000000ull; \
		bool ok_ = false;                               \
		while (!(ok_ = (cond)) && subject_now() < end_) \
			usleep(200);                            \
		ok_;                                            \
	})

#endif
