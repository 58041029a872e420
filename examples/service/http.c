/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a request and sending an answer: see http.h.  Nothing here touches the heap. */
#include "http.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Up to the empty line that ends the headers; the rest of the connection is ignored. */
static bool read_head(int connection, char *head, size_t size)
{
	size_t used = 0;

	while (used < size - 1) {
		ssize_t n = recv(connection, head + used, size - 1 - used, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		used += (size_t)n;
		head[used] = '\0';
		if (strstr(head, "\r\n\r\n"))
			return true;
	}
	return false; /* headers longer than we care for */
}

/* Copies a part of the request line; false when it is longer than this service answers to. */
static bool take(char *to, size_t size, const char *from)
{
	size_t len = strlen(from);

	if (len >= size)
		return false;
	memcpy(to, from, len + 1);
	return true;
}

bool http_read(int connection, struct http_request *ret_request)
{
	struct http_request request = { "", "" };
	char head[4096];
	char *target, *end, *question;

	if (!read_head(connection, head, sizeof(head)) || strncmp(head, "GET ", 4))
		return false;
	target = head + 4;
	end = strpbrk(target, " \r\n");
	if (!end)
		return false;
	*end = '\0';
	question = strchr(target, '?');
	if (question) {
		*question++ = '\0';
		if (!take(request.query, sizeof(request.query), question))
			return false;
	}
	if (!take(request.path, sizeof(request.path), target))
		return false;
	*ret_request = request;
	return true;
}

static void send_all(int connection, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(connection, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

void http_reply(int connection, int status, const char *format, ...)
{
	char body[1024], head[256];
	va_list ap;
	int body_len, head_len;

	va_start(ap, format);
	body_len = vsnprintf(body, sizeof(body), format, ap);
	va_end(ap);
	if (body_len < 0)
		return;
	if ((size_t)body_len >= sizeof(body))
		body_len = sizeof(body) - 1;
	head_len = snprintf(head, sizeof(head),
	                    "HTTP/1.1 %d %s\r\n"
	                    "Content-Type: text/plain; charset=utf-8\r\n"
	                    "Content-Length: %d\r\n"
	                    "Connection: close\r\n\r\n",
	                    status, status == 200 ? "OK" : "Error", body_len);
	send_all(connection, head, (size_t)head_len);
	send_all(connection, body, (size_t)body_len);
}
