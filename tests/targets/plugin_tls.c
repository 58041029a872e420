/* SPDX-License-Identifier: Apache-2.0 */
/* A library for static_tls.c whose thread-local memory must come from the loader's static reserve. */
#include <stddef.h>

extern char *plugin_tls_touch(void);

static __thread char reserve[1024];

char *plugin_tls_touch(void)
{
	reserve[sizeof(reserve) - 1]++;
	return reserve;
}
