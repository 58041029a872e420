/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request goes this way, all but the middle on the network thread:
 *
 *     uri_log      the exchange is made; a path with a NUL in it is marked
 *     access (1)   method, headers and parameters are copied, the guard and the routes asked
 *     access (2…)  the body, bounded
 *     access (n)   answered here (quick routes) or by a worker: suspend … resume
 *     access (n+1) the response is queued
 *     completed    the exchange is freed
 *
 * Everything is copied out of libmicrohttpd before a worker sees it: a connection may end while it is suspended, and then its
 * exchange waits for the worker, not the other way round.
 */
#include "server/http.h"

#include "server/events.h"
#include "server/listen.h"
#include "server/private.h"
#include "server/work.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IDLE_S 60
#define EVENTS_CHUNK 16384
#define SPOOLED 2 /* uploads at once */

/* WebAssembly is how the page lays out call graphs; it is ours, too, and no eval of text. */
static const char page_policy[] =
	"default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; "
	"connect-src 'self'; font-src 'self'; worker-src 'self'; manifest-src 'self'; "
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/* A report is one file with its script in it.  It may do nothing but show itself: not even ask this server. */
static const char report_policy[] =
	"sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
	"style-src 'unsafe-inline'; img-src data:; frame-src data: blob: 'self'; "
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct link { /* one connection, from accept to close */
	struct link *next, **at;
	int fd;
	time_t deadline; /* 0: nothing is awaited from the peer */
	bool local;
};

struct http {
	struct server *server;
	struct MHD_Daemon *daemon;
	int listen_fd;
	pthread_mutex_t lock; /* of the links */
	struct link *links;
	unsigned int nlinks, spooling;
	bool started;
};

struct exchange {
	struct http *http;
	struct MHD_Connection *connection;
	const struct route *route;
	struct request request;
	struct reply reply; /* made on the network thread */
	bool bad_path, begun, replied, refused, spool, head;
	pthread_mutex_t lock;
	bool suspended;
	struct work_answer *answer;
	bool answered; /* by a worker; answer NULL: the server ends */
	struct listener *listener;
	int64_t events_of;
};

static time_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* ---- connections ------------------------------------------------------------------------------------ */

static bool is_local(const struct sockaddr *a)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)a;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;

	if (!a)
		return false;
	if (a->sa_family == AF_INET)
		return ntohl(four->sin_addr.s_addr) >> 24 == 127;
	return a->sa_family == AF_INET6 &&
	       (IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) ||
	        (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) && six->sin6_addr.s6_addr[12] == 127));
}

static void on_connection(void *arg, struct MHD_Connection *c, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *info;
	struct http *h = arg;
	struct link *l = *context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		l = calloc(1, sizeof(*l));
		if (!l)
			return;
		info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
		l->fd = info ? info->connect_fd : -1;
		info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
		l->local = info && is_local(info->client_addr);
		l->deadline = now_s() + HTTP_PATIENCE_S;
		pthread_mutex_lock(&h->lock);
		l->next = h->links;
		l->at = &h->links;
		if (l->next)
			l->next->at = &l->next;
		h->links = l;
		h->nlinks++;
		pthread_mutex_unlock(&h->lock);
		*context = l;
	} else if (l) {
		pthread_mutex_lock(&h->lock);
		*l->at = l->next;
		if (l->next)
			l->next->at = l->at;
		h->nlinks--;
		pthread_mutex_unlock(&h->lock);
		free(l);
		*context = NULL;
	}
}

static struct link *link_of(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void set_deadline(struct http *h, struct MHD_Connection *c, time_t deadline)
{
	struct link *l = link_of(c);

	pthread_mutex_lock(&h->lock);
	if (l)
		l->deadline = deadline;
	pthread_mutex_unlock(&h->lock);
}

void http_sweep(struct http *h)
{
	time_t now = now_s();

	/* A link is in the list as long as its descriptor is open. */
	pthread_mutex_lock(&h->lock);
	for (struct link *l = h->links; l; l = l->next)
		if (l->deadline && now > l->deadline && l->fd >= 0)
			shutdown(l->fd, SHUT_RDWR);
	pthread_mutex_unlock(&h->lock);
}

unsigned int http_connections(struct http *h)
{
	unsigned int n;

	pthread_mutex_lock(&h->lock);
	n = h->nlinks;
	pthread_mutex_unlock(&h->lock);
	return n;
}

/* ---- requests --------------------------------------------------------------------------------------- */

static void *on_uri(void *arg, const char *uri, struct MHD_Connection *c)
{
	struct exchange *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->http = arg;
	x->connection = c;
	x->bad_path = strstr(uri, "%00") != NULL;
	pthread_mutex_init(&x->lock, NULL);
	request_init(&x->request);
	reply_init(&x->reply);
	return x;
}

static void exchange_free(struct exchange *x)
{
	if (x->listener)
		events_leave(x->http->server->events, x->listener);
	if (x->spool) {
		pthread_mutex_lock(&x->http->lock);
		x->http->spooling--;
		pthread_mutex_unlock(&x->http->lock);
	}
	work_answer_release(x->answer);
	request_release(&x->request);
	reply_release(&x->reply);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

static enum MHD_Result on_param(void *arg, enum MHD_ValueKind kind, const char *key,
                                size_t key_size, const char *value, size_t value_size)
{
	struct exchange *x = arg;

	(void)kind;
	if (strlen(key) != key_size || (value && strlen(value) != value_size) ||
	    !request_add_param(&x->request, key, value))
		x->bad_path = true;
	return MHD_YES;
}

static void take_headers(struct exchange *x)
{
	struct link *l = link_of(x->connection);

	for (size_t i = 0; i < REQUEST_NHEADERS; i++) {
		const char *v = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND,
		                                            request_header_names[i]);

		if (v && !(x->request.headers[i] = strdup(v)))
			x->bad_path = true;
	}
	x->request.local = l && l->local;
	/* On this machine it would cost more than it saves. */
	x->request.pack = !x->request.local && request_takes_gzip(&x->request);
}

static uint64_t content_length(struct exchange *x)
{
	const char *v =
		MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "Content-Length");

	return v ? strtoull(v, NULL, 10) : 0;
}

static void refuse_size(struct exchange *x, uint64_t limit)
{
	reply_error(&x->reply, 413, "too_large", NULL, "a body of more than %llu bytes",
	            (unsigned long long)limit);
	x->refused = true;
}

static int open_spool(const char *dir)
{
	char path[4096];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if ((size_t)snprintf(path, sizeof(path), "%s/upload-XXXXXX", dir) >= sizeof(path))
		return -1;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static void begin_upload(struct exchange *x)
{
	struct http *h = x->http;

	pthread_mutex_lock(&h->lock);
	x->spool = h->spooling < SPOOLED;
	h->spooling += x->spool;
	pthread_mutex_unlock(&h->lock);
	if (x->spool)
		x->request.body_fd = open_spool(h->server->tmp);
	if (x->request.body_fd < 0) {
		reply_error(&x->reply, x->spool ? 503 : 429, x->spool ? "store" : "busy", NULL,
		            x->spool ? "there is no room for an upload"
		                     : "other uploads are going on");
		x->refused = true;
	}
}

/* All but the body is here. */
static void begin(struct exchange *x, const char *url, const char *method)
{
	struct server *s = x->http->server;
	bool upload;

	x->begun = true;
	x->head = !strcmp(method, "HEAD");
	MHD_get_connection_values_n(x->connection, MHD_GET_ARGUMENT_KIND, on_param, x);
	take_headers(x);
	x->request.path = strdup(url);
	snprintf(x->request.method, sizeof(x->request.method), "%s", method);
	if (x->bad_path || !x->request.path || *url != '/') {
		reply_error(&x->reply, 400, "bad_request", NULL, "that is no request of this API");
		x->refused = true;
		return;
	}
	x->route = route_find(&x->request, &x->reply);
	if (!x->route || !guard_request(&s->guard, &x->request, x->route->guard, &x->reply)) {
		x->refused = true;
		return;
	}
	upload = x->route->flags & ROUTE_UPLOAD;
	if (content_length(x) > (upload ? SERVER_UPLOAD : SERVER_SMALL_BODY))
		refuse_size(x, upload ? SERVER_UPLOAD : SERVER_SMALL_BODY);
	else if (upload)
		begin_upload(x);
	set_deadline(x->http, x->connection, now_s() + (upload ? HTTP_UPLOAD_S : HTTP_PATIENCE_S));
}

static void take_body(struct exchange *x, const char *data, size_t size)
{
	struct request *q = &x->request;

	if (x->refused)
		return;
	q->body_size += size;
	if (q->body_size > (x->spool ? SERVER_UPLOAD : SERVER_SMALL_BODY)) {
		refuse_size(x, x->spool ? SERVER_UPLOAD : SERVER_SMALL_BODY);
		return;
	}
	if (!x->spool) {
		buf_add(&q->body, data, size);
		return;
	}
	while (size) {
		ssize_t n = write(q->body_fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			reply_error(&x->reply, 503, "store", NULL, "there is no room for an upload");
			x->refused = true;
			return;
		}
		data += n;
		size -= (size_t)n;
	}
}

/* ---- responses ---------------------------------------------------------------------------------------- */

static void add(struct MHD_Response *m, const char *name, const char *value)
{
	if (value)
		MHD_add_response_header(m, name, value);
}

static void add_headers(struct MHD_Response *m, const struct reply *r)
{
	char text[300];
	bool html = r->type && !strncmp(r->type, "text/html", 9);

	add(m, "Content-Type", r->type);
	add(m, "Content-Encoding", r->encoding);
	if (r->encoding)
		add(m, "Vary", "Accept-Encoding");
	add(m, "Location", r->location);
	add(m, "Set-Cookie", r->cookie);
	add(m, "ETag", r->etag);
	add(m, "Cache-Control",
	    r->keep ? "private, max-age=31536000, immutable" : "no-cache, private");
	add(m, "X-Content-Type-Options", "nosniff");
	add(m, "X-Frame-Options", "DENY");
	add(m, "Referrer-Policy", "no-referrer");
	add(m, "Cross-Origin-Opener-Policy", "same-origin");
	add(m, "Cross-Origin-Resource-Policy", "same-origin");
	add(m, "Content-Security-Policy",
	    r->inline_style ? report_policy
	    : html          ? page_policy
	                    : "default-src 'none'; frame-ancestors 'none'");
	if (r->file_name) {
		snprintf(text, sizeof(text), "attachment; filename=\"%s\"", r->file_name);
		add(m, "Content-Disposition", text);
	}
	if (r->retry_s) {
		snprintf(text, sizeof(text), "%u", r->retry_s);
		add(m, "Retry-After", text);
	}
	if (r->status == 401)
		add(m, "WWW-Authenticate", "Bearer");
}

/* The reply's bytes must stay until the response is destroyed. */
static void *make_response(const struct reply *r)
{
	struct MHD_Response *m = MHD_create_response_from_buffer(
		r->body.len, r->body.data ? r->body.data : (char *)"", MHD_RESPMEM_PERSISTENT);

	if (m)
		add_headers(m, r);
	return m;
}

static void drop_response(void *m)
{
	MHD_destroy_response(m);
}

static enum MHD_Result queue_error(struct exchange *x)
{
	struct MHD_Response *m =
		MHD_create_response_from_buffer(0, (char *)"", MHD_RESPMEM_PERSISTENT);
	enum MHD_Result r;

	if (!m)
		return MHD_NO;
	r = MHD_queue_response(x->connection, 503, m);
	MHD_destroy_response(m);
	return r;
}

/* One that outlives the exchange: the bytes are the response's. */
static enum MHD_Result queue_own(struct exchange *x)
{
	struct MHD_Response *m;
	enum MHD_Result r;

	if (x->reply.body.len)
		m = MHD_create_response_from_buffer_with_free_callback(x->reply.body.len,
		                                                       x->reply.body.data, free);
	else
		m = MHD_create_response_from_buffer(0, (char *)"", MHD_RESPMEM_PERSISTENT);
	if (!m)
		return MHD_NO;
	if (x->reply.body.len)
		x->reply.body = (struct buf){ 0 };
	add_headers(m, &x->reply);
	/* What was refused before its body had come: the rest of it is not waited for. */
	if (x->refused && content_length(x) > 0)
		add(m, "Connection", "close");
	r = MHD_queue_response(x->connection, (unsigned int)x->reply.status, m);
	MHD_destroy_response(m);
	return r;
}

static enum MHD_Result queue_not_modified(struct exchange *x, const char *etag)
{
	struct MHD_Response *m =
		MHD_create_response_from_buffer(0, (char *)"", MHD_RESPMEM_PERSISTENT);
	enum MHD_Result r;

	if (!m)
		return MHD_NO;
	add(m, "ETag", etag);
	add(m, "Cache-Control", "no-cache, private");
	r = MHD_queue_response(x->connection, 304, m);
	MHD_destroy_response(m);
	return r;
}

static enum MHD_Result queue_answer(struct exchange *x)
{
	const struct reply *r;
	struct MHD_Response *m;

	if (!x->answer)
		return queue_error(x);
	r = work_answer_reply(x->answer);
	if (r->etag && x->request.headers[HEADER_IF_NONE_MATCH] &&
	    !strcmp(r->etag, x->request.headers[HEADER_IF_NONE_MATCH]))
		return queue_not_modified(x, r->etag);
	m = work_answer_shared(x->answer, make_response, drop_response);
	return m ? MHD_queue_response(x->connection, (unsigned int)r->status, m) : MHD_NO;
}

/* ---- events ---------------------------------------------------------------------------------------------- */

/* Both under the hub's lock: going to sleep and being woken cannot pass each other. */
static void events_sleep(void *arg)
{
	struct exchange *x = arg;

	MHD_suspend_connection(x->connection);
}

static void events_wake(void *arg)
{
	struct exchange *x = arg;

	MHD_resume_connection(x->connection);
}

static ssize_t events_read(void *arg, uint64_t pos, char *to, size_t most)
{
	struct exchange *x = arg;
	long n = events_take(x->http->server->events, x->listener, to, most, events_sleep);

	(void)pos;
	return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

static enum MHD_Result queue_events(struct exchange *x)
{
	struct server *s = x->http->server;
	struct MHD_Response *m;
	enum MHD_Result r;
	char hello[128];
	struct buf json = { 0 };

	x->listener = events_listen(s->events, x->reply.events_of, events_wake, x);
	if (!x->listener) {
		reply_error(&x->reply, 429, "busy", NULL, "too many pages listen already");
		return queue_own(x);
	}
	m = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, EVENTS_CHUNK, events_read, x, NULL);
	if (!m)
		return MHD_NO;
	x->reply.type = "text/event-stream";
	add_headers(m, &x->reply);
	snprintf(hello, sizeof(hello), "{\"now_ms\":%lld,\"started_ms\":%lld}",
	         (long long)server_now_ms(), (long long)s->started_ms);
	buf_puts(&json, hello);
	/* To this one first of all; others know it already, and it does them no harm. */
	events_send(s->events, 0, "hello", &json);
	buf_release(&json);
	r = MHD_queue_response(x->connection, 200, m);
	MHD_destroy_response(m);
	return r;
}

/* ---- the handler ------------------------------------------------------------------------------------------- */

/* A worker has answered. */
static void on_answer(void *arg, struct work_answer *answer)
{
	struct exchange *x = arg;

	pthread_mutex_lock(&x->lock);
	x->answer = answer;
	x->answered = true;
	pthread_mutex_unlock(&x->lock);
	MHD_resume_connection(x->connection);
}

static enum MHD_Result reply_now(struct exchange *x)
{
	x->replied = true;
	if (x->reply.events)
		return queue_events(x);
	return queue_own(x);
}

static enum MHD_Result answer(struct exchange *x)
{
	struct server *s = x->http->server;
	struct request copy = { 0 };

	set_deadline(x->http, x->connection, 0);
	if (x->refused)
		return reply_now(x);
	if (x->route->flags & ROUTE_QUICK) {
		x->route->run(s, &x->request, &x->reply);
		return reply_now(x);
	}
	/* The worker's own; of the headers, what is needed afterwards stays here. */
	copy = x->request;
	request_init(&x->request);
	if (copy.headers[HEADER_IF_NONE_MATCH])
		x->request.headers[HEADER_IF_NONE_MATCH] =
			strdup(copy.headers[HEADER_IF_NONE_MATCH]);
	x->suspended = true;
	MHD_suspend_connection(x->connection);
	if (work_submit(s->work, x->route, &copy, on_answer, x))
		return MHD_YES;
	request_release(&copy);
	x->suspended = false;
	MHD_resume_connection(x->connection);
	reply_error(&x->reply, 429, "busy", NULL, "too many requests are waiting");
	x->refused = true;
	return MHD_YES;
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *c, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **context)
{
	struct exchange *x = *context;
	bool answered;

	(void)arg;
	(void)c;
	(void)version;
	if (!x)
		return MHD_NO;
	if (!x->begun) {
		begin(x, url, method);
		/* Refused with a body still to come: said at once, before it comes. */
		return x->refused && content_length(x) > 0 ? reply_now(x) : MHD_YES;
	}
	if (x->replied)
		return MHD_YES;
	if (*size) {
		take_body(x, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (!x->suspended)
		return answer(x);
	pthread_mutex_lock(&x->lock);
	answered = x->answered;
	pthread_mutex_unlock(&x->lock);
	if (!answered)
		return MHD_YES;
	x->replied = true;
	return queue_answer(x);
}

static void on_completed(void *arg, struct MHD_Connection *c, void **context,
                         enum MHD_RequestTerminationCode code)
{
	struct exchange *x = *context;

	(void)arg;
	(void)code;
	if (!x)
		return;
	set_deadline(x->http, c, now_s() + IDLE_S);
	exchange_free(x);
	*context = NULL;
}

/* ---- all of it ------------------------------------------------------------------------------------------------ */

struct seep_error *http_new(struct server *s, const char *address, uint16_t port,
                            struct http **ret_http, uint16_t *ret_port)
{
	struct http *h = calloc(1, sizeof(*h));
	struct seep_error *err;

	if (!h)
		return &seep_error_nomem;
	h->server = s;
	h->listen_fd = -1;
	pthread_mutex_init(&h->lock, NULL);
	err = listen_on(address, port, &h->listen_fd, ret_port);
	if (!err)
		*ret_http = h;
	else
		http_free(h);
	return err;
}

void http_start(struct http *h)
{
	/* The listening socket is the daemon's from here on. */
	h->daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL,
		NULL, on_access, h, MHD_OPTION_LISTEN_SOCKET, h->listen_fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)HTTP_CONNECTIONS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_HEAD, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)HTTP_UPLOAD_S, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_URI_LOG_CALLBACK, on_uri,
		h, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
	if (h->daemon)
		h->listen_fd = -1;
}

void http_stop(struct http *h)
{
	if (h->daemon)
		MHD_stop_daemon(TAKE(h->daemon));
}

void http_free(struct http *h)
{
	if (!h)
		return;
	http_stop(h);
	if (h->listen_fd >= 0)
		close(h->listen_fd);
	pthread_mutex_destroy(&h->lock);
	free(h);
}
