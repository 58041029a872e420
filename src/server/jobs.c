/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue, a few runners, and a ring of what was done.  What a job does is in jobs_run.c; here is only who waits, who
 * runs, and who is told.
 */
#include "server/jobs.h"

#include "server/child.h"
#include "server/events.h"
#include "server/jobs_private.h"
#include "server/jsonw.h"
#include "server/private.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLAN_MS 600000

struct jobs {
	struct server *server;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct job *first; /* newest first */
	int64_t last_id;
	bool stop;
	bool commands[JOB_NKINDS];
	pthread_t runners[JOBS_RUNNERS];
	unsigned int nrunners;
};

static const char *const state_names[] = { [JOB_QUEUED] = "queued",
	                                   [JOB_RUNNING] = "running",
	                                   [JOB_DONE] = "done",
	                                   [JOB_FAILED] = "failed",
	                                   [JOB_CANCELLED] = "cancelled" };

/* ---- telling ----------------------------------------------------------------------------------------- */

/* Under the lock. */
static void put(const struct job *job, struct jsonw *j, const char *key)
{
	const struct job_kind_info *kind = &job_kinds[job->request.kind];

	jw_object(j, key);
	jw_int(j, "id", job->id);
	jw_string(j, "kind", kind->name);
	jw_int(j, "process", job->request.process);
	jw_int(j, "pid", job->request.pid);
	jw_string(j, "state", state_names[job->state]);
	jw_real(j, "progress", job->progress);
	jw_string(j, "message", job->message);
	jw_int(j, "created_ms", job->created_ms);
	jw_int(j, "started_ms", job->started_ms);
	jw_int(j, "ended_ms", job->ended_ms);
	jw_string(j, "command", job->command);
	jw_bool(j, "dry_run", job->request.dry_run);
	jw_array(j, "account");
	for (const char *const *a = kind->account; *a; a++)
		jw_string(j, NULL, *a);
	jw_array_end(j);
	jw_raw(j, "result", job->result);
	if (job->error) {
		jw_object(j, "error");
		jw_string(j, "code",
		          job->error->code == EACCES      ? "no_permission"
		          : job->error->code == ESRCH     ? "gone"
		          : job->error->code == ETIMEDOUT ? "timeout"
		          : job->error->code == ENOSPC    ? "store"
		                                          : "failed");
		jw_string(j, "message", job->error->message);
		jw_string(j, "hint", job->error->hint);
		jw_object_end(j);
	} else {
		jw_null(j, "error");
	}
	jw_object_end(j);
}

/* Under the lock, so that changes are told in their order. */
static void tell(const struct jobs *j, const struct job *job)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct jsonw out = { .out = &text };

	if (job->request.done) /* the recorder's own snapshots would be most of the noise */
		return;
	put(job, &out, NULL);
	events_send(j->server->events, 0, "job", &text);
}

void job_progress(struct job *job, double progress, const char *message)
{
	struct jobs *j = job->jobs;

	pthread_mutex_lock(&j->lock);
	job->progress = progress;
	if (message) {
		free(job->message);
		job->message = strdup(message);
	}
	tell(j, job);
	pthread_mutex_unlock(&j->lock);
}

bool jobs_put(struct jobs *j, int64_t id, struct jsonw *out, const char *key)
{
	struct job *job;

	pthread_mutex_lock(&j->lock);
	for (job = j->first; job && job->id != id; job = job->next)
		;
	if (job)
		put(job, out, key);
	pthread_mutex_unlock(&j->lock);
	return job != NULL;
}

void jobs_put_all(struct jobs *j, struct jsonw *out, const char *key)
{
	jw_array(out, key);
	pthread_mutex_lock(&j->lock);
	for (struct job *job = j->first; job; job = job->next)
		if (!job->request.done)
			put(job, out, NULL);
	pthread_mutex_unlock(&j->lock);
	jw_array_end(out);
}

/* ---- coming and going ------------------------------------------------------------------------------------ */

static void job_free(struct job *job)
{
	free(job->request.label);
	if (job->request.ledger_fd >= 0)
		close(job->request.ledger_fd);
	free(job->message);
	free(job->command);
	free(job->result);
	seep_error_free(job->error);
	free(job);
}

static bool ended(const struct job *job)
{
	return job->state >= JOB_DONE;
}

/* Under the lock: the oldest that have ended go. */
static void forget(struct jobs *j)
{
	size_t n = 0;
	struct job **at = &j->first;

	while (*at) {
		struct job *job = *at;

		n += !job->request.done;
		if (ended(job) && (n > JOBS_KEPT || job->request.done)) {
			*at = job->next;
			job_free(job);
			continue;
		}
		at = &job->next;
	}
}

static struct job *find_same(struct jobs *j, const struct job_request *r)
{
	for (struct job *job = j->first; job; job = job->next)
		if (!ended(job) && job->request.kind == r->kind && job->request.pid == r->pid &&
		    job->request.dry_run == r->dry_run && !job->request.done == !r->done && r->pid)
			return job;
	return NULL;
}

struct seep_error *jobs_add(struct jobs *j, struct job_request *request, int64_t *ret_id,
                            bool *ret_joined)
{
	struct job *job = calloc(1, sizeof(*job)), *same;
	struct seep_error *err = NULL;
	size_t waiting = 0;

	*ret_joined = false;
	if (!job)
		err = &seep_error_nomem;
	pthread_mutex_lock(&j->lock);
	same = find_same(j, request);
	for (struct job *at = j->first; at; at = at->next)
		waiting += at->state == JOB_QUEUED;
	if (same && !err) {
		*ret_id = same->id;
		*ret_joined = true;
	} else if (!err && (waiting >= JOBS_WAITING * (request->done ? 8 : 1) || j->stop)) {
		err = seep_error_new(EAGAIN, "too many jobs are waiting");
	}
	if (err || same) {
		pthread_mutex_unlock(&j->lock);
		free(job);
		free(TAKE(request->label));
		if (request->ledger_fd >= 0)
			close(TAKE_FD(request->ledger_fd));
		return err;
	}
	*job = (struct job){ .jobs = j,
		             .id = ++j->last_id,
		             .request = *request,
		             .progress = NAN,
		             .command = job_command(request),
		             .created_ms = server_now_ms(),
		             .started_ms = STORE_NONE,
		             .ended_ms = STORE_NONE };
	request->label = NULL;
	request->ledger_fd = -1;
	job->next = j->first;
	j->first = job;
	*ret_id = job->id;
	forget(j);
	tell(j, job);
	pthread_cond_signal(&j->wake);
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

bool jobs_cancel(struct jobs *j, int64_t id)
{
	struct job *job;

	pthread_mutex_lock(&j->lock);
	for (job = j->first; job && job->id != id; job = job->next)
		;
	if (job)
		atomic_store(&job->cancel, true);
	if (job && job->state == JOB_QUEUED) {
		job->state = JOB_CANCELLED;
		job->ended_ms = server_now_ms();
		tell(j, job);
	}
	pthread_mutex_unlock(&j->lock);
	return job != NULL;
}

bool jobs_is_plan(struct jobs *j, int64_t id, int64_t process)
{
	bool found = false;

	pthread_mutex_lock(&j->lock);
	for (struct job *job = j->first; job; job = job->next)
		if (job->id == id && job->request.kind == JOB_TRIM && job->request.dry_run &&
		    job->request.process == process && job->state == JOB_DONE &&
		    server_now_ms() - job->ended_ms < PLAN_MS)
			found = true;
	pthread_mutex_unlock(&j->lock);
	return found;
}

bool jobs_has_command(struct jobs *j, enum job_kind kind)
{
	return j->commands[kind];
}

unsigned int jobs_running(struct jobs *j)
{
	unsigned int n = 0;

	pthread_mutex_lock(&j->lock);
	for (struct job *job = j->first; job; job = job->next)
		n += job->state == JOB_RUNNING;
	pthread_mutex_unlock(&j->lock);
	return n;
}

/* ---- running ------------------------------------------------------------------------------------------------ */

static void run(struct jobs *j, struct job *job)
{
	int64_t snapshot = 0;
	uint64_t inuse = 0;
	struct seep_error *err;
	char *result = NULL;

	tell(j, job);
	pthread_mutex_unlock(&j->lock);
	err = job_run(j->server, job, &result, &snapshot, &inuse);
	if (err && err->code == ENOSPC)
		server_log(j->server, "%s", err->message);
	if (job->request.done)
		job->request.done(job->request.arg, job->request.process, snapshot, inuse);
	pthread_mutex_lock(&j->lock);
	job->state = !err ? JOB_DONE : err->code == ECANCELED ? JOB_CANCELLED : JOB_FAILED;
	job->error = err;
	job->result = result;
	job->progress = err ? job->progress : 1;
	job->ended_ms = server_now_ms();
	tell(j, job);
}

/* Snapshots only read; everything else stops the process for a moment, which only one can at a time. */
static bool has_to_wait(const struct jobs *j, const struct job *job)
{
	if (job->request.kind == JOB_SNAPSHOT || !job->request.pid)
		return false;
	for (const struct job *at = j->first; at; at = at->next)
		if (at->state == JOB_RUNNING && at->request.pid == job->request.pid &&
		    at->request.kind != JOB_SNAPSHOT)
			return true;
	return false;
}

static void *runner(void *arg)
{
	struct jobs *j = arg;

	pthread_mutex_lock(&j->lock);
	while (!j->stop) {
		struct job *next = NULL;

		/* The oldest; what a person waits for before what the recorder wants. */
		for (struct job *job = j->first; job; job = job->next)
			if (job->state == JOB_QUEUED && !has_to_wait(j, job) &&
			    (!next || !job->request.done || next->request.done))
				next = job;
		if (!next) {
			pthread_cond_wait(&j->wake, &j->lock);
			continue;
		}
		next->state = JOB_RUNNING;
		next->started_ms = server_now_ms();
		run(j, next);
		forget(j);
		pthread_cond_broadcast(&j->wake); /* for those that had to wait for it */
	}
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

/* Which commands this build has: its help says so. */
static void ask_commands(struct jobs *j)
{
	const struct child c = { .program = j->server->o.program,
		                 .args = { "help", NULL },
		                 .timeout_ms = 10000,
		                 .most_out = 65536,
		                 .inherit = -1 };
	_cleanup_child_ struct child_result r = { 0 };
	struct seep_error *err = child_run(&c, &r);

	for (size_t i = 0; !err && r.out.data && i < JOB_NKINDS; i++) {
		const char *name = job_kinds[i].command;

		for (const char *at = r.out.data; (at = strstr(at, name)) && !j->commands[i]; at++)
			j->commands[i] = at > r.out.data && (at[-1] == ' ' || at[-1] == '\n') &&
			                 strchr(" \n,", at[strlen(name)]) != NULL;
	}
	seep_error_free(err);
}

struct jobs *jobs_new(struct server *s)
{
	struct jobs *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->server = s;
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->wake, NULL);
	ask_commands(j);
	for (; j->nrunners < JOBS_RUNNERS; j->nrunners++)
		if (pthread_create(&j->runners[j->nrunners], NULL, runner, j) != 0)
			break;
	if (!j->nrunners) {
		jobs_free(j);
		return NULL;
	}
	return j;
}

void jobs_stop(struct jobs *j)
{
	pthread_mutex_lock(&j->lock);
	j->stop = true;
	for (struct job *job = j->first; job; job = job->next)
		atomic_store(&job->cancel, true);
	pthread_cond_broadcast(&j->wake);
	pthread_mutex_unlock(&j->lock);
	for (; j->nrunners; j->nrunners--)
		pthread_join(j->runners[j->nrunners - 1], NULL);
}

void jobs_free(struct jobs *j)
{
	if (!j)
		return;
	jobs_stop(j);
	while (j->first) {
		struct job *job = j->first;

		j->first = job->next;
		job_free(job);
	}
	pthread_mutex_destroy(&j->lock);
	pthread_cond_destroy(&j->wake);
	free(j);
}
