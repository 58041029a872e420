/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of `seep run`: watching the target, collecting its ledgers, telling the result. */
#ifndef SEEP_CLI_RUN_H
#define SEEP_CLI_RUN_H

#include "capture/capture.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct profile;
struct run_check;
struct snap_cli;

struct run_options {
	const char *out, *dir, *json;
	uint64_t period; /* bytes, when sampling */
	bool sampled, follow, keep, quiet, summary, symbols, blocks, progress, json_given;
	bool snapshot;                /* leave one behind */
	const struct snap_cli *snaps; /* what was taken meanwhile */
	bool inactive;                /* record nothing until `seep ctl` says so */
};

/* ---- run_watch.c: from start to end ---------------------------------------- */

struct run_watch {
	int signals;   /* signalfd */
	sigset_t mask; /* what the target starts with */
	pid_t pid;
	const char *dir;
	bool progress;
	uint64_t oom_kills;      /* of the machine, before */
	struct run_check *check; /* whose requests are served meanwhile */
	struct rss_log *rss;     /* kept meanwhile; NULL: none */
	struct snap_cli *snaps;  /* whose triggers are looked at */
};

struct run_end {
	int status;       /* as waitpid() gives it */
	bool oom;         /* the kernel killed it for want of memory, as far as can be seen */
	char cgroup[512]; /* whose limit it was; "" the machine's, or unknown */
};

/* Call before the target starts: from here on signals wait to be forwarded. */
struct seep_error *run_watch_init(struct run_watch *w);
/* Forwards signals and shows progress until the target has ended. */
struct seep_error *run_watch_wait(struct run_watch *w, struct run_end *ret_end);
void run_watch_release(struct run_watch *w);

/* ---- run_collect.c: ledgers → profiles and snapshots -------------------------- */

struct run_result {
	struct profile *whole;  /* of all processes together; NULL: there was nothing to read */
	struct profile **parts; /* one for each process; parts[i] may be whole */
	size_t nparts;
	char **snapshots;
	size_t nsnapshots;
	size_t replaced;   /* programs that went on as another by exec: not in whole */
	size_t unreadable; /* ledgers that could not be read; said on stderr */
	pid_t *left;       /* processes of the run that still run */
	size_t nleft;
	bool target_tracked;    /* there is a ledger of the target itself */
	bool target_unfinished; /* whose program did not run its exit handlers */
	bool ledgers_kept;
};

/* w and end: what was seen meanwhile, for the times of the profiles. */
struct seep_error *run_collect(const struct run_options *o, const struct run_watch *w,
                               const struct run_end *end, struct run_result *res);
void run_result_release(struct run_result *res);

/* ---- run_times.c: what only the watcher knows, into the parts --------------------- */

struct seep_error *run_times_add(const struct run_watch *w, const struct run_end *end,
                                 struct run_result *res);

/* ---- run_summary.c -------------------------------------------------------------- */

struct seep_error *run_summary(const struct run_options *o, const struct run_end *end,
                               const struct run_result *res, const char *dir, const char *command,
                               pid_t pid, FILE *to);

#endif
