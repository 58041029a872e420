/* SPDX-License-Identifier: Apache-2.0 */
/* dlopen of a library that needs static TLS: the reserve is small, and the tracker must leave it alone. */
#include "truth.h"

#include <dlfcn.h>

TRUTH(make_one);

NOINLINE static void *make_one(void)
{
	return BORN(make_one, malloc(10), 10);
}

int main(int argc, char **argv)
{
	char path[4096];
	char *slash = strrchr(argv[0], '/');
	char *(*touch)(void);
	void *plugin;

	(void)argc;
	snprintf(path, sizeof(path), "%.*s/libplugin_tls.so", (int)(slash ? slash - argv[0] : 1),
	         slash ? argv[0] : ".");
	plugin = dlopen(path, RTLD_NOW);
	CHECK(plugin);
	*(void **)&touch = dlsym(plugin, "plugin_tls_touch");
	CHECK(touch && touch());
	ESCAPE(make_one());
	truth_print("static_tls", "main");
	return 0;
}
