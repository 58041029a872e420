/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything of ours that eats bytes from the network.  The first byte says which parser: a request (query, headers, guard,
 * routes, body), addresses to be named, the head of a response and a body in chunks, a rollup of the kernel's, the documents of
 * commands.  What HTTP libraries and JSON libraries do with bytes is theirs.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "profile/profile.h"
#include "server/guard.h"
#include "server/http_head.h"
#include "server/look.h"
#include "server/measure.h"
#include "server/proxy.h"
#include "server/request.h"
#include "server/symbol_query.h"

#include <json.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines: the path, the query, then headers in the order of enum request_header. */
static void fuzz_request(char *text)
{
	static const char *const patterns[] = { "/api/v1/processes/*/timeline", "/p/*/*/*",
		                                "/*/*/*/*", "/api/v1/view/*" };
	const struct guard g = { .token = "0123456789abcdef0123456789abcdef", .hostname = "db7" };
	const char *focus[REQUEST_FILTERS];
	struct buf key = { 0 };
	struct request q;
	struct reply r;
	char *line;
	int64_t n = 0;
	double d = 0;
	bool b = false;

	request_init(&q);
	reply_init(&r);
	snprintf(q.method, sizeof(q.method), "%s", strlen(text) % 2 ? "GET" : "POST");
	line = strsep(&text, "\n");
	q.path = strdup(line ? line : "/");
	line = strsep(&text, "\n");
	if (line)
		request_parse_query(&q, line);
	for (size_t i = 0; i < REQUEST_NHEADERS && (line = strsep(&text, "\n")); i++)
		q.headers[i] = strdup(line);
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++)
		request_match(&q, patterns[i]);
	q.pack = request_takes_gzip(&q);
	request_canonical(&q, &key);
	request_param_list(&q, "focus", focus, REQUEST_FILTERS);
	request_int(&q, "n", 0, 100, &n, &r);
	request_real(&q, "d", 0, 1, &d, &r);
	request_bool(&q, "b", &b, &r);
	for (int kind = GUARD_PAGE; kind <= GUARD_TOOL; kind++)
		guard_request(&g, &q, (enum guard_kind)kind, &r);
	proxy_path_ok(q.path);
	buf_release(&key);
	reply_release(&r);
	request_release(&q);
}

static void fuzz_symbols(const char *text)
{
	static struct prof_line lines[] = { { .function = (char *)"inner--\n" },
		                            { .function = (char *)"outer" } };
	static struct prof_symbol symbols[] = { { lines, 1 }, { lines, 2 } };
	static struct prof_frame frames[] = { { 0 },
		                              { .pc = 0x1000, .symbol = 1 },
		                              { .pc = 0x2000 } };
	const struct profile p = { .frames = frames, .nframes = 3, .symbols = symbols, .nsymbols = 2 };
	struct buf out = { 0 };

	symbol_query(&p, text, &out);
	buf_release(&out);
}

static void fuzz_head(const uint8_t *data, size_t size)
{
	struct chunks c = { 0 };
	struct head h;
	char *text = malloc(size + 1);
	size_t end, at, out;

	if (!text)
		return;
	memcpy(text, data, size);
	text[size] = '\0';
	end = head_end(text, size);
	if (end && head_parse(text, end, &h))
		head_find(&h, "Content-Type");
	memcpy(text, data, size);
	/* In pieces, whose sizes are the input's own. */
	for (at = end; at < size;) {
		size_t n = 1 + data[at] % 17;

		n = n < size - at ? n : size - at;
		chunks_decode(&c, text + at, n, &out);
		if (out > n)
			abort();
		at += n;
	}
	free(text);
}

static void fuzz_leaks(const char *text)
{
	struct json_object *document = json_tokener_parse(text);
	struct profile *p = NULL;
	struct seep_error *err = document ? look_leaked(document, "definite,reachable", &p) : NULL;

	if (!err && p)
		seep_error_free(profile_check(p));
	seep_error_free(err);
	profile_free(p);
	json_object_put(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct measured m;
	char *text;

	if (!size)
		return 0;
	text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	switch (data[0] % 5) {
	case 0:
		fuzz_request(text);
		break;
	case 1:
		fuzz_symbols(text);
		break;
	case 2:
		fuzz_head(data + 1, size - 1);
		break;
	case 3:
		measure_parse_rollup(text, &m);
		break;
	default:
		fuzz_leaks(text);
		break;
	}
	free(text);
	return 0;
}
