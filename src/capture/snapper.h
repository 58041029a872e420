/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking snapshots of tracked processes as their triggers say, from outside.
 *
 * A snapper watches one ledger, or all that appear in a directory (the processes of a run).  For each process
 * it keeps its triggers (triggers.h) and the few descriptors their facts are read from: the ledger,
 * /proc/PID/statm, the cgroup's files.  A look at a process is a handful of pread()s; the process does not
 * notice.  Snapshots go into one series (series.h).
 *
 * The caller owns the loop:
 *
 *     wait = snapper_step(s)       look at what is due
 *     poll(snapper_fd(s), wait)    until then, or until a process appears or ends
 */
#ifndef SEEP_CAPTURE_SNAPPER_H
#define SEEP_CAPTURE_SNAPPER_H

#include "capture/series.h"
#include "capture/triggers.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct profile;
struct seep_error;
struct snapper;

struct snapper_options {
	const char *ledger_dir;          /* all ledgers in it, now and later */
	const char *ledger;              /* or this one */
	struct trigger_options triggers; /* none: nothing is watched, but snapper_take() works */
	struct series_limits limits;
	const char *dir; /* of the series; made at the first snapshot */
	bool blocks;     /* keep live blocks */
	/* Before a snapshot is written (symbols); may be NULL. */
	struct seep_error *(*prepare)(struct profile *p, void *arg);
	/* Something went wrong with one snapshot; the watch goes on.  Takes err over. */
	void (*complain)(struct seep_error *err, void *arg);
	void *arg;
};

/* Options are copied, with their strings. */
struct seep_error *snapper_new(const struct snapper_options *o, struct snapper **ret_snapper);
void snapper_free(struct snapper *s);

/* Makes and locks the directory of the series now: errors come before anything is started. */
struct seep_error *snapper_prepare(struct snapper *s);

int snapper_fd(const struct snapper *
                       s); /* readable: snapper_step() has something to do; -1: nothing is watched */

/* Looks at what is due, takes what fires.  ns until it wants to be called again; UINT64_MAX: it does not. */
uint64_t snapper_step(struct snapper *s);

/*
 * A snapshot now: of the process of that number, watched or not, or with pid 0 of all watched that run.  `reason` is for
 * people and, shortened, for the file's name.  *ret_path (may be NULL) names the last one written.
 */
struct seep_error *snapper_take(struct snapper *s, pid_t pid, const char *reason, char **ret_path);

/* The target has ended, or the watch is to: what is due at the ends of processes. */
void snapper_finish(struct snapper *s);

/*
 * What was noted of the process that p is of, as events and resident memory of p: each snapshot taken of it (the last
 * SNAPPER_NOTES of all processes together).  False: out of memory.
 */
bool snapper_note(const struct snapper *s, struct profile *p);
#define SNAPPER_NOTES 4096u

size_t snapper_count(const struct snapper *s);    /* snapshots taken */
size_t snapper_kept(const struct snapper *s);     /* of them, and of earlier ones, still there */
const char *snapper_dir(const struct snapper *s); /* of the series */
bool snapper_watches(const struct snapper *s);    /* a process that has not ended */

#endif
