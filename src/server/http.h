/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network side: libmicrohttpd turned into requests and replies.  One thread (epoll) for all connections; what takes longer
 * goes to the work threads while its connection is suspended.
 *
 * Bounds: HTTP_CONNECTIONS at once; a request's head HTTP_HEAD bytes; a body SERVER_SMALL_BODY, of an upload SERVER_UPLOAD; a
 * whole request must have come HTTP_PATIENCE_S after its connection was made or last answered (an upload HTTP_UPLOAD_S),
 * however slowly its bytes drip in.
 */
#ifndef SEEP_SERVER_HTTP_H
#define SEEP_SERVER_HTTP_H

#include <stdint.h>

struct http;
struct seep_error;
struct server;

#define HTTP_CONNECTIONS 256
#define HTTP_HEAD 32768
#define HTTP_PATIENCE_S 20
#define HTTP_UPLOAD_S 300

/* Binds and listens; the port that was given or found is *ret_port. */
struct seep_error *http_new(struct server *s, const char *address, uint16_t port,
                            struct http **ret_http, uint16_t *ret_port);
void http_start(struct http *h); /* requests are answered from here on */
void http_sweep(struct http *h); /* once a second: closes connections that take too long */
void http_stop(struct http *h);  /* no new connections, and none is left waiting */
void http_free(struct http *h);
/* How many connections there are. */
unsigned int http_connections(struct http *h);

#endif
