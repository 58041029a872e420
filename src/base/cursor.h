/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounds-checked reader over untrusted bytes.  A read past the end sets
 * `failed`, consumes nothing and yields zero; later reads fail too, so a parser
 * may read a whole record and check once.  Nothing is copied: strings and
 * blocks point into the input.
 */
#ifndef SEEP_BASE_CURSOR_H
#define SEEP_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
	const uint8_t *start, *pos, *end;
	bool failed;
};

static inline struct cursor cursor_make(const void *data, size_t len)
{
	const uint8_t *p = data;

	return (struct cursor){ p, p, p + len, false };
}

static inline size_t cursor_left(const struct cursor *c)
{
	return c->failed ? 0 : (size_t)(c->end - c->pos);
}

static inline size_t cursor_offset(const struct cursor *c)
{
	return (size_t)(c->pos - c->start);
}

/* The next n bytes, or NULL. */
static inline const uint8_t *cursor_bytes(struct cursor *c, size_t n)
{
	const uint8_t *p = c->pos;

	if (n > cursor_left(c)) {
		c->failed = true;
		return NULL;
	}
	c->pos += n;
	return p;
}

#define CURSOR_READER(type, name)                                 \
	static inline type cursor_##name(struct cursor *c)        \
	{                                                         \
		const uint8_t *p = cursor_bytes(c, sizeof(type)); \
		type v = 0;                                       \
		if (p)                                            \
			memcpy(&v, p, sizeof(v));                 \
		return v;                                         \
	}
CURSOR_READER(uint8_t, u8)
CURSOR_READER(uint16_t, u16)
CURSOR_READER(uint32_t, u32)
CURSOR_READER(uint64_t, u64)
#undef CURSOR_READER

/* Unsigned LEB128; more than 64 bits of value is a failure. */
static inline uint64_t cursor_uleb(struct cursor *c)
{
	uint64_t v = 0;
	unsigned int shift = 0;

	if (!c->failed && c->pos < c->end && *c->pos < 0x80) /* most are small */
		return *c->pos++;
	for (;;) {
		uint8_t b = cursor_u8(c);

		if (c->failed)
			return 0;
		if (shift > 63 || (shift == 63 && (b & 0x7e))) {
			c->failed = true;
			return 0;
		}
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
		shift += 7;
	}
}

/* A NUL-terminated string inside the input, or NULL. */
static inline const char *cursor_cstr(struct cursor *c)
{
	const uint8_t *p = c->pos;
	const uint8_t *nul = cursor_left(c) ? memchr(p, 0, cursor_left(c)) : NULL;

	if (!nul) {
		c->failed = true;
		return NULL;
	}
	c->pos = nul + 1;
	return (const char *)p;
}

#endif
