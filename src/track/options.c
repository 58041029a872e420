/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SEEP_OPTIONS: comma-separated key=value, read once at the first event, so without stdio,
 * locale or strtoul.  An unknown key is ignored (with `verbose=1`, said): a newer
 * seep may drive an older library.
 */
#include <string.h>

#include "track/track.h"

static const struct options defaults = { .active = true, .period = 512 * 1024 };
struct options opt = { .active = true, .period = 512 * 1024 };

void options_reset(void)
{
	opt = defaults;
}

static bool key_is(const char *s, size_t n, const char *key)
{
	return strlen(key) == n && !memcmp(s, key, n);
}

static uint64_t number(const char *s, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n && s[i] >= '0' && s[i] <= '9'; i++) {
		if (v > (UINT64_MAX - 9) / 10)
			return UINT64_MAX;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	return v;
}

void say(const char *a, const char *b)
{
	char line[512];
	size_t n = 0;
	const char *parts[] = { "seep: ", a, b, "\n" };

	if (!opt.verbose)
		return;
	for (size_t i = 0; i < 4; i++)
		for (const char *p = parts[i]; p && *p && n < sizeof(line); p++)
			line[n++] = *p;
	sys_write(2, line, n);
}

/* check=exit+end: words joined by '+'. */
static unsigned int check_moments(const char *s, size_t n)
{
	unsigned int at = 0;

	for (size_t len; n; s += len, n -= len) {
		for (len = 0; len < n && s[len] != '+'; len++)
			;
		if (key_is(s, len, "exit"))
			at |= CHECK_AT_EXIT | CHECK_AT_LOCAL;
		else if (key_is(s, len, "end"))
			at |= CHECK_AT_END | CHECK_AT_LOCAL;
		else if (key_is(s, len, "local") || key_is(s, len, "now"))
			at |= CHECK_AT_LOCAL;
		else if (len)
			say("unknown moment of a check in SEEP_OPTIONS: ", s);
		len += len < n;
	}
	return at;
}

void options_parse(const char *text)
{
	const char *p = text;

	while (p && *p) {
		const char *end = p, *eq = NULL;
		size_t klen, vlen;

		for (; *end && *end != ','; end++)
			if (*end == '=' && !eq)
				eq = end;
		if (eq) {
			klen = (size_t)(eq - p);
			vlen = (size_t)(end - eq - 1);
			if (key_is(p, klen, "dir") && vlen > 0 && vlen < sizeof(opt.dir)) {
				memcpy(opt.dir, eq + 1, vlen);
				opt.dir[vlen] = '\0';
			} else if (key_is(p, klen, "mode")) {
				opt.sampled = key_is(eq + 1, vlen, "sampled");
				opt.mode_set |= vlen > 0;
			} else if (key_is(p, klen, "sample")) {
				opt.period = number(eq + 1, vlen);
				opt.sampled = opt.period > 1;
				opt.mode_set = true;
			} else if (key_is(p, klen, "only")) {
				opt.only = (int)number(eq + 1, vlen);
			} else if (key_is(p, klen, "active")) {
				opt.active = number(eq + 1, vlen) != 0;
			} else if (key_is(p, klen, "seed")) {
				opt.seed = number(eq + 1, vlen);
			} else if (key_is(p, klen, "check")) {
				opt.check = check_moments(eq + 1, vlen);
			} else if (key_is(p, klen, "signal")) {
				uint64_t n = number(eq + 1, vlen);

				opt.signal = n <= 64 ? (int)n : 0;
			} else if (key_is(p, klen, "minimal")) {
				opt.minimal = number(eq + 1, vlen) != 0;
			} else if (key_is(p, klen, "verbose")) {
				opt.verbose = number(eq + 1, vlen) != 0;
			} else {
				say("unknown option in SEEP_OPTIONS: ", p);
			}
		}
		p = *end ? end + 1 : end;
	}
	if (!opt.period)
		opt.period = 512 * 1024;
}
