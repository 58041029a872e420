/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `seep view`: another server's pages on a port of this machine, for a browser that cannot reach it.  It connects to the one place
 * it was pointed at, and nowhere else.  A seep server is passed on whole; of any other service only its profiling pages
 * (/pprof, /hotspots and what those load), unless `all`.
 *
 * Requests are checked as those to a server of our own are (guard.h), then made anew: none of the browser's headers go along but
 * those that say what is wanted.
 */
#ifndef SEEP_SERVER_PROXY_H
#define SEEP_SERVER_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proxy;
struct seep_error;

#define PROXY_CONNECTIONS 64
#define PROXY_BODY (1u << 20)   /* of a request */
#define PROXY_ANSWER (1u << 28) /* of a response that has an end */

struct proxy_options {
	const char *address; /* to listen on; NULL: 127.0.0.1 */
	uint16_t port;       /* 0: any */
	bool token;          /* ask for one on loopback, too */
	const char *const *hosts;
	size_t nhosts;
	const char *target_host;
	uint16_t target_port;
	const char *target_token; /* of a seep server; NULL none */
	bool all;
};

/* Listens, and looks whether anybody answers there: an error says when nobody does. */
struct seep_error *proxy_new(const struct proxy_options *o, struct proxy **ret_proxy);
uint16_t proxy_port(const struct proxy *p);
const char *proxy_token(const struct proxy *p);
bool proxy_is_seep(const struct proxy *p);
void proxy_run(struct proxy *p);
void proxy_stop(struct proxy *p); /* from a signal handler, too */
void proxy_free(struct proxy *p);

static inline void proxy_freep(struct proxy **p)
{
	proxy_free(*p);
}
#define _cleanup_proxy_ __attribute__((cleanup(proxy_freep)))

/* Whether a path of a service that is no seep is passed on; for its test. */
bool proxy_path_ok(const char *path);

#endif
