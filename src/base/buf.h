/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable byte buffer that is always NUL-terminated, so that buf.data is a
 * C string whenever no NUL was added.  Zero-initialise it, buf_release() it.
 * Functions return 0 or -ENOMEM; after a failure the content is what it was and
 * `failed` stays set, so that a long sequence can be checked once at its end.
 */
#ifndef SEEP_BASE_BUF_H
#define SEEP_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data; /* NULL while empty and never grown */
	size_t len; /* bytes, without the closing NUL */
	size_t cap;
	bool failed;
};

#define _cleanup_buf_ __attribute__((cleanup(buf_release)))

int buf_reserve(struct buf *b, size_t extra); /* room for `extra` more bytes */
int buf_add(struct buf *b, const void *data, size_t len);
int buf_puts(struct buf *b, const char *s);
int buf_putc(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_reset(struct buf *b);   /* empties it, keeps the memory, clears failed */
void buf_release(struct buf *b); /* frees the memory, back to zero */
char *buf_steal(struct buf *b);  /* the string (never NULL unless out of memory); b is empty */

#endif
