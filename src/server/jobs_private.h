/* SPDX-License-Identifier: Apache-2.0 */
/* A job, as the files jobs*.c see it. */
#ifndef SEEP_SERVER_JOBS_PRIVATE_H
#define SEEP_SERVER_JOBS_PRIVATE_H

#include "server/jobs.h"

#include <stdatomic.h>

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED };

struct job {
	struct jobs *jobs;
	struct job *next;
	int64_t id;
	struct job_request request; /* does not change */
	enum job_state state;
	double progress;                  /* NaN: not known */
	char *message, *command, *result; /* result: JSON */
	int64_t created_ms, started_ms, ended_ms;
	struct seep_error *error;
	atomic_bool cancel;
};

/* The command as a person would type it; malloc'ed. */
char *job_command(const struct job_request *q);
/* Does it, without a lock.  *ret_result: malloc'ed JSON. */
struct seep_error *job_run(struct server *s, struct job *job, char **ret_result,
                           int64_t *ret_snapshot, uint64_t *ret_inuse);
/* Tells how far it is; progress NaN: not known.  Takes the lock. */
void job_progress(struct job *job, double progress, const char *message);

#endif
