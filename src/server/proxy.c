/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread for each connection (there are at most 64, of one person's browser): it connects, sends, and hands on what comes,
 * waiting wherever there is something to wait for.
 */
#include "server/proxy.h"

#include "server/guard.h"
#include "server/http_head.h"
#include "server/listen.h"
#include "server/request.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_MS 10000
#define SILENCE_MS 60000 /* an event stream says something every 15 s */
#define CHUNK 16384
#define LINE_MOST 8192

struct proxy {
	struct proxy_options o;
	struct guard guard;
	struct MHD_Daemon *daemon;
	int listen_fd, stop_fd[2];
	bool is_seep;
};

struct passage { /* one request on its way */
	struct proxy *proxy;
	struct request request;
	struct reply reply; /* ours, when nothing is passed on */
	char *uri;          /* as it came: encoded */
	bool begun, refused, replied;

	int fd;
	struct buf head; /* of the answer, and what came behind it */
	size_t at;       /* of that: what has been passed on */
	struct head h;
	struct chunks chunks;
	int64_t left; /* bytes of the body; -1: until the end */
	uint64_t passed;
	bool endless;
};

/* ---- the other side --------------------------------------------------------------------------------- */

static int wait_for(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r;

	do
		r = poll(&p, 1, ms);
	while (r < 0 && errno == EINTR);
	return r > 0 ? 0 : r ? -errno : -ETIMEDOUT;
}

static int connect_to(const struct addrinfo *a, int *ret_fd)
{
	_cleanup_close_ int fd =
		socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
	socklen_t len = sizeof(int);
	int r, e = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
		if (errno != EINPROGRESS)
			return -errno;
		r = wait_for(fd, POLLOUT, CONNECT_MS);
		if (r < 0)
			return r;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0 || e)
			return -(e ? e : errno);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static struct seep_error *open_target(const struct proxy *p, int *ret_fd)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	char port[8];
	int r, code = -EHOSTUNREACH;

	snprintf(port, sizeof(port), "%u", p->o.target_port);
	r = getaddrinfo(p->o.target_host, port, &hints, &list);
	if (r)
		return seep_error_new(0, "%s: %s", p->o.target_host, gai_strerror(r));
	for (const struct addrinfo *a = list; a && code < 0; a = a->ai_next)
		code = connect_to(a, ret_fd);
	freeaddrinfo(list);
	if (code < 0)
		return seep_error_hint(
			seep_error_new(-code, "cannot reach %s port %u", p->o.target_host,
		                       p->o.target_port),
			"Is the service running there, and may this machine talk to it?");
	return NULL;
}

static int send_all(int fd, const struct buf *b)
{
	for (size_t at = 0; at < b->len;) {
		ssize_t n = send(fd, b->data + at, b->len - at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			int r = wait_for(fd, POLLOUT, SILENCE_MS);

			if (r < 0)
				return r;
			continue;
		}
		if (n <= 0)
			return -errno;
		at += (size_t)n;
	}
	return 0;
}

/* 0: the end. */
static ssize_t receive(int fd, char *to, size_t size)
{
	for (;;) {
		ssize_t n = recv(fd, to, size, 0);

		if (n >= 0)
			return n;
		if (errno == EAGAIN) {
			int r = wait_for(fd, POLLIN, SILENCE_MS);

			if (r < 0)
				return r;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
}

static void put_header(struct buf *b, const char *name, const char *value)
{
	/* The HTTP library gives no line breaks in values; should it ever, none goes on. */
	if (value && !strpbrk(value, "\r\n"))
		buf_printf(b, "%s: %s\r\n", name, value);
}

static void make_request(const struct passage *x, struct buf *b)
{
	static const enum request_header passed[] = { HEADER_ACCEPT,        HEADER_ACCEPT_ENCODING,
		                                      HEADER_IF_NONE_MATCH, HEADER_CONTENT_TYPE,
		                                      HEADER_X_SEEP,        HEADER_USER_AGENT };
	const struct proxy_options *o = &x->proxy->o;
	bool six = strchr(o->target_host, ':') != NULL;

	buf_printf(b, "%s %s HTTP/1.1\r\nHost: %s%s%s:%u\r\nConnection: close\r\n",
	           x->request.method, x->uri, six ? "[" : "", o->target_host, six ? "]" : "",
	           o->target_port);
	for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
		put_header(b, request_header_names[passed[i]], x->request.headers[passed[i]]);
	if (o->target_token)
		buf_printf(b, "Authorization: Bearer %s\r\n", o->target_token);
	if (x->request.body.len || !request_is_get(&x->request))
		buf_printf(b, "Content-Length: %zu\r\n", x->request.body.len);
	buf_puts(b, "\r\n");
	buf_add(b, x->request.body.data, x->request.body.len);
}

static struct seep_error *read_head(struct passage *x)
{
	size_t end = 0;

	while (!end) {
		char chunk[4096];
		ssize_t n = receive(x->fd, chunk, sizeof(chunk));

		if (n < 0)
			return seep_error_new((int)-n, "%s does not answer",
			                      x->proxy->o.target_host);
		if (!n || x->head.len + (size_t)n > HEAD_MOST + sizeof(chunk))
			return seep_error_new(0, "%s answers with something else than HTTP",
			                      x->proxy->o.target_host);
		if (buf_add(&x->head, chunk, (size_t)n) < 0)
			return &seep_error_nomem;
		end = head_end(x->head.data, x->head.len);
		if (!end && x->head.len > HEAD_MOST)
			return seep_error_new(0, "%s answers with a head without an end",
			                      x->proxy->o.target_host);
	}
	x->at = end;
	if (!head_parse(x->head.data, end, &x->h))
		return seep_error_new(0, "%s answers with something else than HTTP",
		                      x->proxy->o.target_host);
	x->left = x->h.chunked ? -1 : x->h.length;
	if (!strcmp(x->request.method, "HEAD") || x->h.status == 204 || x->h.status == 304)
		x->left = 0;
	return NULL;
}

static struct seep_error *ask(struct passage *x)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct seep_error *err = open_target(x->proxy, &x->fd);
	int r;

	if (err)
		return err;
	make_request(x, &b);
	r = b.failed ? -ENOMEM : send_all(x->fd, &b);
	if (r < 0)
		return seep_error_new(-r, "cannot ask %s", x->proxy->o.target_host);
	return read_head(x);
}

/* ---- which paths ----------------------------------------------------------------------------------------- */

bool proxy_path_ok(const char *path)
{
	/* brpc's pages load their scripts from /js; the rest are its and gperftools' profiling pages. */
	static const char *const pages[] = { "/pprof",  "/hotspots", "/heap",
		                             "/growth", "/js",       "/debug/pprof" };

	if (strstr(path, "..") || strstr(path, "//") || strchr(path, '\\'))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		size_t n = strlen(pages[i]);

		if (!strncmp(path, pages[i], n) && (!path[n] || path[n] == '/' || path[n] == '?'))
			return true;
	}
	return false;
}

static const char links[] =
	"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>seep view</title>"
	"<h1>Profiling pages</h1><ul><li><a href=\"/hotspots/heap\">/hotspots/heap</a>"
	"<li><a href=\"/hotspots/growth\">/hotspots/growth</a><li><a href=\"/hotspots/cpu\">/hotspots/cpu</a>"
	"<li><a href=\"/pprof/heap\">/pprof/heap</a><li><a href=\"/pprof/growth\">/pprof/growth</a>"
	"<li><a href=\"/debug/pprof/\">/debug/pprof/</a></ul>"
	"<p>Everything else of the service is not passed on; seep view --all does.</html>";

/* False: answered. */
static bool check(struct passage *x)
{
	struct proxy *p = x->proxy;
	const char *path = x->request.path;
	bool root = !strcmp(path, "/"), any = p->is_seep || p->o.all;

	/* A page may be linked to from elsewhere, as that of our own server may. */
	if (!guard_request(&p->guard, &x->request, root || !any ? GUARD_PAGE : GUARD_TOOL, &x->reply))
		return false;
	if (*p->guard.token && !root && !any &&
	    !guard_request(&p->guard, &x->request, GUARD_TOOL, &x->reply))
		return false;
	if (strspn(x->uri,
	           "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~") !=
	            strlen(x->uri) ||
	    strlen(x->uri) > LINE_MOST) {
		reply_text(&x->reply, 400, "That is no path.\n");
		return false;
	}
	if (any)
		return true;
	if (root) {
		reply_text(&x->reply, 200, "%s", links);
		x->reply.type = "text/html; charset=utf-8";
		return false;
	}
	if (proxy_path_ok(path))
		return true;
	reply_text(
		&x->reply, 403,
		"Only /pprof and /hotspots are passed on; seep view --all passes on everything.\n");
	return false;
}

/* ---- answers ------------------------------------------------------------------------------------------------ */

static ssize_t read_body(void *arg, uint64_t pos, char *to, size_t most)
{
	struct passage *x = arg;
	size_t n, data;
	ssize_t got;

	(void)pos;
	for (;;) {
		if (x->left == 0 || (x->h.chunked && x->chunks.state == CHUNK_DONE))
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (x->at < x->head.len) {
			n = x->head.len - x->at < most ? x->head.len - x->at : most;
			memcpy(to, x->head.data + x->at, n);
			x->at += n;
		} else {
			got = receive(x->fd, to, most);
			if (got < 0)
				return MHD_CONTENT_READER_END_WITH_ERROR;
			if (!got) /* too early, where an end was promised */
				return x->left > 0 || x->h.chunked
				               ? MHD_CONTENT_READER_END_WITH_ERROR
				               : MHD_CONTENT_READER_END_OF_STREAM;
			n = (size_t)got;
		}
		if (x->h.chunked) {
			chunks_decode(&x->chunks, to, n, &data);
			if (x->chunks.state == CHUNK_BAD)
				return MHD_CONTENT_READER_END_WITH_ERROR;
			n = data;
		} else if (x->left > 0) {
			n = (int64_t)n < x->left ? n : (size_t)x->left;
			x->left -= (int64_t)n;
		}
		x->passed += n;
		if (x->passed > PROXY_ANSWER && !x->endless)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		if (n)
			return (ssize_t)n;
	}
}

/* A redirect to the target itself is one to us; elsewhere we do not go. */
static const char *own_location(const struct proxy *p, const char *location)
{
	char prefix[300];
	size_t n;

	if (*location == '/' && location[1] != '/')
		return location;
	n = (size_t)snprintf(prefix, sizeof(prefix), "http://%s:%u", p->o.target_host,
	                     p->o.target_port);
	if (n < sizeof(prefix) && !strncmp(location, prefix, n) && location[n] == '/')
		return location + n;
	return NULL;
}

/* Pages of a service have scripts in them; they may load what comes from here, and nothing else. */
static const char service_policy[] =
	"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'; "
	"frame-ancestors 'self'; base-uri 'self'";

static enum MHD_Result pass_on(struct passage *x, struct MHD_Connection *c)
{
	static const char *const passed[] = { "Content-Type",
		                              "Content-Encoding",
		                              "Content-Disposition",
		                              "Cache-Control",
		                              "ETag",
		                              "Retry-After",
		                              "Vary" };
	const char *policy = head_find(&x->h, "Content-Security-Policy"), *v, *type;
	struct MHD_Response *m;
	enum MHD_Result r;

	type = head_find(&x->h, "Content-Type");
	x->endless = type && !strncmp(type, "text/event-stream", 17);
	m = MHD_create_response_from_callback(x->left >= 0 ? (uint64_t)x->left : MHD_SIZE_UNKNOWN,
	                                      CHUNK, read_body, x, NULL);
	if (!m)
		return MHD_NO;
	for (size_t i = 0; i < ARRAY_SIZE(passed); i++) {
		v = head_find(&x->h, passed[i]);
		if (v)
			MHD_add_response_header(m, passed[i], v);
	}
	v = head_find(&x->h, "Location");
	if (v && (v = own_location(x->proxy, v)))
		MHD_add_response_header(m, "Location", v);
	MHD_add_response_header(m, "Content-Security-Policy", policy ? policy : service_policy);
	MHD_add_response_header(m, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(m, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(m, "Cross-Origin-Resource-Policy", "same-origin");
	r = MHD_queue_response(c, (unsigned int)x->h.status, m);
	MHD_destroy_response(m);
	return r;
}

static enum MHD_Result reply_own(struct passage *x, struct MHD_Connection *c)
{
	struct MHD_Response *m = MHD_create_response_from_buffer(
		x->reply.body.len, x->reply.body.data ? x->reply.body.data : (char *)"",
		MHD_RESPMEM_MUST_COPY);
	enum MHD_Result r;

	if (!m)
		return MHD_NO;
	if (x->reply.type)
		MHD_add_response_header(m, "Content-Type", x->reply.type);
	if (x->reply.location)
		MHD_add_response_header(m, "Location", x->reply.location);
	if (x->reply.cookie)
		MHD_add_response_header(m, "Set-Cookie", x->reply.cookie);
	MHD_add_response_header(m, "Content-Security-Policy",
	                        "default-src 'none'; frame-ancestors 'none'");
	MHD_add_response_header(m, "X-Content-Type-Options", "nosniff");
	r = MHD_queue_response(c, (unsigned int)x->reply.status, m);
	MHD_destroy_response(m);
	return r;
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

static void *on_uri(void *arg, const char *uri, struct MHD_Connection *c)
{
	struct passage *x = calloc(1, sizeof(*x));

	(void)c;
	if (!x)
		return NULL;
	x->proxy = arg;
	x->fd = -1;
	x->left = -1;
	request_init(&x->request);
	reply_init(&x->reply);
	x->uri = strdup(uri);
	return x;
}

static void on_completed(void *arg, struct MHD_Connection *c, void **context,
                         enum MHD_RequestTerminationCode code)
{
	struct passage *x = *context;

	(void)arg;
	(void)c;
	(void)code;
	if (!x)
		return;
	if (x->fd >= 0)
		close(x->fd);
	request_release(&x->request);
	reply_release(&x->reply);
	buf_release(&x->head);
	free(x->uri);
	free(x);
	*context = NULL;
}

static void begin(struct passage *x, struct MHD_Connection *c, const char *url, const char *method)
{
	const char *token;

	x->begun = true;
	x->request.path = strdup(url);
	snprintf(x->request.method, sizeof(x->request.method), "%s", method);
	for (size_t i = 0; i < REQUEST_NHEADERS; i++) {
		const char *v =
			MHD_lookup_connection_value(c, MHD_HEADER_KIND, request_header_names[i]);

		if (v)
			x->request.headers[i] = strdup(v);
	}
	if (!x->request.path || !x->uri) {
		reply_text(&x->reply, 500, "Out of memory.\n");
		x->refused = true;
		return;
	}
	token = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "token");
	if (token && *x->proxy->guard.token && guard_token_ok(&x->proxy->guard, token)) {
		struct buf cookie = { 0 };

		buf_printf(&cookie, "seep_token=%s; Path=/; HttpOnly; SameSite=Strict",
		           x->proxy->guard.token);
		reply_text(&x->reply, 303, "%s", "");
		x->reply.cookie = buf_steal(&cookie);
		x->reply.location = strdup("/");
		x->refused = true;
		return;
	}
	x->refused = !check(x);
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *c, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **context)
{
	struct passage *x = *context;
	struct seep_error *err;

	(void)arg;
	(void)version;
	if (!x)
		return MHD_NO;
	if (!x->begun) {
		begin(x, c, url, method);
		return MHD_YES;
	}
	if (*size) {
		if (!x->refused && x->request.body.len + *size > PROXY_BODY) {
			reply_text(&x->reply, 413,
			           "Requests with more than %u bytes are not passed on.\n",
			           PROXY_BODY);
			x->refused = true;
		}
		if (!x->refused)
			buf_add(&x->request.body, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (x->replied)
		return MHD_YES;
	x->replied = true;
	if (x->refused)
		return reply_own(x, c);
	err = ask(x);
	if (!err)
		return pass_on(x, c);
	reply_text(&x->reply, 502, "%s\n%s%s", err->message, err->hint ? err->hint : "",
	           err->hint ? "\n" : "");
	seep_error_free(err);
	return reply_own(x, c);
}

/* ---- all of it ------------------------------------------------------------------------------------------------------ */

/* Does anybody answer, and is it seep? */
static struct seep_error *look(struct proxy *p)
{
	struct passage x = { .proxy = p, .fd = -1, .left = -1, .uri = (char *)"/api/v1/server" };
	char body[512];
	struct seep_error *err;
	size_t n = 0;
	ssize_t got;

	request_init(&x.request);
	snprintf(x.request.method, sizeof(x.request.method), "GET");
	err = ask(&x);
	while (!err && n + 1 < sizeof(body) &&
	       (got = read_body(&x, 0, body + n, sizeof(body) - 1 - n)) > 0)
		n += (size_t)got;
	body[n] = '\0';
	if (!err && x.h.status == 401 && strstr(body, "\"unauthorized\""))
		err = seep_error_hint(seep_error_new(EACCES, "%s wants a token", p->o.target_host),
		                      "Give it with --target-token; seep serve printed it there.");
	p->is_seep = !err && x.h.status == 200 && strstr(body, "\"seep\":") &&
	             strstr(body, "\"api\":");
	if (x.fd >= 0)
		close(x.fd);
	buf_release(&x.head);
	return err;
}

static struct seep_error *start(struct proxy *p)
{
	p->daemon = MHD_start_daemon(
		MHD_USE_POLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
			MHD_USE_ITC,
		0, NULL, NULL, on_access, p, MHD_OPTION_LISTEN_SOCKET, p->listen_fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)PROXY_CONNECTIONS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)65536, MHD_OPTION_CONNECTION_TIMEOUT,
		120u, MHD_OPTION_NOTIFY_COMPLETED, on_completed, p, MHD_OPTION_URI_LOG_CALLBACK,
		on_uri, p, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
	if (!p->daemon)
		return seep_error_new(errno, "cannot start the HTTP server");
	p->listen_fd = -1;
	return NULL;
}

struct seep_error *proxy_new(const struct proxy_options *o, struct proxy **ret_proxy)
{
	struct proxy *p = calloc(1, sizeof(*p));
	struct seep_error *err;

	if (!p)
		return &seep_error_nomem;
	p->o = *o;
	if (!p->o.address)
		p->o.address = "127.0.0.1";
	p->listen_fd = p->stop_fd[0] = p->stop_fd[1] = -1;
	p->guard.hosts = o->hosts;
	p->guard.nhosts = o->nhosts;
	if (gethostname(p->guard.hostname, sizeof(p->guard.hostname) - 1) < 0)
		p->guard.hostname[0] = '\0';
	err = pipe2(p->stop_fd, O_CLOEXEC | O_NONBLOCK) < 0
	              ? seep_error_new(errno, "cannot make a pipe")
	              : NULL;
	if (!err && (o->token || !listen_is_loopback(p->o.address)) &&
	    !guard_make_token(p->guard.token))
		err = seep_error_new(errno, "cannot make a token");
	if (!err)
		err = listen_on(p->o.address, p->o.port, &p->listen_fd, &p->guard.port);
	if (!err)
		err = look(p);
	if (!err)
		err = start(p);
	if (err)
		proxy_free(p);
	else
		*ret_proxy = p;
	return err;
}

uint16_t proxy_port(const struct proxy *p)
{
	return p->guard.port;
}

const char *proxy_token(const struct proxy *p)
{
	return p->guard.token;
}

bool proxy_is_seep(const struct proxy *p)
{
	return p->is_seep;
}

void proxy_run(struct proxy *p)
{
	wait_for(p->stop_fd[0], POLLIN, -1);
}

void proxy_stop(struct proxy *p)
{
	char c = 0;

	if (write(p->stop_fd[1], &c, 1) < 0)
		return;
}

void proxy_free(struct proxy *p)
{
	if (!p)
		return;
	if (p->daemon)
		MHD_stop_daemon(p->daemon);
	if (p->listen_fd >= 0)
		close(p->listen_fd);
	for (size_t i = 0; i < 2; i++)
		if (p->stop_fd[i] >= 0)
			close(p->stop_fd[i]);
	free(p);
}
