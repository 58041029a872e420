/* SPDX-License-Identifier: Apache-2.0 */
/* debuginfod by dlopen: see debuginfod.h. */
#include "sym/debuginfod.h"

#include "sym/symfile.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct debuginfod_client; /* as in <elfutils/debuginfod.h>, which need not be installed */

static struct {
	struct debuginfod_client *(*begin)(void);
	int (*find)(struct debuginfod_client *, const unsigned char *, int, char **);
	void (*end)(struct debuginfod_client *);
	bool usable;
} lib;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
	void *h = dlopen("libdebuginfod.so.1", RTLD_LAZY);

	if (!h)
		return;
	/* Never closed: libcurl does not survive that. */
	*(void **)&lib.begin = dlsym(h, "debuginfod_begin");
	*(void **)&lib.find = dlsym(h, "debuginfod_find_debuginfo");
	*(void **)&lib.end = dlsym(h, "debuginfod_end");
	lib.usable = lib.begin && lib.find && lib.end;
}

bool debuginfod_wanted(void)
{
	const char *urls = getenv("DEBUGINFOD_URLS");

	return urls && *urls;
}

int debuginfod_fetch(const uint8_t *id, size_t len, struct warnings *warn)
{
	struct debuginfod_client *client;
	int fd;

	if (!debuginfod_wanted() || !len)
		return -1;
	pthread_once(&once, load);
	if (!lib.usable) {
		warnings_add(warn, "DEBUGINFOD_URLS is set but libdebuginfod.so.1 cannot be loaded: "
		                   "install the package libdebuginfod1");
		return -1;
	}
	client = lib.begin();
	if (!client)
		return -1;
	fd = lib.find(client, id, (int)len, NULL);
	lib.end(client);
	if (fd < 0 && fd != -ENOENT && fd != -ENOSYS)
		warnings_add(warn,
		             "debuginfod did not answer (%s): some debug information may be "
		             "missing; check DEBUGINFOD_URLS",
		             strerror(-fd));
	return fd < 0 ? -1 : fd;
}
