/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, and who may make them. */
#include "server/guard.h"
#include "server/request.h"
#include "server/symbol_query.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "profile/profile.h"
#include "synth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include <cmocka.h>

static struct request *request(const char *method, const char *path)
{
	static struct request q;

	request_release(&q);
	snprintf(q.method, sizeof(q.method), "%s", method);
	q.path = strdup(path);
	return &q;
}

static void set(struct request *q, enum request_header h, const char *value)
{
	free(q->headers[h]);
	q->headers[h] = value ? strdup(value) : NULL;
}

/* ---- parameters -------------------------------------------------------------------------- */

static void queries_are_decoded(void **state)
{
	struct request *q = request("GET", "/");
	const char *focus[4];

	(void)state;
	assert_true(request_parse_query(q, "a=1&b=%20x+y%2B&c&&focus=f%3Cg&focus=h&bad=%zz%"));
	assert_string_equal(request_param(q, "a"), "1");
	assert_string_equal(request_param(q, "b"), " x y+");
	assert_null(request_param(q, "c"));
	assert_null(request_param(q, "d"));
	assert_string_equal(request_param(q, "bad"), "%zz%");
	assert_int_equal(request_param_list(q, "focus", focus, 4), 2);
	assert_string_equal(focus[0], "f<g");
	q = request("GET", "/");
	assert_false(request_parse_query(q, "a=%00"));
	q = request("GET", "/");
	for (int i = 0; i < REQUEST_PARAMS; i++)
		assert_true(request_parse_query(q, "x=y"));
	assert_false(request_parse_query(q, "x=y"));
}

static void the_same_question_is_the_same(void **state)
{
	struct buf a = { 0 }, b = { 0 }, c = { 0 };
	struct request *q = request("GET", "/v");

	(void)state;
	request_parse_query(q, "x=1&y=2&x=3");
	request_canonical(q, &a);
	q = request("GET", "/v");
	request_parse_query(q, "y=2&x=1&x=3");
	request_canonical(q, &b);
	assert_string_equal(a.data, b.data);
	q = request("GET", "/v");
	request_parse_query(q, "y=2%20x%201&x=3"); /* a value that looks like another parameter */
	request_canonical(q, &c);
	assert_string_not_equal(a.data, c.data);
	buf_release(&a);
	buf_release(&b);
	buf_release(&c);
}

static void who_takes_gzip(void **state)
{
	static const struct {
		const char *said;
		bool takes;
	} of[] = {
		{ NULL, false },
		{ "", false },
		{ "gzip", true },
		{ "deflate, GZIP;q=0.5", true },
		{ "gzip;q=0", false },
		{ "gzip; q=0.000, *", false },
		{ "*;q=0, gzip", true },
		{ "br , *", true },
		{ "identity, *;q=0", false },
		{ "xgzip, gzipx", false },
		{ ",,;=,", false },
	};
	struct request *q = request("GET", "/v");

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		set(q, HEADER_ACCEPT_ENCODING, of[i].said);
		if (request_takes_gzip(q) != of[i].takes)
			fail_msg("%s", of[i].said ? of[i].said : "nothing said");
	}
}

static void large_text_is_packed(void **state)
{
	struct buf plain = { 0 }, back = { 0 };
	struct request *q = request("GET", "/v");
	struct buf key = { 0 }, packed_key = { 0 };
	struct reply r;
	z_stream z = { 0 };

	(void)state;
	for (int i = 0; i < 200000; i++)
		buf_printf(&plain, "%d,", i);
	reply_init(&r);
	r.type = "application/json";
	buf_add(&r.body, plain.data, 1000);
	reply_pack(&r); /* too small to be worth it */
	assert_null(r.encoding);
	assert_int_equal(r.body.len, 1000);
	buf_add(&r.body, plain.data + 1000, plain.len - 1000);
	r.type = "application/octet-stream";
	reply_pack(&r); /* no text */
	assert_null(r.encoding);
	r.type = "application/json";
	reply_pack(&r);
	assert_string_equal(r.encoding, "gzip");
	assert_true(r.body.len < plain.len / 2);
	buf_reserve(&back, plain.len + 1);
	z.next_in = (Bytef *)r.body.data;
	z.avail_in = (uInt)r.body.len;
	z.next_out = (Bytef *)back.data;
	z.avail_out = (uInt)plain.len + 1;
	assert_int_equal(inflateInit2(&z, 16 + MAX_WBITS), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.total_out, plain.len);
	assert_memory_equal(back.data, plain.data, plain.len);
	inflateEnd(&z);
	buf_release(&back);
	buf_release(&plain);
	reply_release(&r);
	/* Packed and plain answers do not meet, nor do their tags. */
	request_canonical(q, &key);
	q->pack = true;
	request_canonical(q, &packed_key);
	assert_string_not_equal(key.data, packed_key.data);
	buf_release(&key);
	buf_release(&packed_key);
}

static void routes_match_whole_parts(void **state)
{
	struct request *q = request("GET", "/api/v1/processes/12/timeline");

	(void)state;
	assert_true(request_match(q, "/api/v1/processes/*/timeline"));
	assert_int_equal(q->nargs, 1);
	assert_string_equal(q->args[0], "12");
	assert_false(request_match(q, "/api/v1/processes/*"));
	assert_int_equal(q->nargs, 0);
	assert_false(request_match(q, "/api/v1/processes/*/timelin"));
	assert_false(request_match(q, "/api/v1/processes/*/timeline/*"));
	q = request("GET", "/api/v1/processes//timeline");
	assert_false(request_match(q, "/api/v1/processes/*/timeline"));
	q = request("GET", "/p/..");
	assert_true(request_match(q, "/p/*")); /* a name like any other: no path is made of it */
	assert_string_equal(q->args[0], "..");
}

static void numbers_have_bounds(void **state)
{
	struct request *q = request("GET", "/");
	struct reply r;
	int64_t v = 7;
	double d = 0;

	(void)state;
	reply_init(&r);
	request_parse_query(q, "n=12&big=99999999999999999999&neg=-1&junk=1x&f=0.5&nan=nan");
	assert_true(request_int(q, "none", 0, 10, &v, &r));
	assert_int_equal(v, 7);
	assert_true(request_int(q, "n", 0, 12, &v, &r));
	assert_int_equal(v, 12);
	assert_false(request_int(q, "n", 0, 11, &v, &r));
	assert_int_equal(r.status, 400);
	assert_non_null(strstr(r.body.data, "\"parameter\":\"n\""));
	assert_false(request_int(q, "big", 0, INT64_MAX, &v, &r));
	assert_false(request_int(q, "neg", 0, 10, &v, &r));
	assert_false(request_int(q, "junk", 0, 10, &v, &r));
	assert_true(request_real(q, "f", 0, 1, &d, &r));
	assert_false(request_real(q, "nan", 0, 1, &d, &r));
	reply_release(&r);
}

/* ---- who may ask ---------------------------------------------------------------------------- */

static void hosts(void **state)
{
	const char *const names[] = { "seep.example" };
	const struct guard g = { .hostname = "db7", .hosts = names, .nhosts = 1, .port = 7337 };
	static const char *const good[] = { "127.0.0.1:7337", "localhost",   "localhost:9",
		                            "[::1]:7337",     "DB7:1",       "db7",
		                            "seep.example",   "10.1.2.3:80", "::1" };
	static const char *const bad[] = { "evil.example",
		                           "evil.example:7337",
		                           "127.0.0.1.evil.example",
		                           "localhost.evil.example",
		                           "",
		                           ":7337",
		                           "[::1",
		                           "[::1]x",
		                           "a:b",
		                           "db7:",
		                           "127.0.0.1:7337/x",
		                           "127.0.0.1:123456",
		                           "db7 " };

	(void)state;
	for (size_t i = 0; i + 1 < ARRAY_SIZE(good); i++)
		assert_true(guard_host_ok(&g, good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (guard_host_ok(&g, bad[i]) && strcmp(bad[i], "db7:") != 0)
			fail_msg("%s is accepted", bad[i]);
	assert_false(guard_host_ok(&g, NULL));
}

static void origins(void **state)
{
	(void)state;
	assert_true(guard_origin_ok(NULL, "127.0.0.1:7337"));
	assert_true(guard_origin_ok("http://127.0.0.1:7337", "127.0.0.1:7337"));
	assert_true(guard_origin_ok("https://seep.example", "seep.example"));
	assert_false(guard_origin_ok("http://127.0.0.1:8000", "127.0.0.1:7337"));
	assert_false(guard_origin_ok("http://evil.example", "127.0.0.1:7337"));
	assert_false(guard_origin_ok("null", "127.0.0.1:7337"));
	assert_false(guard_origin_ok("file://", "127.0.0.1:7337"));
	assert_false(guard_origin_ok("http://127.0.0.1:7337", NULL));
}

static int ask(const struct guard *g, struct request *q, enum guard_kind kind)
{
	struct reply r;
	int status;

	reply_init(&r);
	status = guard_request(g, q, kind, &r) ? 200 : r.status;
	reply_release(&r);
	return status;
}

static void tokens(void **state)
{
	struct guard g = { 0 };
	struct request *q = request("GET", "/api/v1/processes");
	char text[200];

	(void)state;
	assert_true(guard_make_token(g.token));
	assert_int_equal(strlen(g.token), GUARD_TOKEN);
	set(q, HEADER_HOST, "127.0.0.1");
	assert_int_equal(ask(&g, q, GUARD_DATA), 401);
	assert_int_equal(ask(&g, q, GUARD_TOOL), 401);
	assert_int_equal(ask(&g, q, GUARD_PAGE), 200);
	snprintf(text, sizeof(text), "Bearer %s", g.token);
	set(q, HEADER_AUTHORIZATION, text);
	assert_int_equal(ask(&g, q, GUARD_DATA), 200);
	text[strlen(text) - 1] ^= 1;
	set(q, HEADER_AUTHORIZATION, text);
	assert_int_equal(ask(&g, q, GUARD_DATA), 401);
	snprintf(text, sizeof(text), "Bearer %s0", g.token);
	set(q, HEADER_AUTHORIZATION, text);
	assert_int_equal(ask(&g, q, GUARD_DATA), 401);
	set(q, HEADER_AUTHORIZATION, "Bearer ");
	assert_int_equal(ask(&g, q, GUARD_DATA), 401);
	set(q, HEADER_AUTHORIZATION, NULL);
	snprintf(text, sizeof(text), "a=b; seep_token=%s; c=d", g.token);
	set(q, HEADER_COOKIE, text);
	assert_int_equal(ask(&g, q, GUARD_DATA), 200);
	set(q, HEADER_COOKIE, "seep_token=; seep_token=x; seep_token");
	assert_int_equal(ask(&g, q, GUARD_DATA), 401);
	/* "seep:" and a token of 32 times 'a', as a URL's password comes. */
	set(q, HEADER_COOKIE, NULL);
	memset(g.token, 'a', GUARD_TOKEN);
	set(q, HEADER_AUTHORIZATION, "Basic c2VlcDphYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYQ==");
	assert_int_equal(ask(&g, q, GUARD_TOOL), 200);
	set(q, HEADER_AUTHORIZATION, "Basic c2VlcA==");
	assert_int_equal(ask(&g, q, GUARD_TOOL), 401);
}

static void other_sites_ask_in_vain(void **state)
{
	const struct guard g = { 0 };
	struct request *q = request("GET", "/api/v1/processes");

	(void)state;
	set(q, HEADER_HOST, "localhost:7337");
	set(q, HEADER_FETCH_SITE, "same-origin");
	assert_int_equal(ask(&g, q, GUARD_DATA), 200);
	set(q, HEADER_FETCH_SITE, "none"); /* typed in */
	assert_int_equal(ask(&g, q, GUARD_DATA), 200);
	set(q, HEADER_FETCH_SITE, "cross-site");
	assert_int_equal(ask(&g, q, GUARD_DATA), 403);
	assert_int_equal(ask(&g, q, GUARD_TOOL), 403);
	set(q, HEADER_FETCH_SITE, "same-site"); /* another port of this machine */
	assert_int_equal(ask(&g, q, GUARD_DATA), 403);
	set(q, HEADER_FETCH_MODE, "navigate"); /* a link to the page is fine, to data it is not */
	assert_int_equal(ask(&g, q, GUARD_PAGE), 200);
	assert_int_equal(ask(&g, q, GUARD_DATA), 403);
	q = request("POST", "/api/v1/jobs");
	set(q, HEADER_HOST, "localhost:7337");
	assert_int_equal(ask(&g, q, GUARD_DATA), 403);
	set(q, HEADER_X_SEEP, "1");
	assert_int_equal(ask(&g, q, GUARD_DATA), 200);
	set(q, HEADER_ORIGIN, "http://localhost:8000");
	assert_int_equal(ask(&g, q, GUARD_DATA), 403);
}

/* ---- symbols ---------------------------------------------------------------------------------- */

static void addresses_become_names(void **state)
{
	static const struct synth_line inlined[] = { { "inner", "a.c", 1 },
		                                     { "out--er\n", "a.c", 2 } };
	_cleanup_profile_ struct profile *p = synth_new("./service");
	_cleanup_buf_ struct buf out = { 0 };
	uint32_t module = synth_module(p, "/bin/service", 0x1000, 1);
	uint32_t frame = synth_frame(p, 0, module, 0x100, "main", "main.c", 1);

	(void)state;
	synth_frame_lines(p, frame, module, 0x200, inlined, 2);
	symbol_query(p, "0x1100+0x1101+0x1200+0x9999+zz+0x", &out);
	assert_string_equal(out.data,
	                    "0x00001100\tmain\n0x00001101\tmain\n0x00001200\tout -er --inner\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queries_are_decoded),
		cmocka_unit_test(the_same_question_is_the_same),
		cmocka_unit_test(who_takes_gzip),
		cmocka_unit_test(large_text_is_packed),
		cmocka_unit_test(routes_match_whole_parts),
		cmocka_unit_test(numbers_have_bounds),
		cmocka_unit_test(hosts),
		cmocka_unit_test(origins),
		cmocka_unit_test(tokens),
		cmocka_unit_test(other_sites_ask_in_vain),
		cmocka_unit_test(addresses_become_names),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	request("", ""); /* what the last one held goes */
	request_release(request("", ""));
	return failed;
}
