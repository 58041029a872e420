/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may ask.  Three things are looked at before a route sees a request:
 *
 *   Host    one the server goes by.  A page elsewhere that had its own name point here (DNS rebinding) sends its own name.
 *           Addresses as such cannot be made to point anywhere, so those are fine.
 *   Origin, Sec-Fetch-Site
 *           where a browser sends them, the page's own.  Data is guarded in the same way as changes: what a process
 *           holds is nobody else's to read.  Only the page itself may be navigated to from elsewhere.
 *   token   where the server has one: bearer, basic (its password, for tools that take it in a URL) or the page's cookie;
 *           compared in constant time.
 *
 * A change also needs a header that no form and no plain cross-site request can send.
 */
#ifndef SEEP_SERVER_GUARD_H
#define SEEP_SERVER_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reply;
struct request;

#define GUARD_TOKEN 32 /* hex digits */

struct guard {
	char token[GUARD_TOKEN + 1]; /* "": none needed */
	char hostname[256];
	const char *const *hosts; /* other names the server goes by; borrowed */
	size_t nhosts;
	uint16_t port;
};

/* A token from the kernel's random numbers; false: there are none. */
bool guard_make_token(char token[GUARD_TOKEN + 1]);

enum guard_kind {
	GUARD_PAGE, /* the page and its files, and the way in: nothing of any process */
	GUARD_DATA,
	GUARD_TOOL, /* data for programs that can send no header of ours; changes nothing whatever the method */
};

/* False: answered. */
bool guard_request(const struct guard *g, const struct request *r, enum guard_kind kind,
                   struct reply *reply);

bool guard_token_ok(const struct guard *g, const char *token);

/* For tests. */
bool guard_host_ok(const struct guard *g, const char *host);
bool guard_origin_ok(const char *origin, const char *host);

#endif
