/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api.h"
#include "server/jobs.h"
#include "server/jsonw.h"
#include "server/recorder.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <inttypes.h>
#include <json.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_MOST 200

void route_jobs(struct server *s, struct request *q, struct reply *r)
{
	struct jsonw j = api_json(r);

	(void)q;
	jw_object(&j, NULL);
	jobs_put_all(s->jobs, &j, "jobs");
	jw_object_end(&j);
}

static void put_job(struct server *s, int64_t id, int status, struct reply *r)
{
	struct jsonw j = api_json(r);

	r->status = status;
	if (!jobs_put(s->jobs, id, &j, NULL))
		reply_error(r, 404, "not_found", NULL, "there is no job %" PRId64 " (any more)", id);
}

void route_job(struct server *s, struct request *q, struct reply *r)
{
	int64_t id;

	if (api_number(q->args[0], "job", &id, r))
		put_job(s, id, 200, r);
}

void route_job_delete(struct server *s, struct request *q, struct reply *r)
{
	int64_t id;

	if (!api_number(q->args[0], "job", &id, r))
		return;
	jobs_cancel(s->jobs, id);
	put_job(s, id, 200, r);
}

/* ---- a new one ---------------------------------------------------------------------------------------- */

static int64_t number(struct json_object *options, const char *name, int64_t standard)
{
	struct json_object *v = options ? api_member(options, name, NULL) : NULL;

	return json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : standard;
}

static bool flag(struct json_object *options, const char *name)
{
	struct json_object *v = options ? api_member(options, name, NULL) : NULL;

	return v && json_object_get_boolean(v);
}

static bool take_options(struct server *s, struct json_object *options, struct job_request *job,
                         struct reply *r)
{
	struct json_object *label = options ? api_member(options, "label", NULL) : NULL;
	int64_t sample = number(options, "sample", 524288);

	if (label) {
		const char *text = json_object_get_string(label);

		if (strlen(text) > LABEL_MOST) {
			reply_bad_param(r, "label", "at most %d bytes", LABEL_MOST);
			return false;
		}
		job->label = *text ? strdup(text) : NULL;
	}
	job->pinned = flag(options, "pinned");
	job->dry_run = flag(options, "dry_run");
	job->plan = number(options, "plan", 0);
	if (sample < 0 || sample > INT64_C(1) << 40) {
		reply_bad_param(r, "sample", "bytes, 0 for every block");
		return false;
	}
	job->sample = (uint64_t)sample;
	if (job->kind == JOB_TRIM && !job->dry_run &&
	    !jobs_is_plan(s->jobs, job->plan, job->process)) {
		reply_error(r, 409, "conflict",
		            "Run one with {\"dry_run\": true}, and give its id as \"plan\".",
		            "a dry run of the last ten minutes is needed first");
		return false;
	}
	return true;
}

static bool possible(struct server *s, const struct who *w, const struct job_kind_info *info,
                     enum job_kind kind, struct reply *r)
{
	struct subject subject;
	bool tracked = recorder_find(s->recorder, w->id, &subject) && subject.tracked;

	if (!w->running)
		reply_error(r, 410, "gone", NULL, "the process has ended");
	else if (!jobs_has_command(s->jobs, kind))
		reply_error(r, 501, "unavailable", NULL, "this seep has no command %s",
		            info->command);
	else if (info->needs_tracker && !tracked)
		reply_error(r, 409, "conflict", "Attach first.", "the process is not tracked");
	else if (info->needs_untracked && tracked)
		reply_error(r, 409, "conflict", NULL, "the process is tracked already");
	else
		return true;
	return false;
}

static void post(struct server *s, struct json_object *body, struct reply *r)
{
	struct json_object *process = api_member(body, "process", NULL);
	struct json_object *kind = api_member(body, "kind", NULL);
	struct json_object *options = api_member(body, "options", NULL);
	struct job_request job = { .ledger_fd = -1, .reason = "asked" };
	const struct job_kind_info *info;
	_cleanup_who_ struct who w = { 0 };
	struct seep_error *err;
	bool joined;
	int64_t id;

	info = job_kind_find(json_object_is_type(kind, json_type_string)
	                             ? json_object_get_string(kind)
	                             : NULL,
	                     &job.kind);
	if (!info) {
		reply_bad_param(r, "kind", "snapshot, attach, detach, check, doctor or trim");
		return;
	}
	if (!process) {
		reply_bad_param(r, "process", "which?");
		return;
	}
	if (options && !json_object_is_type(options, json_type_object)) {
		reply_bad_param(r, "options", "an object");
		return;
	}
	if (!api_who(s, json_object_get_string(process), true, &w, r) ||
	    !possible(s, &w, info, job.kind, r))
		return;
	job.pid = w.pid;
	job.process = w.id;
	if (!take_options(s, options, &job, r)) {
		free(job.label);
		return;
	}
	err = jobs_add(s->jobs, &job, &id, &joined);
	if (err)
		reply_fail(r, err);
	else
		put_job(s, id, joined ? 200 : 202, r);
}

void route_job_post(struct server *s, struct request *q, struct reply *r)
{
	struct json_object *body = api_body(q, r);

	if (body)
		post(s, body, r);
	json_object_put(body);
}
