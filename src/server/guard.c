/* SPDX-License-Identifier: Apache-2.0 */
#include "server/guard.h"

#include "server/request.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#define COOKIE "seep_token="

bool guard_make_token(char token[GUARD_TOKEN + 1])
{
	unsigned char bytes[GUARD_TOKEN / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return false;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(token + 2 * i, 3, "%02x", bytes[i]);
	return true;
}

/* ---- Host ---------------------------------------------------------------------------------------- */

/* "name", "name:port", "1.2.3.4:port", "[::1]:port" → the name; false: nothing of that. */
static bool split_host(const char *host, char *name, size_t size, const char **ret_port)
{
	const char *end = *host == '[' ? strchr(host, ']') : strchr(host, ':');
	const char *from = *host == '[' ? host + 1 : host;
	size_t len;

	if (*host == '[' && !end)
		return false;
	len = end ? (size_t)(end - from) : strlen(from);
	if (!len || len >= size)
		return false;
	memcpy(name, from, len);
	name[len] = '\0';
	if (end && *end == ']')
		end++;
	if (end && *end && *end != ':')
		return false;
	*ret_port = end && *end ? end + 1 : "";
	return strspn(*ret_port, "0123456789") == strlen(*ret_port) && strlen(*ret_port) <= 5;
}

static bool is_address(const char *name)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

bool guard_host_ok(const struct guard *g, const char *host)
{
	char name[256];
	const char *port;

	/* The port may be another one: through a tunnel, or a proxy. */
	if (!host || !split_host(host, name, sizeof(name), &port))
		return false;
	if (is_address(name) || !strcasecmp(name, "localhost") ||
	    (*g->hostname && !strcasecmp(name, g->hostname)))
		return true;
	for (size_t i = 0; i < g->nhosts; i++)
		if (!strcasecmp(name, g->hosts[i]))
			return true;
	return false;
}

bool guard_origin_ok(const char *origin, const char *host)
{
	if (!origin)
		return true;
	if (!strncmp(origin, "http://", 7))
		origin += 7;
	else if (!strncmp(origin, "https://", 8))
		origin += 8;
	else
		return false; /* "null" */
	return host && !strcasecmp(origin, host);
}

/* ---- token --------------------------------------------------------------------------------------- */

/* Looks at every byte of the secret whatever is given. */
bool guard_token_ok(const struct guard *g, const char *token)
{
	size_t n = strlen(token);
	unsigned int differ = n != GUARD_TOKEN;

	for (size_t i = 0; i < GUARD_TOKEN; i++)
		differ |= (unsigned char)g->token[i] ^ (unsigned char)(i < n ? token[i] : 0);
	return !differ;
}

static int base64_value(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* "user:password" → whether the password is the token. */
static bool basic_ok(const struct guard *g, const char *text)
{
	char plain[256];
	uint32_t bits = 0;
	unsigned int nbits = 0;
	size_t n = 0;
	const char *colon;

	for (; base64_value(*text) >= 0; text++) {
		bits = bits << 6 | (uint32_t)base64_value(*text);
		nbits += 6;
		if (nbits >= 8) {
			nbits -= 8;
			if (n + 1 >= sizeof(plain))
				return false;
			plain[n++] = (char)(bits >> nbits);
		}
	}
	plain[n] = '\0';
	colon = strchr(plain, ':');
	return colon && guard_token_ok(g, colon + 1);
}

static bool cookie_ok(const struct guard *g, const char *cookies)
{
	while (*cookies) {
		char value[GUARD_TOKEN + 2] = "";

		cookies += strspn(cookies, " ;");
		if (!strncmp(cookies, COOKIE, strlen(COOKIE))) {
			const char *from = cookies + strlen(COOKIE);
			size_t len = 0;

			while (from[len] && from[len] != ';' && from[len] != ' ')
				len++;
			if (len < sizeof(value)) {
				memcpy(value, from, len);
				if (guard_token_ok(g, value))
					return true;
			}
		}
		cookies += strcspn(cookies, ";");
	}
	return false;
}

static bool authorized(const struct guard *g, const struct request *r)
{
	const char *given = r->headers[HEADER_AUTHORIZATION], *cookies = r->headers[HEADER_COOKIE];

	if (!*g->token)
		return true;
	if (given && !strncasecmp(given, "Bearer ", 7))
		return guard_token_ok(g, given + 7 + strspn(given + 7, " "));
	if (given && !strncasecmp(given, "Basic ", 6))
		return basic_ok(g, given + 6 + strspn(given + 6, " "));
	return cookies && cookie_ok(g, cookies);
}

/* ---- all of it ------------------------------------------------------------------------------------ */

bool guard_request(const struct guard *g, const struct request *r, enum guard_kind kind,
                   struct reply *reply)
{
	const char *site = r->headers[HEADER_FETCH_SITE], *mode = r->headers[HEADER_FETCH_MODE];
	bool own = !site || !strcmp(site, "same-origin") || !strcmp(site, "none");
	bool navigation = kind == GUARD_PAGE && request_is_get(r) && mode &&
	                  !strcmp(mode, "navigate");

	if (!guard_host_ok(g, r->headers[HEADER_HOST])) {
		reply_error(reply, 403, "forbidden_host",
		            "Use the server's address, or name it with --allow-host.",
		            "this server does not go by the name in the Host header");
		return false;
	}
	if (!guard_origin_ok(r->headers[HEADER_ORIGIN], r->headers[HEADER_HOST]) ||
	    (!own && !navigation)) {
		reply_error(reply, 403, "forbidden_origin", NULL,
		            "only the server's own page may ask this from a browser");
		return false;
	}
	if (kind != GUARD_PAGE && !authorized(g, r)) {
		reply_error(reply, 401, "unauthorized",
		            "Open the URL with ?token=... that seep serve printed, or send "
		            "Authorization: Bearer TOKEN.",
		            "a token is needed");
		return false;
	}
	if (!request_is_get(r) && kind != GUARD_TOOL && !r->headers[HEADER_X_SEEP]) {
		reply_error(reply, 403, "forbidden_origin", "Send the header X-Seep: 1.",
		            "a request that changes something needs the header X-Seep");
		return false;
	}
	return true;
}
