/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A C program that loads a C++ library while it runs, as interpreters do with their extensions: operator new
 * is nowhere when the tracker starts, and later only in the scope of the one who loaded it.
 */
#include "truth.h"

#include <dlfcn.h>

int main(int argc, char **argv)
{
	char path[4096];
	char *slash = strrchr(argv[0], '/');
	int (*work)(int);
	void (*print)(void);
	void *plugin;

	(void)argc;
	snprintf(path, sizeof(path), "%.*s/libplugin_cxx.so", (int)(slash ? slash - argv[0] : 1),
	         slash ? argv[0] : ".");
	plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	CHECK(plugin);
	*(void **)&work = dlsym(plugin, "plugin_cxx_work");
	*(void **)&print = dlsym(plugin, "plugin_cxx_print");
	CHECK(work && print);
	CHECK(work(200) == 200);
	print();
	return 0;
}
