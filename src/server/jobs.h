/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs: everything that touches or reads a process, as child processes of seep, a few at a time.
 *
 * A second job of one kind on one process joins the first while that has not ended.  What there is to know of the last JOBS_KEPT
 * stays; whoever listens to events is told of each change.
 */
#ifndef SEEP_SERVER_JOBS_H
#define SEEP_SERVER_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jobs;
struct jsonw;
struct seep_error;
struct server;

#define JOBS_KEPT 100
#define JOBS_WAITING 32
#define JOBS_RUNNERS 2

enum job_kind { JOB_SNAPSHOT, JOB_ATTACH, JOB_DETACH, JOB_CHECK, JOB_DOCTOR, JOB_TRIM, JOB_NKINDS };

struct job_kind_info {
	const char *name, *title;
	const char *command; /* of seep; also what tells whether this build has it */
	bool changes_target, needs_tracker, needs_untracked;
	const char *const *account; /* what will be done to the process, a sentence each; ends with NULL */
};
extern const struct job_kind_info job_kinds[JOB_NKINDS];
const struct job_kind_info *job_kind_find(const char *name, enum job_kind *ret_kind);

struct job_request {
	enum job_kind kind;
	int32_t pid;
	int64_t process; /* in the store */
	char reason[64]; /* of a snapshot */
	char *label;     /* NULL; taken over */
	bool pinned;
	uint64_t sample; /* attach: bytes, 0: every block */
	bool dry_run;
	int64_t plan;  /* trim: the dry run's job */
	int ledger_fd; /* snapshot of one that has ended; -1: by pid; taken over */
	/* Called from the job's thread when it is over, with the snapshot's number and what it held (0, 0: failed). */
	void (*done)(void *arg, int64_t process, int64_t snapshot, uint64_t inuse);
	void *arg;
};

struct jobs *jobs_new(struct server *s);
void jobs_stop(struct jobs *j); /* cancels what runs, waits for it; may be asked all the same, but takes no more */
void jobs_free(struct jobs *j);

/* Takes the request over.  EAGAIN: too many are waiting.  *ret_joined: it is an earlier one that goes on. */
struct seep_error *jobs_add(struct jobs *j, struct job_request *request, int64_t *ret_id,
                            bool *ret_joined);
/* False: there is none. */
bool jobs_cancel(struct jobs *j, int64_t id);
bool jobs_put(struct jobs *j, int64_t id, struct jsonw *out, const char *key);
void jobs_put_all(struct jobs *j, struct jsonw *out, const char *key);
/* Whether that job was a dry run of a trim of this process, done in the last ten minutes. */
bool jobs_is_plan(struct jobs *j, int64_t id, int64_t process);
bool jobs_has_command(struct jobs *j, enum job_kind kind);
unsigned int jobs_running(struct jobs *j);

#endif
