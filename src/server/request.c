/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and replies: what routes are made of. */
#include "server/request.h"

#include "server/jsonw.h"

#include "format/gzip.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define PACK_LEAST 16384 /* smaller ones fit into a few packets anyway */
#define PACK_LEVEL \
	1 /* a sixth to a seventh of a tree's bytes; more effort gains little and takes twice as long */

const char *const request_header_names[REQUEST_NHEADERS] = {
	[HEADER_HOST] = "Host",
	[HEADER_ORIGIN] = "Origin",
	[HEADER_FETCH_SITE] = "Sec-Fetch-Site",
	[HEADER_FETCH_MODE] = "Sec-Fetch-Mode",
	[HEADER_AUTHORIZATION] = "Authorization",
	[HEADER_COOKIE] = "Cookie",
	[HEADER_X_SEEP] = "X-Seep",
	[HEADER_ACCEPT] = "Accept",
	[HEADER_ACCEPT_ENCODING] = "Accept-Encoding",
	[HEADER_IF_NONE_MATCH] = "If-None-Match",
	[HEADER_CONTENT_TYPE] = "Content-Type",
	[HEADER_USER_AGENT] = "User-Agent",
};

void request_init(struct request *r)
{
	memset(r, 0, sizeof(*r));
	r->body_fd = -1;
}

static void free_args(struct request *r)
{
	while (r->nargs)
		free(r->args[--r->nargs]);
}

void request_release(struct request *r)
{
	free(r->path);
	for (size_t i = 0; i < r->nparams; i++) {
		free(r->params[i].name);
		free(r->params[i].value);
	}
	for (size_t i = 0; i < REQUEST_NHEADERS; i++)
		free(r->headers[i]);
	free_args(r);
	buf_release(&r->body);
	if (r->body_fd >= 0)
		close(r->body_fd);
	request_init(r);
}

bool request_add_param(struct request *r, const char *name, const char *value)
{
	struct request_param p = { 0 };

	if (r->nparams == REQUEST_PARAMS)
		return false;
	if (str_copy(&p.name, name) < 0 || str_copy(&p.value, value ? value : "") < 0) {
		free(p.name);
		return false;
	}
	r->params[r->nparams++] = p;
	return true;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'                 ? c - '0'
	       : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
	                                            : -1;
}

/* In place; false: a NUL in it. */
static bool decode(char *s)
{
	char *to = s;

	for (; *s; s++) {
		int high = *s == '%' ? hex_digit(s[1]) : -1, low = high >= 0 ? hex_digit(s[2]) : -1;

		if (low >= 0) {
			*to = (char)(high << 4 | low);
			if (!*to)
				return false;
			s += 2;
		} else {
			*to = *s == '+' ? ' ' : *s;
		}
		to++;
	}
	*to = '\0';
	return true;
}

bool request_parse_query(struct request *r, const char *query)
{
	_cleanup_free_ char *copy = strdup(query);
	char *rest = copy, *part;

	if (!copy)
		return false;
	while ((part = strsep(&rest, "&"))) {
		char *value = strchr(part, '=');

		if (!*part)
			continue;
		if (value)
			*value++ = '\0';
		if (!decode(part) || (value && !decode(value)) || !request_add_param(r, part, value))
			return false;
	}
	return true;
}

const char *request_param(const struct request *r, const char *name)
{
	for (size_t i = 0; i < r->nparams; i++)
		if (!strcmp(r->params[i].name, name))
			return *r->params[i].value ? r->params[i].value : NULL;
	return NULL;
}

size_t request_param_list(const struct request *r, const char *name, const char **ret, size_t most)
{
	size_t n = 0;

	for (size_t i = 0; i < r->nparams && n < most; i++)
		if (!strcmp(r->params[i].name, name) && *r->params[i].value)
			ret[n++] = r->params[i].value;
	return n;
}

bool request_is_get(const struct request *r)
{
	return !strcmp(r->method, "GET") || !strcmp(r->method, "HEAD");
}

bool request_match(struct request *r, const char *pattern)
{
	const char *path = r->path;

	free_args(r);
	for (;;) {
		size_t want = strcspn(pattern, "/"), have = strcspn(path, "/");

		if (want == 1 && *pattern == '*') {
			if (!have || r->nargs == REQUEST_ARGS)
				break;
			r->args[r->nargs] = strndup(path, have);
			if (!r->args[r->nargs])
				break;
			r->nargs++;
		} else if (want != have || memcmp(pattern, path, want) != 0) {
			break;
		}
		pattern += want;
		path += have;
		if (!*pattern || !*path) {
			if (!*pattern && !*path)
				return true;
			break;
		}
		pattern++;
		path++;
	}
	free_args(r);
	return false;
}

static int by_name(const void *a, const void *b)
{
	const struct request_param *const *x = a, *const *y = b;
	int names = strcmp((*x)->name, (*y)->name);

	/* Those of one name keep their order: focus=a&focus=b is the same question as focus=b&focus=a, but first ones count. */
	return names ? names : *x < *y ? -1 : *x > *y;
}

/* Length before content: no value can look like another parameter. */
bool request_takes_gzip(const struct request *r)
{
	const char *at = r->headers[HEADER_ACCEPT_ENCODING];
	bool any = false;

	while (at && *at) {
		size_t len, name;
		const char *q;
		bool wanted;

		at += strspn(at, ", \t");
		len = strcspn(at, ",");
		name = strcspn(at, ",; \t");
		q = memchr(at, '=', len);
		wanted = !q || strtod(q + 1, NULL) > 0;
		if (name == 4 && !strncasecmp(at, "gzip", 4))
			return wanted;
		if (name == 1 && *at == '*')
			any = wanted; /* of those that are not named */
		at += len;
	}
	return any;
}

void request_canonical(const struct request *r, struct buf *out)
{
	const struct request_param *sorted[REQUEST_PARAMS];

	for (size_t i = 0; i < r->nparams; i++)
		sorted[i] = &r->params[i];
	qsort(sorted, r->nparams, sizeof(*sorted), by_name);
	buf_printf(out, "%zu %s", strlen(r->path), r->path);
	for (size_t i = 0; i < r->nparams; i++)
		buf_printf(out, " %zu %s %zu %s", strlen(sorted[i]->name), sorted[i]->name,
		           strlen(sorted[i]->value), sorted[i]->value);
	if (r->pack)
		buf_puts(out, " packed");
}

/* ---- answers ---------------------------------------------------------------------------------- */

void reply_init(struct reply *r)
{
	memset(r, 0, sizeof(*r));
}

static bool is_text(const char *type)
{
	return type && (!strncmp(type, "application/json", 16) || !strncmp(type, "text/", 5) ||
	                !strncmp(type, "image/svg+xml", 13));
}

void reply_pack(struct reply *r)
{
	struct buf packed = { 0 };

	if (r->encoding || r->body.len < PACK_LEAST || !is_text(r->type))
		return;
	if (gzip_pack(&r->body, PACK_LEVEL, &packed) < 0) {
		buf_release(&packed);
		return;
	}
	buf_release(&r->body);
	r->body = packed;
	r->encoding = "gzip";
}

void reply_release(struct reply *r)
{
	buf_release(&r->body);
	free(r->location);
	free(r->cookie);
	free(r->file_name);
	free(r->etag);
	reply_init(r);
}

static void put_error(struct reply *r, int status, const char *code, const char *message,
                      const char *hint, const char *parameter)
{
	struct jsonw j = { .out = &r->body };

	reply_release(r);
	r->status = status;
	r->type = "application/json";
	r->retry_s = status == 429 || status == 503 ? 2 : 0;
	jw_object(&j, NULL);
	jw_object(&j, "error");
	jw_string(&j, "code", code);
	jw_string(&j, "message", message);
	jw_string(&j, "hint", hint);
	if (parameter)
		jw_string(&j, "parameter", parameter);
	jw_object_end(&j);
	jw_object_end(&j);
}

void reply_error(struct reply *r, int status, const char *code, const char *hint, const char *fmt,
                 ...)
{
	_cleanup_buf_ struct buf message = { 0 };
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&message, fmt, ap);
	va_end(ap);
	put_error(r, status, code, message.data, hint, NULL);
}

void reply_bad_param(struct reply *r, const char *parameter, const char *fmt, ...)
{
	_cleanup_buf_ struct buf message = { 0 };
	va_list ap;

	buf_printf(&message, "%s: ", parameter);
	va_start(ap, fmt);
	buf_vprintf(&message, fmt, ap);
	va_end(ap);
	put_error(r, 400, "bad_parameter", message.data, NULL, parameter);
}

void reply_fail(struct reply *r, struct seep_error *err)
{
	static const struct {
		int code, status;
		const char *name;
	} known[] = {
		{ EACCES, 403, "no_permission" }, { EPERM, 403, "no_permission" },
		{ ESRCH, 410, "gone" },           { ENOENT, 404, "not_found" },
		{ ENOSPC, 503, "store" },         { EIO, 503, "store" },
		{ EBADMSG, 422, "unreadable" },   { ETIMEDOUT, 504, "timeout" },
		{ EINVAL, 400, "bad_request" },   { EBUSY, 409, "conflict" },
		{ ENOSYS, 501, "unavailable" },   { EAGAIN, 429, "busy" },
		{ EFBIG, 413, "too_large" },
	};
	size_t i = 0;

	while (i < ARRAY_SIZE(known) && known[i].code != err->code)
		i++;
	if (i < ARRAY_SIZE(known))
		put_error(r, known[i].status, known[i].name, err->message, err->hint, NULL);
	else
		put_error(r, 500, "failed", err->message, err->hint, NULL);
	seep_error_free(err);
}

void reply_text(struct reply *r, int status, const char *fmt, ...)
{
	va_list ap;

	reply_release(r);
	r->status = status;
	r->type = "text/plain; charset=utf-8";
	va_start(ap, fmt);
	buf_vprintf(&r->body, fmt, ap);
	va_end(ap);
}

/* ---- numbers ------------------------------------------------------------------------------------ */

bool request_int(const struct request *r, const char *name, int64_t least, int64_t most,
                 int64_t *ret, struct reply *reply)
{
	const char *text = request_param(r, name);
	char *end;
	long long v;

	if (!text)
		return true;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno || end == text || *end || v < least || v > most) {
		reply_bad_param(reply, name, "a whole number from %lld to %lld", (long long)least,
		                (long long)most);
		return false;
	}
	*ret = v;
	return true;
}

bool request_bool(const struct request *r, const char *name, bool *ret, struct reply *reply)
{
	int64_t v = *ret;

	if (!request_int(r, name, 0, 1, &v, reply))
		return false;
	*ret = v != 0;
	return true;
}

bool request_real(const struct request *r, const char *name, double least, double most, double *ret,
                  struct reply *reply)
{
	const char *text = request_param(r, name);
	char *end;
	double v;

	if (!text)
		return true;
	v = strtod(text, &end);
	if (end == text || *end || !isfinite(v) || v < least || v > most) {
		reply_bad_param(reply, name, "a number from %g to %g", least, most);
		return false;
	}
	*ret = v;
	return true;
}
