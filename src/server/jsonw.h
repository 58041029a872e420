/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON as the API sends it: packed, columns included, appended to a buffer.  (output/emit.h is for what text and JSON both
 * say, laid out for people; an answer with 100,000 nodes wants neither blanks nor a call for each number.)
 *
 * Keys are literals of ours and are not escaped; every string is, and is valid UTF-8 whatever went in.  `key` is NULL in arrays
 * and at the top.
 */
#ifndef SEEP_SERVER_JSONW_H
#define SEEP_SERVER_JSONW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

struct jsonw {
	struct buf *out;
	bool comma; /* the next value needs one before it */
};

void jw_object(struct jsonw *j, const char *key);
void jw_object_end(struct jsonw *j);
void jw_array(struct jsonw *j, const char *key);
void jw_array_end(struct jsonw *j);

void jw_string(struct jsonw *j, const char *key, const char *v); /* NULL: null */
void jw_int(struct jsonw *j, const char *key, int64_t v);        /* STORE_NONE: null */
void jw_u64(struct jsonw *j, const char *key, uint64_t v);
void jw_real(struct jsonw *j, const char *key, double v); /* NaN, infinity: null */
void jw_bool(struct jsonw *j, const char *key, bool v);
void jw_null(struct jsonw *j, const char *key);
void jw_hex(struct jsonw *j, const char *key, uint64_t v, int digits); /* a string; digits 0: 0x... */
/* Text that is JSON already; "" and NULL: null. */
void jw_raw(struct jsonw *j, const char *key, const char *text);
/* A whole column. */
void jw_column_u32(struct jsonw *j, const char *key, const uint32_t *v, size_t n);
void jw_column_u64(struct jsonw *j, const char *key, const uint64_t *v, size_t n);
void jw_column_int(struct jsonw *j, const char *key, const int64_t *v, size_t n);

#endif
