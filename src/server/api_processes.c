/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes.  Three sources meet here: what runs (/proc), what is recorded at this moment (the recorder's subjects), and what
 * the store remembers, also of those that have ended.  One process is one row, whichever of them know it.
 */
#include "server/api.h"
#include "server/jobs.h"
#include "server/jsonw.h"
#include "server/measure.h"
#include "server/recorder.h"
#include "server/trend.h"

#include "analysis/names.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <inttypes.h>
#include <json.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LISTED 5000
#define WATCH_LEAST 1
#define WATCH_MOST 86400

/* ---- a row ------------------------------------------------------------------------------------------------ */

/* The allocator's module is a path: "/usr/lib/libjemalloc.so.2" → "jemalloc", libc's → "glibc". */
static void short_allocator(const char *path, char *text, size_t size)
{
	static const char *const known[] = { "jemalloc", "tcmalloc", "mimalloc", "musl" };
	const char *base = path_base(path);

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strstr(base, known[i])) {
			snprintf(text, size, "%s", known[i]);
			return;
		}
	if (!strncmp(base, "libc.so", 7) || !strncmp(base, "libc-", 5))
		snprintf(text, size, "glibc");
	else if (!strncmp(base, "ld-musl", 7))
		snprintf(text, size, "musl");
	else
		snprintf(text, size, "%s", base);
}

static void put_allocator(struct jsonw *j, const struct store_process *row, const struct subject *s)
{
	const char *path = s && *s->allocator ? s->allocator : row ? row->allocator : NULL;
	char text[128];

	if (path && *path)
		short_allocator(path, text, sizeof(text));
	jw_string(j, "allocator", path && *path ? text : NULL);
}

static void put_identity(struct jsonw *j, const struct store_process *row, const struct subject *s,
                         const struct running *run)
{
	uint32_t uid = run ? run->uid : row ? row->uid : s->uid;
	char user[64];

	user_name(uid, user, sizeof(user));
	jw_int(j, "id", row ? row->id : s ? s->id : STORE_NONE);
	jw_int(j, "pid", run ? run->pid : row ? row->pid : s->pid);
	jw_string(j, "name", run ? run->name : row ? row->name : s->name);
	jw_string(j, "command", run ? run->command : row ? row->command : s->command);
	jw_string(j, "exe", run ? run->exe : row ? row->exe : NULL);
	jw_int(j, "uid", uid);
	jw_string(j, "user", user);
	jw_string(j, "state", run || s ? "running" : row->state);
	jw_int(j, "started_ms", run ? run->started_ms : row ? row->started_ms : STORE_NONE);
	jw_int(j, "ended_ms", run || s || !row ? STORE_NONE : row->ended_ms);
	jw_string(j, "end", run || s || !row ? NULL : row->end);
}

static double growth(const struct subject *s, const uint64_t *values)
{
	return s->nrecent < 3 ? NAN : trend_of(s->recent_ms, values, s->nrecent).rate;
}

/* Of one that has ended, the last point. */
static void put_last(struct server *server, struct jsonw *j, const struct store_process *row)
{
	_cleanup_store_series_ struct store_series l = { 0 };
	_cleanup_store_snapshots_ struct store_snapshots snaps = { 0 };
	const struct store_point *p = NULL;
	const struct store_snapshot *last = NULL;

	if (row && row->last_ms != STORE_NONE) {
		seep_error_free(store_points_read(server->reader, row->id, row->last_ms - 60000,
		                                  STORE_NONE, 0, &l));
		seep_error_free(store_snapshot_list(server->reader, row->id, STORE_NONE, 1, &snaps));
		p = l.n ? &l.items[l.n - 1] : NULL;
		last = snaps.n ? &snaps.items[0] : NULL;
	}
	jw_int(j, "inuse_bytes",
	       last ? (int64_t)last->inuse_bytes
	       : p  ? p->value[POINT_INUSE]
	            : STORE_NONE);
	jw_int(j, "inuse_blocks", last ? (int64_t)last->inuse_blocks : STORE_NONE);
	jw_int(j, "alloc_bytes",
	       last ? (int64_t)last->alloc_bytes
	       : p  ? p->value[POINT_ALLOC]
	            : STORE_NONE);
	jw_int(j, "rss_bytes", p ? p->value[POINT_RSS] : STORE_NONE);
	jw_int(j, "pss_bytes", p ? p->value[POINT_PSS] : STORE_NONE);
	jw_int(j, "swap_bytes", p ? p->value[POINT_SWAP] : STORE_NONE);
	jw_null(j, "growth");
	jw_null(j, "rss_growth");
	jw_null(j, "cgroup_bytes");
	jw_null(j, "cgroup_limit_bytes");
}

static void put_now(struct jsonw *j, const struct subject *s)
{
	bool tracked = s->tracked;

	jw_int(j, "inuse_bytes", tracked ? (int64_t)s->inuse : STORE_NONE);
	jw_int(j, "inuse_blocks", tracked ? (int64_t)s->inuse_blocks : STORE_NONE);
	jw_int(j, "alloc_bytes", tracked ? (int64_t)s->alloc : STORE_NONE);
	jw_int(j, "rss_bytes", s->measured.rss);
	jw_int(j, "pss_bytes", s->measured.pss);
	jw_int(j, "swap_bytes", s->measured.swap);
	jw_real(j, "growth", tracked ? growth(s, s->recent_inuse) : NAN);
	jw_real(j, "rss_growth", growth(s, s->recent_rss));
	jw_int(j, "cgroup_bytes", s->measured.cgroup > 0 ? s->measured.cgroup : STORE_NONE);
	jw_int(j, "cgroup_limit_bytes", s->measured.cgroup_limit);
}

void process_put(struct server *server, struct jsonw *j, const char *key,
                 const struct store_process *row, const struct subject *s, const struct running *run)
{
	bool tracked = s ? s->tracked : !run && row && row->tracked;

	jw_object(j, key);
	put_identity(j, row, s, run);
	jw_bool(j, "tracked", tracked);
	jw_string(j, "mode",
	          !tracked                          ? NULL
	          : (s ? s->sampled : row->sampled) ? "sampled"
	                                            : "full");
	jw_u64(j, "period", s ? s->period : row ? row->period : 0);
	jw_bool(j, "attached", s ? s->attached : row && row->attached);
	jw_bool(j, "active", s && s->tracked && s->active);
	put_allocator(j, row, s);
	jw_bool(j, "watched", s && s->watch_s);
	jw_bool(j, "recorded", row != NULL);
	jw_int(j, "snapshots", row ? row->snapshots : 0);
	jw_string(j, "label", row ? row->label : NULL);
	if (s) {
		put_now(j, s);
	} else if (run) {
		jw_null(j, "inuse_bytes");
		jw_null(j, "inuse_blocks");
		jw_null(j, "alloc_bytes");
		jw_u64(j, "rss_bytes", run->rss);
		jw_null(j, "pss_bytes");
		jw_null(j, "swap_bytes");
		jw_null(j, "growth");
		jw_null(j, "rss_growth");
		jw_null(j, "cgroup_bytes");
		jw_null(j, "cgroup_limit_bytes");
	} else {
		put_last(server, j, row);
	}
	jw_object_end(j);
}

/* ---- the list ------------------------------------------------------------------------------------------------ */

struct listed {
	const struct store_process *row;
	const struct subject *subject;
	const struct running *run;
	uint64_t order;
};

static int largest_first(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	return x->order < y->order ? 1 : x->order > y->order ? -1 : 0;
}

static bool text_has(const char *text, const char *part)
{
	return text && strcasestr(text, part);
}

static bool wanted(const struct listed *l, const char *q, bool tracked, bool recorded)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d",
	         l->run   ? l->run->pid
	         : l->row ? l->row->pid
	                  : l->subject->pid);
	if (tracked && !(l->subject && l->subject->tracked))
		return false;
	if (recorded && !l->row)
		return false;
	return !q || !strcmp(pid, q) || text_has(l->run ? l->run->name : NULL, q) ||
	       text_has(l->run ? l->run->command : NULL, q) ||
	       text_has(l->row ? l->row->name : NULL, q) ||
	       text_has(l->row ? l->row->command : NULL, q) ||
	       text_has(l->row ? l->row->label : NULL, q);
}

static const struct subject *find_subject(const struct subject *s, size_t n, int64_t id)
{
	for (size_t i = 0; i < n; i++)
		if (s[i].id == id)
			return &s[i];
	return NULL;
}

/* Recorded ones first, with what runs of them; then what runs and is not recorded. */
static size_t collect(struct listed *list, const struct store_processes *rows,
                      const struct subject *subjects, size_t nsubjects,
                      const struct running_list *running)
{
	_cleanup_free_ bool *taken = calloc(running->n + 1, sizeof(*taken));
	size_t n = 0;

	if (!taken)
		return 0;
	for (size_t i = 0; i < rows->n; i++) {
		struct listed *l = &list[n++];

		l->row = &rows->items[i];
		l->subject = find_subject(subjects, nsubjects, l->row->id);
		for (size_t k = 0; k < running->n && !l->run; k++)
			if (!taken[k] && running->items[k].pid == l->row->pid &&
			    running->items[k].start_ticks == l->row->start_ticks &&
			    (l->subject || !strcmp(l->row->state ? l->row->state : "", "running"))) {
				l->run = &running->items[k];
				taken[k] = true;
			}
	}
	for (size_t k = 0; k < running->n; k++)
		if (!taken[k])
			list[n++].run = &running->items[k];
	for (size_t i = 0; i < n; i++) {
		const struct listed *l = &list[i];

		/* Tracked ones, those that run, those that ended; each by size. */
		list[i].order = l->subject && l->subject->tracked ? (1ull << 62) + l->subject->inuse
		                : l->run                          ? (1ull << 61) + l->run->rss
		                                                  : (uint64_t)l->row->id;
	}
	return n;
}

void route_processes(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_store_processes_ struct store_processes rows = { 0 };
	_cleanup_running_ struct running_list running = { 0 };
	_cleanup_free_ struct subject *subjects = NULL;
	_cleanup_free_ struct listed *list = NULL;
	const char *text = request_param(q, "q");
	bool tracked = false, recorded = false;
	struct seep_error *err;
	size_t nsubjects, n, shown = 0;
	struct jsonw j;

	if (!request_bool(q, "tracked", &tracked, r) || !request_bool(q, "recorded", &recorded, r))
		return;
	err = store_process_list(s->reader, &rows);
	if (err) {
		reply_fail(r, err);
		return;
	}
	subjects = recorder_list(s->recorder, &nsubjects);
	running_scan(&running);
	list = calloc(rows.n + running.n + 1, sizeof(*list));
	if (!list || !subjects) {
		reply_fail(r, &seep_error_nomem);
		return;
	}
	n = collect(list, &rows, subjects, nsubjects, &running);
	qsort(list, n, sizeof(*list), largest_first);
	j = api_json(r);
	jw_object(&j, NULL);
	jw_int(&j, "now_ms", server_now_ms());
	jw_array(&j, "processes");
	for (size_t i = 0; i < n && shown < LISTED; i++)
		if (wanted(&list[i], text, tracked, recorded)) {
			process_put(s, &j, NULL, list[i].row, list[i].subject, list[i].run);
			shown++;
		}
	jw_array_end(&j);
	jw_object_end(&j);
}

/* ---- one ------------------------------------------------------------------------------------------------------ */

static void put_option(struct jsonw *j, const char *name, const char *title, const char *type,
                       const char *standard)
{
	jw_object(j, NULL);
	jw_string(j, "name", name);
	jw_string(j, "title", title);
	jw_string(j, "type", type);
	jw_raw(j, "default", standard);
	jw_null(j, "choices");
	jw_object_end(j);
}

static void put_action(struct server *s, struct jsonw *j, enum job_kind kind, const struct who *w,
                       const struct subject *subject)
{
	const struct job_kind_info *info = &job_kinds[kind];
	bool tracked = subject && subject->tracked;
	const char *why = NULL;

	if (!w->running && w->row.state && !strcmp(w->row.state, "file"))
		why = "This is a file, not a process.";
	else if (!w->running)
		why = "The process has ended.";
	else if (!jobs_has_command(s->jobs, kind))
		why = "This seep has no such command.";
	else if (info->needs_tracker && !tracked)
		why = "The process is not tracked.";
	else if (info->needs_untracked && tracked)
		why = "The process is tracked already.";
	jw_object(j, NULL);
	jw_string(j, "kind", info->name);
	jw_string(j, "title", info->title);
	jw_bool(j, "available", !why);
	jw_string(j, "why_not", why);
	jw_array(j, "account");
	for (const char *const *a = info->account; *a; a++)
		jw_string(j, NULL, *a);
	jw_array_end(j);
	jw_bool(j, "changes_target", info->changes_target);
	jw_bool(j, "needs_dry_run", kind == JOB_TRIM);
	jw_array(j, "options");
	if (kind == JOB_SNAPSHOT) {
		put_option(j, "label", "Label", "text", NULL);
		put_option(j, "pinned", "Keep for good", "bool", "false");
	} else if (kind == JOB_ATTACH) {
		put_option(j, "sample", "One block in so many bytes (0: every block)", "size",
		           "524288");
	}
	jw_array_end(j);
	jw_object_end(j);
}

static void put_latest(struct server *s, struct jsonw *j, int64_t id)
{
	static const char *const kinds[] = { "check", "doctor", "trim" };
	int64_t snapshot = 0;

	jw_object(j, "latest");
	seep_error_free(id ? store_snapshot_find(s->reader, id, STORE_LATEST, 0, &snapshot) : NULL);
	jw_int(j, "snapshot", snapshot ? snapshot : STORE_NONE);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		_cleanup_store_documents_ struct store_documents l = { 0 };

		if (id)
			seep_error_free(store_document_list(s->reader, id, kinds[i], STORE_NONE,
			                                    STORE_NONE, 1, false, &l));
		jw_int(j, kinds[i], l.n ? l.items[0].id : STORE_NONE);
	}
	jw_object_end(j);
}

static void put_process(struct server *s, const struct who *w, struct reply *r)
{
	struct subject subject;
	bool known = w->id && recorder_find(s->recorder, w->id, &subject), denied;
	struct running run = { 0 };
	bool running = w->running && running_read(w->pid, &run, &denied);
	struct measured m = { .cgroup_limit = STORE_NONE };
	char path[64];
	struct jsonw j = api_json(r);

	if (!running && !w->id) {
		reply_error(r, 410, "gone", NULL, "process %d has ended", w->pid);
		return;
	}
	jw_object(&j, NULL);
	process_put(s, &j, "process", w->id ? &w->row : NULL, known ? &subject : NULL,
	            running ? &run : NULL);
	jw_int(&j, "baseline", w->row.baseline ? w->row.baseline : STORE_NONE);
	jw_int(&j, "first_ms", w->id ? w->row.first_ms : STORE_NONE);
	jw_int(&j, "last_ms", w->id ? w->row.last_ms : STORE_NONE);
	if (known && subject.watch_s) {
		jw_object(&j, "watch");
		jw_int(&j, "every_s", subject.watch_s);
		jw_object_end(&j);
	} else {
		jw_null(&j, "watch");
	}
	jw_int(&j, "threads", running ? (int64_t)run.threads : STORE_NONE);
	if (known)
		m = subject.measured;
	jw_string(&j, "cgroup", known && *m.cgroup_path ? m.cgroup_path : NULL);
	jw_int(&j, "ledger_bytes",
	       known && subject.tracked ? (int64_t)subject.ledger_bytes : STORE_NONE);
	put_latest(s, &j, w->id);
	jw_array(&j, "actions");
	for (size_t i = 0; i < JOB_NKINDS; i++)
		put_action(s, &j, (enum job_kind)i, w, known ? &subject : NULL);
	jw_array_end(&j);
	jw_array(&j, "pprof");
	if (known && subject.tracked) {
		snprintf(path, sizeof(path), "/p/%d/pprof/heap", w->pid);
		jw_string(&j, NULL, path);
		snprintf(path, sizeof(path), "/p/%d/debug/pprof/heap", w->pid);
		jw_string(&j, NULL, path);
	}
	jw_array_end(&j);
	jw_object_end(&j);
	running_free(&run);
}

void route_process(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_who_ struct who w = { 0 };

	if (api_who(s, q->args[0], false, &w, r))
		put_process(s, &w, r);
}

/* As it is after a change. */
static void put_again(struct server *s, const struct request *q, struct reply *r)
{
	_cleanup_who_ struct who w = { 0 };

	if (api_who(s, q->args[0], false, &w, r))
		put_process(s, &w, r);
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

static struct seep_error *change(struct server *s, const struct who *w, struct json_object *body,
                                 struct reply *r)
{
	_cleanup_store_snapshot_ struct store_snapshot snap = { 0 };
	struct json_object *v;
	struct seep_error *err = NULL;
	bool given, found = false;
	int64_t id;

	v = api_member(body, "label", &given);
	if (given)
		err = store_process_label(s->store, w->id, v ? json_object_get_string(v) : NULL);
	v = api_member(body, "baseline", &given);
	if (err || !given)
		return err;
	id = v ? json_object_get_int64(v) : 0;
	if (id)
		err = store_snapshot_get(s->store, id, &snap, &found);
	if (!err && id && (!found || snap.process != w->id)) {
		reply_error(r, 404, "not_found", NULL, "this process has no snapshot %" PRId64, id);
		return NULL;
	}
	return err ? err : store_process_baseline(s->store, w->id, id);
}

void route_process_patch(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_who_ struct who w = { 0 };
	struct json_object *body = api_body(q, r);
	struct seep_error *err;

	if (!body)
		return;
	if (!api_who(s, q->args[0], true, &w, r)) {
		json_object_put(body);
		return;
	}
	err = change(s, &w, body, r);
	json_object_put(body);
	if (err)
		reply_fail(r, err);
	else if (!r->status)
		put_again(s, q, r);
}

void route_process_delete(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_who_ struct who w = { 0 };
	struct subject subject;
	struct seep_error *err;

	if (!api_who(s, q->args[0], false, &w, r))
		return;
	if (!w.id || w.running || recorder_find(s->recorder, w.id, &subject)) {
		reply_error(r, 409, "conflict", NULL, "the process still runs");
		return;
	}
	err = store_process_forget(s->store, w.id);
	if (err)
		reply_fail(r, err);
	else
		r->status = 204;
}

void route_watch_put(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_who_ struct who w = { 0 };
	struct json_object *body = api_body(q, r), *v;
	struct seep_error *err;
	int64_t every;

	if (!body)
		return;
	v = api_member(body, "every_s", NULL);
	every = v ? json_object_get_int64(v) : (int64_t)s->o.every_s;
	json_object_put(body);
	if (every < WATCH_LEAST || every > WATCH_MOST) {
		reply_bad_param(r, "every_s", "seconds from %d to %d", WATCH_LEAST, WATCH_MOST);
		return;
	}
	if (!api_who(s, q->args[0], true, &w, r))
		return;
	if (!w.running) {
		reply_error(r, 410, "gone", NULL, "the process has ended");
		return;
	}
	err = recorder_watch(s->recorder, w.id, every);
	if (err)
		reply_fail(r, err);
	else
		put_again(s, q, r);
}

void route_watch_delete(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_who_ struct who w = { 0 };
	struct seep_error *err;

	if (!api_who(s, q->args[0], false, &w, r))
		return;
	err = w.id ? recorder_watch(s->recorder, w.id, 0) : NULL;
	if (err)
		reply_fail(r, err);
	else
		put_again(s, q, r);
}
