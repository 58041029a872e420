/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers are written by hand: of an answer of two megabytes nine tenths are numbers, and printf takes five times as long. */
#include "server/jsonw.h"

#include "base/buf.h"
#include "output/markup.h"
#include "store/store.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void begin(struct jsonw *j, const char *key)
{
	if (j->comma)
		buf_putc(j->out, ',');
	if (key) {
		buf_putc(j->out, '"');
		buf_puts(j->out, key);
		buf_add(j->out, "\":", 2);
	}
	j->comma = true;
}

static void open_with(struct jsonw *j, const char *key, char c)
{
	begin(j, key);
	buf_putc(j->out, c);
	j->comma = false;
}

static void close_with(struct jsonw *j, char c)
{
	buf_putc(j->out, c);
	j->comma = true;
}

void jw_object(struct jsonw *j, const char *key)
{
	open_with(j, key, '{');
}

void jw_object_end(struct jsonw *j)
{
	close_with(j, '}');
}

void jw_array(struct jsonw *j, const char *key)
{
	open_with(j, key, '[');
}

void jw_array_end(struct jsonw *j)
{
	close_with(j, ']');
}

void jw_string(struct jsonw *j, const char *key, const char *v)
{
	begin(j, key);
	if (v)
		markup_json(j->out, v);
	else
		buf_puts(j->out, "null");
}

static char *put_digits(char *end, uint64_t v)
{
	do
		*--end = (char)('0' + v % 10);
	while (v /= 10);
	return end;
}

static void put_u64(struct buf *b, uint64_t v)
{
	char text[24], *end = text + sizeof(text), *at = put_digits(end, v);

	buf_add(b, at, (size_t)(end - at));
}

static void put_int(struct buf *b, int64_t v)
{
	if (v == STORE_NONE) {
		buf_add(b, "null", 4);
		return;
	}
	if (v < 0)
		buf_putc(b, '-');
	put_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void jw_int(struct jsonw *j, const char *key, int64_t v)
{
	begin(j, key);
	put_int(j->out, v);
}

void jw_u64(struct jsonw *j, const char *key, uint64_t v)
{
	begin(j, key);
	put_u64(j->out, v);
}

void jw_real(struct jsonw *j, const char *key, double v)
{
	begin(j, key);
	if (isfinite(v))
		buf_printf(j->out, "%.9g", v);
	else
		buf_puts(j->out, "null");
}

void jw_bool(struct jsonw *j, const char *key, bool v)
{
	begin(j, key);
	buf_puts(j->out, v ? "true" : "false");
}

void jw_null(struct jsonw *j, const char *key)
{
	begin(j, key);
	buf_puts(j->out, "null");
}

void jw_hex(struct jsonw *j, const char *key, uint64_t v, int digits)
{
	begin(j, key);
	if (digits)
		buf_printf(j->out, "\"%0*" PRIx64 "\"", digits, v);
	else
		buf_printf(j->out, "\"0x%" PRIx64 "\"", v);
}

void jw_raw(struct jsonw *j, const char *key, const char *text)
{
	begin(j, key);
	buf_puts(j->out, text && *text ? text : "null");
}

/* Room for the digits is made once; then they are written in place. */
static char *column_room(struct jsonw *j, const char *key, size_t n)
{
	jw_array(j, key);
	if (buf_reserve(j->out, n * 21 + 1) < 0)
		return NULL;
	return j->out->data + j->out->len;
}

static void column_end(struct jsonw *j, char *at)
{
	if (at) {
		j->out->len = (size_t)(at - j->out->data);
		*at = '\0';
	}
	jw_array_end(j);
}

static char *put_item(char *at, uint64_t v, bool first)
{
	char text[24], *end = text + sizeof(text), *digits = put_digits(end, v);

	if (!first)
		*at++ = ',';
	memcpy(at, digits, (size_t)(end - digits));
	return at + (end - digits);
}

void jw_column_u32(struct jsonw *j, const char *key, const uint32_t *v, size_t n)
{
	char *at = column_room(j, key, n);

	for (size_t i = 0; at && i < n; i++)
		at = put_item(at, v[i], !i);
	column_end(j, at);
}

void jw_column_u64(struct jsonw *j, const char *key, const uint64_t *v, size_t n)
{
	char *at = column_room(j, key, n);

	for (size_t i = 0; at && i < n; i++)
		at = put_item(at, v[i], !i);
	column_end(j, at);
}

void jw_column_int(struct jsonw *j, const char *key, const int64_t *v, size_t n)
{
	jw_array(j, key);
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_putc(j->out, ',');
		put_int(j->out, v[i]);
	}
	jw_array_end(j);
}
