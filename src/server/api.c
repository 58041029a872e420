/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api.h"

#include "server/jsonw.h"
#include "server/measure.h"
#include "server/recorder.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"

#include <inttypes.h>
#include <json.h>
#include <string.h>

#define NESTED 16

void who_release(struct who *w)
{
	store_process_release(&w->row);
}

static bool by_pid(struct server *s, const char *text, bool adopt, struct who *w, struct reply *r)
{
	struct subject subject;
	struct running run;
	struct seep_error *err;
	uint64_t pid;
	bool denied;

	if (parse_u64(text, &pid) < 0 || !pid || pid > INT32_MAX) {
		reply_error(r, 404, "not_found", NULL, "that is no pid");
		return false;
	}
	w->pid = (int32_t)pid;
	if (recorder_find_pid(s->recorder, w->pid, &subject)) {
		w->id = subject.id;
	} else if (adopt) {
		err = recorder_adopt(s->recorder, w->pid, &w->id);
		if (err) {
			reply_fail(r, err);
			return false;
		}
	} else if (running_read(w->pid, &run, &denied)) {
		running_free(&run);
		w->running = true;
		return true;
	} else {
		reply_error(r, denied ? 403 : 404, denied ? "no_permission" : "not_found",
		            denied ? "Run seep serve as its user, or as root." : NULL,
		            denied ? "process %d is not this user's" : "there is no process %d",
		            w->pid);
		return false;
	}
	return true;
}

bool api_who(struct server *s, const char *text, bool adopt, struct who *ret, struct reply *r)
{
	struct who w = { 0 };
	struct seep_error *err;
	uint64_t id = 0;
	bool found = false;

	if (!strncmp(text, "pid:", 4)) {
		if (!by_pid(s, text + 4, adopt, &w, r))
			return false;
	} else if (parse_u64(text, &id) == 0 && id <= INT64_MAX) {
		w.id = (int64_t)id;
	}
	if (w.id) {
		err = store_process_get(s->store, w.id, &w.row, &found);
		if (err) {
			reply_fail(r, err);
			return false;
		}
	} else if (w.running) {
		*ret = w;
		return true;
	}
	if (!found) {
		reply_error(r, 404, "not_found", "GET /api/v1/processes lists them.",
		            "there is no process %s", text);
		return false;
	}
	w.pid = w.row.pid;
	w.running = w.row.state && !strcmp(w.row.state, "running") &&
	            running_alive(w.row.pid, w.row.start_ticks);
	*ret = w;
	return true;
}

bool api_number(const char *text, const char *what, int64_t *ret, struct reply *r)
{
	uint64_t v;

	if (parse_u64(text, &v) < 0 || v > INT64_MAX) {
		reply_error(r, 404, "not_found", NULL, "there is no %s %s", what, text);
		return false;
	}
	*ret = (int64_t)v;
	return true;
}

struct json_object *api_body(const struct request *q, struct reply *r)
{
	struct json_tokener *t = json_tokener_new_ex(NESTED);
	struct json_object *o = NULL;

	if (t && q->body.len)
		o = json_tokener_parse_ex(t, q->body.data, (int)q->body.len);
	if (t && o && json_tokener_get_error(t) == json_tokener_success &&
	    json_object_is_type(o, json_type_object)) {
		json_tokener_free(t);
		return o;
	}
	json_tokener_free(t);
	json_object_put(o);
	reply_error(r, 400, "bad_request", NULL, "the body is no JSON object");
	return NULL;
}

struct json_object *api_member(struct json_object *o, const char *name, bool *ret_given)
{
	struct json_object *v = NULL;
	bool given = json_object_object_get_ex(o, name, &v);

	if (ret_given)
		*ret_given = given;
	return v;
}

struct jsonw api_json(struct reply *r)
{
	r->status = 200;
	r->type = "application/json";
	return (struct jsonw){ .out = &r->body };
}
