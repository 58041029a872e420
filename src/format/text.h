/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a line apart from left to right: each function moves *p past what it took, or leaves it and
 * says false.  Lines are NUL-terminated.
 */
#ifndef SEEP_FORMAT_TEXT_H
#define SEEP_FORMAT_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline void text_blanks(char **p)
{
	while (**p == ' ' || **p == '\t')
		(*p)++;
}

/* A literal. */
static inline bool text_take(char **p, const char *what)
{
	size_t n = strlen(what);

	if (strncmp(*p, what, n) != 0)
		return false;
	*p += n;
	return true;
}

/* Decimal digits; with `commas` also as people write them, 1,234,567. */
static inline bool text_number(char **p, bool commas, uint64_t *ret)
{
	uint64_t v = 0;
	char *q = *p;

	if (*q < '0' || *q > '9')
		return false;
	for (; (*q >= '0' && *q <= '9') || (commas && *q == ',' && q[1] >= '0' && q[1] <= '9'); q++)
		if (*q != ',' && (__builtin_mul_overflow(v, 10, &v) ||
		                  __builtin_add_overflow(v, (uint64_t)(*q - '0'), &v)))
			return false;
	*ret = v;
	*p = q;
	return true;
}

static inline bool text_u64(char **p, uint64_t *ret)
{
	return text_number(p, false, ret);
}

/* 16 and more: it is none. */
static inline unsigned int text_digit(char c)
{
	unsigned int digit = (unsigned int)(uint8_t)c - '0',
		     letter = ((unsigned int)(uint8_t)c | 0x20) - 'a';

	return digit < 10 ? digit : letter < 6 ? letter + 10 : 255;
}

/* Hexadecimal digits, without 0x. */
static inline bool text_hex(char **p, uint64_t *ret)
{
	uint64_t v = 0;
	unsigned int digit;
	char *q = *p;

	for (; (digit = text_digit(*q)) < 16; q++) {
		if (v >> 60)
			return false;
		v = v << 4 | digit;
	}
	if (q == *p)
		return false;
	*ret = v;
	*p = q;
	return true;
}

static inline bool text_0x(char **p, uint64_t *ret)
{
	char *q = *p;

	if (!text_take(&q, "0x") || !text_hex(&q, ret))
		return false;
	*p = q;
	return true;
}

static inline bool text_ends(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

#endif
