/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as people type them: see parse.h.
 *
 * strtod() and friends take too much (signs, blanks, "inf", hexadecimal floats)
 * and depend on the locale, so the decimal reader is our own: digits, at most one
 * point, then a unit out of a table.
 */
#include "base/parse.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
	const char *name;
	double factor;
};

static const struct unit size_units[] = {
	{ "", 1 },
	{ "b", 1 },
	{ "k", 1024. },
	{ "kb", 1024. },
	{ "kib", 1024. },
	{ "m", 1048576. },
	{ "mb", 1048576. },
	{ "mib", 1048576. },
	{ "g", 1073741824. },
	{ "gb", 1073741824. },
	{ "gib", 1073741824. },
	{ "t", 1099511627776. },
	{ "tb", 1099511627776. },
	{ "tib", 1099511627776. },
};

static const struct unit time_units[] = {
	{ "ns", 1 },   { "us", 1e3 },   { "ms", 1e6 },    { "s", 1e9 },
	{ "m", 60e9 }, { "h", 3600e9 }, { "d", 86400e9 },
};

/* Digits with at most one point between or after them; NULL when there are none. */
static const char *decimal(const char *s, double *ret)
{
	double v = 0, scale = 1;
	const char *p = s;

	for (; isdigit((unsigned char)*p); p++)
		v = v * 10 + (*p - '0');
	if (p == s)
		return NULL;
	if (*p == '.') {
		for (p++; isdigit((unsigned char)*p); p++) {
			scale /= 10;
			v += (*p - '0') * scale;
		}
	}
	*ret = v;
	return p;
}

static const struct unit *unit_find(const struct unit *units, size_t n, const char *s, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(units[i].name) == len && !strncasecmp(units[i].name, s, len))
			return &units[i];
	return NULL;
}

static int to_u64(double v, uint64_t *ret)
{
	if (!(v < 18446744073709549568.)) /* the largest double below 2^64 */
		return -ERANGE;
	*ret = (uint64_t)(v + 0.5);
	return 0;
}

int parse_u64(const char *s, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)s[0]))
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &end, s[0] == '0' && (s[1] | 32) == 'x' ? 16 : 10);
	if (errno)
		return -errno;
	if (*end)
		return -EINVAL;
	*ret = v;
	return 0;
}

int parse_size(const char *s, uint64_t *ret)
{
	const struct unit *u;
	const char *p;
	double v;

	if (!parse_u64(s, ret)) /* exact beyond 2^53 */
		return 0;
	p = decimal(s, &v);
	if (!p)
		return -EINVAL;
	u = unit_find(size_units, ARRAY_SIZE(size_units), p, strlen(p));
	if (!u)
		return -EINVAL;
	return to_u64(v * u->factor, ret);
}

int parse_duration(const char *s, uint64_t *ret)
{
	double v, total = 0;
	const char *p = s;

	do {
		const struct unit *u;
		size_t len;

		p = decimal(p, &v);
		if (!p)
			return -EINVAL;
		len = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
		if (!len && !*p && total == 0) {
			total = v * 1e9;
			break;
		}
		u = unit_find(time_units, ARRAY_SIZE(time_units), p, len);
		if (!u)
			return -EINVAL;
		total += v * u->factor;
		p += len;
	} while (*p);
	return to_u64(total, ret);
}

int parse_percent(const char *s, double *ret)
{
	const char *p;
	double v;

	p = decimal(s, &v);
	if (!p || (*p && strcmp(p, "%")))
		return -EINVAL;
	if (!(v <= 100))
		return -ERANGE;
	*ret = v;
	return 0;
}
