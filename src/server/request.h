/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request as the routes see it, and the answer they give.  Nothing here knows of sockets, so both can be made by tests and
 * fuzzers.  Everything in a request is hostile; strings have no NUL in them, because who makes a request refuses those.
 */
#ifndef SEEP_SERVER_REQUEST_H
#define SEEP_SERVER_REQUEST_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seep_error;

enum request_header {
	HEADER_HOST,
	HEADER_ORIGIN,
	HEADER_FETCH_SITE,
	HEADER_FETCH_MODE,
	HEADER_AUTHORIZATION,
	HEADER_COOKIE,
	HEADER_X_SEEP,
	HEADER_ACCEPT,
	HEADER_ACCEPT_ENCODING,
	HEADER_IF_NONE_MATCH,
	HEADER_CONTENT_TYPE,
	HEADER_USER_AGENT,
	REQUEST_NHEADERS
};
extern const char *const request_header_names[REQUEST_NHEADERS];

#define REQUEST_PARAMS 64  /* more are refused */
#define REQUEST_FILTERS 16 /* regexes of one kind */
#define REQUEST_ARGS 4

struct request_param {
	char *name, *value;
};

struct request {
	char method[8];
	char *path; /* decoded; begins with a slash */
	struct request_param params[REQUEST_PARAMS];
	size_t nparams;
	char *headers[REQUEST_NHEADERS]; /* NULL: not sent */
	struct buf body;
	int body_fd; /* of an upload: a file without a name; else -1 */
	uint64_t body_size;
	char *args[REQUEST_ARGS]; /* what the route's stars stand for */
	size_t nargs;
	bool local; /* the peer is on loopback */
	bool pack;  /* the answer may be packed with gzip: see reply_pack() */
};

void request_init(struct request *r);
void request_release(struct request *r);

/* False: too many, or no memory. */
bool request_add_param(struct request *r, const char *name, const char *value);
/* From an encoded query, "a=1&b=%20"; for tests and fuzzers (the HTTP library does the same).  False: too many or with NULs. */
bool request_parse_query(struct request *r, const char *query);
/* The first of that name; NULL: none, or empty. */
const char *request_param(const struct request *r, const char *name);
/* All of that name, at most `most`. */
size_t request_param_list(const struct request *r, const char *name, const char **ret, size_t most);
bool request_is_get(const struct request *r); /* GET or HEAD */

/*
 * Whether the path is of that pattern, "/api/v1/processes/STAR/timeline" with * for STAR: one part each, not empty, without
 * a slash; its parts become args.
 */
bool request_match(struct request *r, const char *pattern);

/* Whether the client can unpack gzip: what Accept-Encoding says of it (RFC 9110, 12.5.3). */
bool request_takes_gzip(const struct request *r);

/* What tells it from requests whose answer may be another; appended to `out`. */
void request_canonical(const struct request *r, struct buf *out);

/* ---- answers -------------------------------------------------------------------------------- */

struct reply {
	int status; /* 0: not answered yet */
	const char *type;
	struct buf body;
	const char *encoding;                       /* of the body; NULL none */
	char *location, *cookie, *file_name, *etag; /* headers; NULL none */
	bool keep;  /* the browser may keep it for good: its name changes with it */
	bool share; /* made of what does not change: others with the same question get the same */
	bool inline_style; /* a page of ours that has its script and style in it (reports) */
	unsigned int retry_s;
	/* Server-sent events instead of a body; the process they are of, 0: all. */
	bool events;
	int64_t events_of;
};

void reply_init(struct reply *r);
void reply_release(struct reply *r);

/* Each of these answers; the body before is dropped. */
void reply_error(struct reply *r, int status, const char *code, const char *hint, const char *fmt,
                 ...) __attribute__((format(printf, 5, 6)));
/* `parameter` is named in the answer, too. */
void reply_bad_param(struct reply *r, const char *parameter, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Frees err.  Status and code follow from its errno value: EACCES, ENOENT, ENOSPC, ESRCH... */
void reply_fail(struct reply *r, struct seep_error *err);
void reply_text(struct reply *r, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Packs a large body of text with gzip, when no other encoding is on it yet.  Without memory for that it stays as it is.
 */
void reply_pack(struct reply *r);

/* ---- numbers in parameters ------------------------------------------------------------------- */

/* Each is true when the parameter is not given (then *ret stays) or fine; else it answers and is false. */
bool request_int(const struct request *r, const char *name, int64_t least, int64_t most,
                 int64_t *ret, struct reply *reply);
bool request_bool(const struct request *r, const char *name, bool *ret, struct reply *reply);
bool request_real(const struct request *r, const char *name, double least, double most, double *ret,
                  struct reply *reply);

#endif
