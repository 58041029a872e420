/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the stand-ins are set to, and jemalloc's notation of it: key:value,key:value.  As with jemalloc a value that is not
 * right changes nothing, and a later setting wins; unlike jemalloc nothing is said of it, since the keys that mean
 * nothing here may mean something to the allocator.
 */
#include "track/dropin.h"

#include <string.h>

struct dropin_settings dropin = {
	.alloc_interval = 1ull << 30,
	.inuse_interval = 100ull << 20,
	.cleanup = true,
	.prof_active = true,
	.prof_thread_active_init = true,
	.lg_sample = 19,
	.lg_interval = -1,
	.prefix = "jeprof",
};

bool dropin_number(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	*ret = v;
	return true;
}

static bool word_is(const char *s, size_t n, const char *word)
{
	return strlen(word) == n && !strncmp(s, word, n);
}

static void set_flag(bool *flag, const char *value, size_t n)
{
	if (word_is(value, n, "true"))
		*flag = true;
	else if (word_is(value, n, "false"))
		*flag = false;
}

static void set_option(const char *key, size_t n, const char *value, size_t len)
{
	static const struct {
		const char *name;
		bool *flag;
	} flags[] = {
		{ "prof", &dropin.prof },
		{ "prof_active", &dropin.prof_active },
		{ "prof_accum", &dropin.prof_accum },
		{ "prof_gdump", &dropin.prof_gdump },
		{ "prof_final", &dropin.prof_final },
		{ "prof_leak", &dropin.prof_leak },
		{ "prof_leak_error", &dropin.prof_leak_error },
		{ "prof_thread_active_init", &dropin.prof_thread_active_init },
	};
	char digits[24];
	uint64_t v;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (word_is(key, n, flags[i].name))
			set_flag(flags[i].flag, value, len);
	if (word_is(key, n, "prof_prefix") && len < sizeof(dropin.prefix)) {
		memcpy(dropin.prefix, value, len);
		dropin.prefix[len] = '\0';
	}
	if (len >= sizeof(digits))
		return;
	memcpy(digits, value, len);
	digits[len] = '\0';
	if (word_is(key, n, "lg_prof_sample") && dropin_number(digits, &v) && v < 64)
		dropin.lg_sample = v;
	else if (word_is(key, n, "lg_prof_interval") && word_is(value, len, "-1"))
		dropin.lg_interval = -1;
	else if (word_is(key, n, "lg_prof_interval") && dropin_number(digits, &v) && v < 64)
		dropin.lg_interval = (int64_t)v;
}

void conf_parse(const char *conf)
{
	while (conf && *conf) {
		size_t n = 0, key;

		while (conf[n] && conf[n] != ',' && conf[n] != ':')
			n++;
		key = n;
		while (conf[n] && conf[n] != ',')
			n++;
		if (conf[key] == ':')
			set_option(conf, key, conf + key + 1, n - key - 1);
		conf += n + (conf[n] == ',');
	}
}
