/* SPDX-License-Identifier: Apache-2.0 */
/* The server itself: what it is, who may come in, the page, the events. */
#include "server/api.h"
#include "server/embed.h"
#include "server/jobs.h"
#include "server/jsonw.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <json.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void user_name(uint32_t uid, char *name, size_t size)
{
	char space[4096];
	struct passwd p, *found = NULL;

	if (getpwuid_r(uid, &p, space, sizeof(space), &found) == 0 && found)
		snprintf(name, size, "%s", found->pw_name);
	else
		snprintf(name, size, "%u", uid);
}

void route_server(struct server *s, struct request *q, struct reply *r)
{
	struct jsonw j = api_json(r);
	char user[64];

	(void)q;
	user_name(geteuid(), user, sizeof(user));
	jw_object(&j, NULL);
	jw_string(&j, "seep", SEEP_VERSION);
	jw_int(&j, "api", 1);
	jw_string(&j, "hostname", s->guard.hostname);
	jw_string(&j, "user", user);
	jw_int(&j, "uid", geteuid());
	jw_int(&j, "now_ms", server_now_ms());
	jw_int(&j, "started_ms", s->started_ms);
	jw_string(&j, "auth", *s->guard.token ? "token" : "none");
	jw_array(&j, "watching");
	for (size_t i = 0; i < s->o.nwatch; i++)
		jw_string(&j, NULL, s->o.watch[i]);
	jw_array_end(&j);
	jw_u64(&j, "every_s", s->o.every_s);
	jw_real(&j, "interval_s", (double)s->o.interval_ms / 1000);
	jw_object(&j, "commands");
	for (size_t i = 0; i < JOB_NKINDS; i++)
		jw_bool(&j, job_kinds[i].name, jobs_has_command(s->jobs, (enum job_kind)i));
	jw_object_end(&j);
	jw_object(&j, "store");
	jw_string(&j, "path", s->o.data);
	jw_u64(&j, "bytes", store_bytes(s->store));
	jw_u64(&j, "limit_bytes", s->o.max_size);
	pthread_mutex_lock(&s->lock);
	jw_string(&j, "error", s->store_error);
	pthread_mutex_unlock(&s->lock);
	jw_object_end(&j);
	jw_object(&j, "limits");
	jw_u64(&j, "upload_bytes", SERVER_UPLOAD);
	jw_u64(&j, "tree_nodes", SERVER_NODES);
	jw_u64(&j, "rows", SERVER_ROWS);
	jw_u64(&j, "points", SERVER_POINTS);
	jw_object_end(&j);
	jw_object_end(&j);
}

/* ---- coming in ------------------------------------------------------------------------------------------ */

static void set_cookie(struct server *s, struct reply *r)
{
	struct buf b = { 0 };

	buf_printf(&b, "seep_token=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000",
	           s->guard.token);
	r->cookie = buf_steal(&b);
}

void route_login(struct server *s, struct request *q, struct reply *r)
{
	struct json_object *body = api_body(q, r), *token;
	bool good;

	if (!body)
		return;
	token = api_member(body, "token", NULL);
	good = !*s->guard.token || (json_object_is_type(token, json_type_string) &&
	                            guard_token_ok(&s->guard, json_object_get_string(token)));
	json_object_put(body);
	if (!good) {
		reply_error(r, 401, "unauthorized", "seep serve printed it when it started.",
		            "that is not the token");
		return;
	}
	r->status = 204;
	if (*s->guard.token)
		set_cookie(s, r);
}

/* ---- the page ---------------------------------------------------------------------------------------------- */

static bool wants_html(const struct request *q)
{
	const char *accept = q->headers[HEADER_ACCEPT];

	return !accept || strstr(accept, "text/html") || strstr(accept, "*/*");
}

static void put_encoded(struct buf *b, const char *text, const char *plain)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c | 32u) - 'a' < 26u || c - (unsigned int)'0' < 10u || strchr(plain, c))
			buf_putc(b, (char)c);
		else
			buf_printf(b, "%%%02X", c);
	}
}

/* To the same URL without the token in it. */
static void redirect(struct request *q, struct reply *r)
{
	struct buf b = { 0 };
	char separator = '?';

	/* Never "//elsewhere": that would be a host. */
	buf_putc(&b, '/');
	put_encoded(&b, q->path + strspn(q->path, "/\\"), "/-_.~");
	for (size_t i = 0; i < q->nparams; i++) {
		if (!strcmp(q->params[i].name, "token"))
			continue;
		buf_putc(&b, separator);
		put_encoded(&b, q->params[i].name, "-_.~");
		buf_putc(&b, '=');
		put_encoded(&b, q->params[i].value, "-_.~");
		separator = '&';
	}
	r->location = buf_steal(&b);
	r->status = 303;
}

void route_page(struct server *s, struct request *q, struct reply *r)
{
	const struct embedded *file = embedded_find(q->path);
	const char *token = request_param(q, "token"), *last = strrchr(q->path, '/');

	if (token && *s->guard.token) {
		if (guard_token_ok(&s->guard, token))
			set_cookie(s, r);
		redirect(q, r);
		return;
	}
	if (!file && (strchr(last, '.') || !wants_html(q))) {
		reply_error(r, 404, "not_found", NULL, "there is nothing at this path");
		return;
	}
	if (!file)
		file = embedded_find("/index.html");
	r->status = 200;
	r->type = file->type;
	r->encoding = file->encoding;
	r->keep = file->hashed;
	buf_add(&r->body, file->data, file->len);
}

/* ---- events --------------------------------------------------------------------------------------------------- */

void route_events(struct server *s, struct request *q, struct reply *r)
{
	int64_t process = 0;

	(void)s;
	if (!request_int(q, "process", 1, INT64_MAX, &process, r))
		return;
	r->status = 200;
	r->events = true;
	r->events_of = process;
}
