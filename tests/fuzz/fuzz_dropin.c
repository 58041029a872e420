/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An environment as the tracker reads it in a program: the variables of other heap profilers, and the notation of MALLOC_CONF.
 * What comes out lies within what the rest relies on.
 */
#include <stdlib.h>
#include <string.h>

#include "track/dropin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *conf = malloc(64), *profile = malloc(16);
	struct variable v[] = { { "MALLOC_CONF", conf, 64, false },
		                { "HEAPPROFILE", profile, 16, false } };
	struct dropin_settings start = dropin;
	uint64_t n;

	conf[0] = profile[0] = '\0';
	environ_parse(v, 2, (const char *)data, size);
	if (strlen(conf) >= 64 || strlen(profile) >= 16)
		abort();
	if ((!v[0].set && conf[0]) || (!v[1].set && profile[0]))
		abort();
	conf_parse(conf);
	if (dropin.lg_sample > 63 || dropin.lg_interval < -1 || dropin.lg_interval > 63 ||
	    !memchr(dropin.prefix, '\0', sizeof(dropin.prefix)))
		abort();
	if (dropin_number(profile, &n) && !profile[0])
		abort();
	dropin = start;
	free(conf);
	free(profile);
	return 0;
}
