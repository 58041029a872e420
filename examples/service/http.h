/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much HTTP/1.1 as this example needs: one request per connection, GET only, small headers.
 */
#ifndef SERVICE_HTTP_H
#define SERVICE_HTTP_H

#include <stdbool.h>

struct http_request {
	char path[256];  /* "/cache" */
	char query[256]; /* what follows '?', "" when there is none */
};

/*
 * Reads one request from the connection.  False when the peer closed it, sent something else than a
 * GET, or took longer than the socket's receive timeout.
 */
bool http_read(int connection, struct http_request *ret_request);

/* Sends a complete plain-text answer.  A peer that went away is not our problem: nothing is returned. */
void http_reply(int connection, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
