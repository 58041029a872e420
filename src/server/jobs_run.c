/* SPDX-License-Identifier: Apache-2.0 */
/* What jobs do: one function for snapshots, one for everything that is a command of seep. */
#include "server/jobs_private.h"

#include "server/child.h"
#include "server/events.h"
#include "server/jsonw.h"
#include "server/private.h"
#include "server/profiles.h"
#include "server/recorder.h"
#include "server/snapshots.h"
#include "server/split.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "capture/capture.h"
#include "output/units.h"
#include "profile/profile.h"

#include <errno.h>
#include <inttypes.h>
#include <json.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_TIMEOUT_MS 600000
#define DOCUMENT_MOST (64u << 20)

static const char *const snapshot_account[] = {
	"Reads the ledger that the tracker keeps outside the process.",
	"The process is not stopped, and not touched.", NULL
};
static const char *const attach_account[] = {
	"Stops the process for a moment, loads libseep.so into it and directs its calls of malloc and free through that; where this "
	"cannot work, the kernel's uprobes count from outside.",
	"From then on every recorded call costs it a little: a sample costs next to nothing, every block some 100 ns.",
	"Detaching restores every call; the library stays mapped and passes everything through.", NULL
};
static const char *const detach_account[] = {
	"Stops the process for a moment and restores every call that was directed through the tracker.",
	"What was recorded stays; nothing more is.", NULL
};
static const char *const check_account[] = {
	"Stops the process for about a millisecond (20 ms for a heap of 250 MB) while a copy-on-write clone of it is made.",
	"Looks in the clone for blocks that nothing points to; the process runs on.",
	"The clone goes; until then pages that the process writes to are held twice.", NULL
};
static const char *const doctor_account[] = {
	"Stops the process for a moment while a copy-on-write clone of it is made, and looks at that.",
	"Accounts for every resident byte, and says why it is there.", NULL
};
static const char *const trim_account[] = {
	"First a dry run says what could be given back to the system; it changes nothing.",
	"Then the process is stopped, and its allocator's free pages are given back: by the allocator itself where it can, page by page "
	"where it cannot.",
	"What the process has in use is not touched; memory that it needs again has to be faulted in anew.",
	NULL
};

const struct job_kind_info job_kinds[JOB_NKINDS] = {
	[JOB_SNAPSHOT] = { "snapshot", "Take a snapshot", "snap", false, true, false,
	                   snapshot_account },
	[JOB_ATTACH] = { "attach", "Begin tracking", "attach", true, false, true, attach_account },
	[JOB_DETACH] = { "detach", "End tracking", "detach", true, true, false, detach_account },
	[JOB_CHECK] = { "check", "Check for leaks", "check", false, false, false, check_account },
	[JOB_DOCTOR] = { "doctor", "Ask the doctor", "doctor", false, false, false, doctor_account },
	[JOB_TRIM] = { "trim", "Give free memory back", "trim", true, false, false, trim_account },
};

const struct job_kind_info *job_kind_find(const char *name, enum job_kind *ret_kind)
{
	for (size_t i = 0; name && i < JOB_NKINDS; i++)
		if (!strcmp(job_kinds[i].name, name)) {
			*ret_kind = (enum job_kind)i;
			return &job_kinds[i];
		}
	return NULL;
}

/* ---- snapshots ----------------------------------------------------------------------------------------- */

static struct seep_error *run_snapshot(struct server *s, struct job *job, char **ret_result,
                                       int64_t *ret_id, uint64_t *ret_inuse)
{
	const struct job_request *q = &job->request;
	_cleanup_profile_ struct profile *p = NULL;
	_cleanup_buf_ struct buf file = { 0 }, text = { 0 };
	_cleanup_free_ char *ledger = NULL;
	struct jsonw j = { .out = &text };
	struct seep_error *err = NULL;
	int64_t id = 0;

	if (q->ledger_fd < 0) {
		err = ledger_find(q->pid, s->o.ledgers, &ledger);
		if (err && !err->code)
			seep_error_set_code(err, ESRCH);
	}
	if (!err)
		err = profiles_take(s, ledger, q->ledger_fd, true, &file);
	if (!err)
		err = profiles_read(file.data, file.len, &p);
	if (err)
		return err;
	err = profiles_store(s, q->process, p, &file, q->reason, q->label, q->pinned,
	                     recorder_rss(s->recorder, q->process), &id);
	server_store_state(s, err ? seep_error_new(err->code, "%s", err->message) : NULL);
	if (err)
		return err;
	snapshot_announce(s, id);
	jw_object(&j, NULL);
	jw_int(&j, "snapshot", id);
	jw_object_end(&j);
	*ret_result = buf_steal(&text);
	*ret_id = id;
	*ret_inuse = profile_totals_of(p, PROF_MEMORY).inuse.bytes;
	return NULL;
}

/* ---- commands --------------------------------------------------------------------------------------------- */

/* "\r\033[KReading 43 % of 96 MiB" → a line without what is for terminals, and the number in it. */
static void on_line(void *arg, const char *text)
{
	char clean[200];
	size_t n = 0;
	const char *percent;
	double progress = NAN;

	for (; *text && n + 1 < sizeof(clean); text++) {
		if (*text == '\033') {
			text += strcspn(text, "mKJH");
			if (!*text)
				break;
			continue;
		}
		if ((unsigned char)*text >= ' ')
			clean[n++] = *text;
	}
	clean[n] = '\0';
	percent = strstr(clean, " %");
	if (percent) {
		const char *from = percent;

		while (from > clean && strchr("0123456789.", from[-1]))
			from--;
		progress = strtod(from, NULL) / 100;
	}
	if (n)
		job_progress(arg, progress, clean);
}

static int64_t number_at(struct json_object *o, const char *const *path)
{
	for (; o && *path; path++)
		if (!json_object_is_type(o, json_type_object) ||
		    !json_object_object_get_ex(o, *path, &o))
			return 0;
	return o ? json_object_get_int64(o) : 0;
}

static const char *text_at(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_is_type(o, json_type_object) && json_object_object_get_ex(o, key, &v) &&
	                       json_object_is_type(v, json_type_string)
	               ? json_object_get_string(v)
	               : NULL;
}

static struct json_object *first_of(struct json_object *o, const char *key)
{
	struct json_object *list;

	if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, key, &list) ||
	    !json_object_is_type(list, json_type_array) || !json_object_array_length(list))
		return NULL;
	return json_object_array_get_idx(list, 0);
}

/* A line for lists and for the time axis. */
static void summarize(enum job_kind kind, bool dry_run, struct json_object *document,
                      struct buf *out)
{
	struct json_object *first;
	const char *text;

	if (kind == JOB_CHECK) {
		int64_t bytes, blocks;

		first = first_of(document, "checks");
		bytes = number_at(first,
		                  (const char *const[]){ "classes", "definite", "bytes", NULL }) +
		        number_at(first,
		                  (const char *const[]){ "classes", "indirect", "bytes", NULL });
		blocks = number_at(first,
		                   (const char *const[]){ "classes", "definite", "blocks", NULL }) +
		         number_at(first,
		                   (const char *const[]){ "classes", "indirect", "blocks", NULL });
		if (!blocks) {
			buf_puts(out, "nothing lost");
			return;
		}
		unit_bytes(out, (uint64_t)bytes);
		buf_printf(out, " lost in %" PRId64 " block%s", blocks, blocks == 1 ? "" : "s");
	} else if (kind == JOB_DOCTOR) {
		first = first_of(document, "verdicts");
		text = first ? text_at(first, "title") : NULL;
		if (!text && first)
			text = text_at(first, "text");
		if (!text && first)
			text = text_at(first, "verdict");
		buf_puts(out, text ? text : "nothing unusual");
	} else {
		buf_puts(out,
		         dry_run ? "looked at what could be given back" : "gave free memory back");
	}
}

static struct seep_error *store_document(struct server *s, const struct job *job, const char *json,
                                         int64_t *ret_id)
{
	const struct job_request *q = &job->request;
	struct store_document d = { .process = q->process,
		                    .time_ms = server_now_ms(),
		                    .kind = (char *)(q->kind == JOB_TRIM && q->dry_run
		                                             ? "trim-plan"
		                                             : job_kinds[q->kind].name),
		                    .json = (char *)json };
	_cleanup_buf_ struct buf summary = { 0 }, event = { 0 };
	struct jsonw j = { .out = &event };
	struct json_object *document = json_tokener_parse(json);
	struct seep_error *err;

	if (!json_object_is_type(document, json_type_object)) {
		json_object_put(document);
		return seep_error_new(EBADMSG, "seep %s did not answer with JSON",
		                      job_kinds[q->kind].command);
	}
	summarize(q->kind, q->dry_run, document, &summary);
	if (q->kind == JOB_DOCTOR)
		recorder_retained(s->recorder, q->process, split_retained(document));
	json_object_put(document);
	d.summary = summary.data;
	err = store_document_add(s->store, &d, ret_id);
	server_store_state(s, err ? seep_error_new(err->code, "%s", err->message) : NULL);
	if (err)
		return err;
	jw_object(&j, NULL);
	jw_int(&j, "process", q->process);
	jw_string(&j, "kind", job_kinds[q->kind].name);
	jw_int(&j, "id", *ret_id);
	jw_object_end(&j);
	events_send(s->events, 0, "finding", &event);
	return NULL;
}

struct arguments {
	char pid[16], sample[40];
};

/* Of the command; `a` holds what has to be written first. */
static void arguments(const struct job_request *q, struct arguments *a, const char **args)
{
	size_t n = 0;

	snprintf(a->pid, sizeof(a->pid), "%d", q->pid);
	snprintf(a->sample, sizeof(a->sample), "--sample=%" PRIu64, q->sample);
	args[n++] = job_kinds[q->kind].command;
	if (q->kind == JOB_ATTACH)
		args[n++] = q->sample ? a->sample : "--full";
	if (q->kind == JOB_CHECK)
		args[n++] = "--show-kinds=all";
	if (q->kind == JOB_TRIM && q->dry_run)
		args[n++] = "--dry-run";
	if (q->kind != JOB_DETACH && q->kind != JOB_SNAPSHOT)
		args[n++] = "--json";
	args[n++] = a->pid;
	args[n] = NULL;
}

char *job_command(const struct job_request *q)
{
	const char *args[CHILD_ARGS];
	struct arguments a;
	struct buf b = { 0 };

	arguments(q, &a, args);
	buf_puts(&b, "seep");
	for (size_t i = 0; args[i]; i++)
		buf_printf(&b, " %s", args[i]);
	return buf_steal(&b);
}

static struct seep_error *run_command(struct server *s, struct job *job, char **ret_result)
{
	const struct job_request *q = &job->request;
	bool finds = q->kind == JOB_CHECK || q->kind == JOB_DOCTOR || q->kind == JOB_TRIM;
	_cleanup_child_ struct child_result r = { 0 };
	_cleanup_buf_ struct buf text = { 0 };
	struct jsonw j = { .out = &text };
	struct child c = { .program = s->o.program,
		           .timeout_ms = COMMAND_TIMEOUT_MS,
		           .most_out = DOCUMENT_MOST,
		           .inherit = -1,
		           .cancel = &job->cancel,
		           .line = on_line,
		           .arg = job };
	struct arguments a;
	struct seep_error *err;
	int64_t id = 0;

	arguments(q, &a, c.args);
	err = child_run(&c, &r);
	/* 1: findings, which is what was asked for. */
	if (!err && r.status && !(finds && r.status == 1))
		err = child_error(&c, &r);
	if (!err && finds)
		err = store_document(s, job, r.out.data ? r.out.data : "", &id);
	if (err)
		return err;
	jw_object(&j, NULL);
	if (finds) {
		jw_int(&j, job_kinds[q->kind].name, id);
	} else if (q->kind == JOB_ATTACH) {
		jw_raw(&j, "attach", r.out.data);
		jw_string(&j, "text", "tracking has begun");
	} else {
		jw_string(&j, "text", "tracking has ended");
	}
	jw_object_end(&j);
	*ret_result = buf_steal(&text);
	if (!finds)
		recorder_poke(s->recorder);
	return NULL;
}

struct seep_error *job_run(struct server *s, struct job *job, char **ret_result,
                           int64_t *ret_snapshot, uint64_t *ret_inuse)
{
	if (job->request.kind == JOB_SNAPSHOT)
		return run_snapshot(s, job, ret_result, ret_snapshot, ret_inuse);
	return run_command(s, job, ret_result);
}
