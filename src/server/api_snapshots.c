/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: lists, labels, uploads. */
#include "server/api.h"
#include "server/child.h"
#include "server/events.h"
#include "server/jsonw.h"
#include "server/profiles.h"
#include "server/snapshots.h"

#include "analysis/names.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "format/format.h"
#include "profile/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONVERT_TIMEOUT_MS 120000
#define WARNINGS 20
#define UPLOAD_PATH "/proc/self/fd/3"

void snapshot_put(struct jsonw *j, const char *key, const struct store_snapshot *s, int64_t baseline)
{
	jw_object(j, key);
	jw_int(j, "id", s->id);
	jw_int(j, "process", s->process);
	jw_int(j, "time_ms", s->time_ms);
	jw_string(j, "reason", s->reason);
	jw_string(j, "label", s->label);
	jw_bool(j, "pinned", s->pinned);
	jw_bool(j, "baseline", s->id == baseline);
	jw_string(j, "format", s->format);
	jw_bool(j, "sampled", s->sampled);
	jw_u64(j, "period", s->period);
	jw_string(j, "state", s->state);
	jw_u64(j, "inuse_bytes", s->inuse_bytes);
	jw_u64(j, "inuse_blocks", s->inuse_blocks);
	jw_u64(j, "alloc_bytes", s->alloc_bytes);
	jw_u64(j, "alloc_blocks", s->alloc_blocks);
	jw_u64(j, "peak_bytes", s->peak_bytes);
	jw_int(j, "rss_bytes", s->rss_bytes);
	jw_u64(j, "sites", s->sites);
	jw_bool(j, "has_blocks", s->has_blocks);
	jw_u64(j, "stored_bytes", s->stored_bytes);
	jw_object_end(j);
}

void snapshot_announce(struct server *s, int64_t id)
{
	_cleanup_store_snapshot_ struct store_snapshot snap = { 0 };
	_cleanup_buf_ struct buf text = { 0 };
	struct jsonw j = { .out = &text };
	bool found = false;
	struct seep_error *err = store_snapshot_get(s->store, id, &snap, &found);

	if (!err && found) {
		snapshot_put(&j, NULL, &snap, 0);
		events_send(s->events, 0, "snapshot", &text);
	}
	seep_error_free(err);
}

void route_snapshots(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_who_ struct who w = { 0 };
	_cleanup_store_snapshots_ struct store_snapshots l = { 0 };
	int64_t limit = 500, before = STORE_NONE;
	struct seep_error *err;
	struct jsonw j;

	if (!request_int(q, "limit", 1, SERVER_ROWS, &limit, r) ||
	    !request_int(q, "before", 0, INT64_MAX, &before, r) ||
	    !api_who(s, q->args[0], false, &w, r))
		return;
	err = w.id ? store_snapshot_list(s->reader, w.id, before, (size_t)limit, &l) : NULL;
	if (err) {
		reply_fail(r, err);
		return;
	}
	j = api_json(r);
	jw_object(&j, NULL);
	jw_array(&j, "snapshots");
	for (size_t i = 0; i < l.n; i++)
		snapshot_put(&j, NULL, &l.items[i], w.row.baseline);
	jw_array_end(&j);
	jw_object_end(&j);
}

/* The one a path names, and its process's baseline; false: answered. */
static bool find(struct server *s, struct request *q, struct store_snapshot *ret,
                 int64_t *ret_baseline, struct reply *r)
{
	struct seep_error *err;
	bool found = false;
	int64_t id;

	if (!api_number(q->args[0], "snapshot", &id, r))
		return false;
	err = store_snapshot_get(s->store, id, ret, &found);
	if (!err && found)
		err = store_snapshot_find(s->store, ret->process, STORE_BASELINE, 0, ret_baseline);
	if (err) {
		reply_fail(r, err);
		return false;
	}
	if (!found)
		reply_error(r, 404, "not_found", NULL, "there is no snapshot %" PRId64, id);
	return found;
}

void route_snapshot(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_store_snapshot_ struct store_snapshot snap = { 0 };
	int64_t baseline = 0;
	struct jsonw j;

	if (!find(s, q, &snap, &baseline, r))
		return;
	j = api_json(r);
	snapshot_put(&j, NULL, &snap, baseline);
}

void route_snapshot_patch(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_store_snapshot_ struct store_snapshot snap = { 0 };
	struct json_object *body, *v;
	struct seep_error *err = NULL;
	int64_t baseline = 0;
	bool given;

	if (!find(s, q, &snap, &baseline, r) || !(body = api_body(q, r)))
		return;
	v = api_member(body, "label", &given);
	if (given)
		err = store_snapshot_label(s->store, snap.id, v ? json_object_get_string(v) : NULL);
	v = api_member(body, "pinned", &given);
	if (!err && given)
		err = store_snapshot_pin(s->store, snap.id, v && json_object_get_boolean(v));
	json_object_put(body);
	store_snapshot_release(&snap);
	if (err)
		reply_fail(r, err);
	else
		route_snapshot(s, q, r);
}

void route_snapshot_delete(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_store_snapshot_ struct store_snapshot snap = { 0 };
	_cleanup_buf_ struct buf text = { 0 };
	struct jsonw j = { .out = &text };
	struct seep_error *err;
	int64_t baseline = 0;

	if (!find(s, q, &snap, &baseline, r))
		return;
	if (snap.pinned) {
		reply_error(r, 409, "conflict", "Unpin it first.", "snapshot %" PRId64 " is pinned",
		            snap.id);
		return;
	}
	err = store_snapshot_delete(s->store, snap.id);
	if (err) {
		reply_fail(r, err);
		return;
	}
	jw_object(&j, NULL);
	jw_int(&j, "id", snap.id);
	jw_int(&j, "process", snap.process);
	jw_bool(&j, "deleted", true);
	jw_object_end(&j);
	events_send(s->events, 0, "snapshot", &text);
	r->status = 204;
}

/* ---- uploads -------------------------------------------------------------------------------------------------- */

struct uploaded {
	struct buf file;
	struct profile *profile;
	char *warnings[WARNINGS];
	size_t nwarnings;
};

static void uploaded_release(struct uploaded *u)
{
	buf_release(&u->file);
	profile_free(u->profile);
	for (size_t i = 0; i < u->nwarnings; i++)
		free(u->warnings[i]);
}

static void on_warning(void *arg, const char *text)
{
	struct uploaded *u = arg;

	if (!strncmp(text, "seep export: ", 13))
		text += 13;
	if (*text == '\033' || u->nwarnings == WARNINGS)
		return;
	u->warnings[u->nwarnings] = strdup(text);
	u->nwarnings += u->warnings[u->nwarnings] != NULL;
}

/* Whatever it is, a child reads it: that is where hostile files end. */
static struct seep_error *convert(struct server *s, int fd, struct uploaded *u)
{
	static atomic_uint number;
	_cleanup_child_ struct child_result run = { 0 };
	_cleanup_close_ int out = -1;
	struct seep_error *err;
	struct child c = { .program = s->o.program,
		           .timeout_ms = CONVERT_TIMEOUT_MS,
		           .most_out = 65536,
		           .inherit = fd,
		           .line = on_warning,
		           .arg = u };
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/upload-%u.seep", s->tmp, atomic_fetch_add(&number, 1));
	c.args[0] = "export";
	c.args[1] = "--no-debuginfod";
	c.args[2] = "-o";
	c.args[3] = path;
	c.args[4] = UPLOAD_PATH;
	err = child_run(&c, &run);
	if (!err && run.status)
		err = child_error(&c, &run);
	if (!err && ((out = open(path, O_RDONLY | O_CLOEXEC)) < 0 || fstat(out, &st) < 0))
		err = seep_error_new(errno, "cannot read what the upload became");
	unlink(path);
	if (!err && buf_reserve(&u->file, (size_t)st.st_size) < 0)
		err = &seep_error_nomem;
	while (!err && u->file.len < (size_t)st.st_size) {
		ssize_t n = read(out, u->file.data + u->file.len, (size_t)st.st_size - u->file.len);

		if (n <= 0)
			err = seep_error_new(errno, "cannot read what the upload became");
		else
			u->file.len += (size_t)n;
	}
	if (!err)
		return profiles_read(u->file.data, u->file.len, &u->profile);
	if (err == &seep_error_nomem || err->code == ENOSPC)
		return err;
	/* The child knows it by another name. */
	if (!strncmp(err->message, UPLOAD_PATH, strlen(UPLOAD_PATH))) {
		struct seep_error *named =
			seep_error_new(0, "the upload%s", err->message + strlen(UPLOAD_PATH));

		if (err->hint)
			named = seep_error_hint(named, "%s", err->hint);
		seep_error_free(err);
		err = named;
	}
	return seep_error_set_code(err, EBADMSG);
}

/* What it was before it was converted. */
static const char *format_of(int fd, const struct profile *p)
{
	_cleanup_free_ char *head = malloc(FORMAT_PROBE_BYTES);
	ssize_t n = head ? pread(fd, head, FORMAT_PROBE_BYTES, 0) : -1;
	const struct format *f = n > 0 ? format_probe(head, (size_t)n) : NULL;

	return f ? f->name : p->format;
}

static struct seep_error *keep(struct server *s, const struct uploaded *u, const char *name,
                               const char *label, int64_t *ret_process, int64_t *ret_snapshot)
{
	const struct profile *p = u->profile;
	struct store_process row = {
		.pid = p->pid,
		.start_ticks = (uint64_t)server_now_ms(), /* no two uploads are one process */
		.started_ms = p->start_real_ns ? (int64_t)(p->start_real_ns / 1000000) : STORE_NONE,
		.name = (char *)(p->exe && *p->exe ? path_base(p->exe) : name),
		.command = p->command && *p->command ? p->command : (char *)name,
		.exe = p->exe,
		.allocator = p->allocator,
		.uid = geteuid(),
		.tracked = true,
		.sampled = p->sampled,
		.period = p->period,
	};
	struct seep_error *err = store_process_put(s->store, &row, ret_process);

	if (!err)
		err = profiles_store(s, *ret_process, p, &u->file, name, label, false, STORE_NONE,
		                     ret_snapshot);
	return err;
}

void route_upload(struct server *s, struct request *q, struct reply *r)
{
	const char *name = request_param(q, "name"), *label = request_param(q, "label");
	struct uploaded u = { 0 };
	int64_t process = 0, snapshot = 0;
	struct seep_error *err;
	struct jsonw j;

	if (!q->body_size) {
		reply_error(r, 400, "bad_request", "The file is the body of the request.",
		            "nothing was uploaded");
		return;
	}
	err = convert(s, q->body_fd, &u);
	if (!err)
		err = keep(s, &u, name ? name : "upload", label, &process, &snapshot);
	if (err) {
		reply_fail(r, err);
	} else {
		snapshot_announce(s, snapshot);
		j = api_json(r);
		r->status = 201;
		jw_object(&j, NULL);
		jw_int(&j, "process", process);
		jw_int(&j, "snapshot", snapshot);
		jw_string(&j, "format", format_of(q->body_fd, u.profile));
		jw_array(&j, "warnings");
		for (size_t i = 0; i < u.nwarnings; i++)
			jw_string(&j, NULL, u.warnings[i]);
		jw_array_end(&j);
		jw_object_end(&j);
	}
	uploaded_release(&u);
}
