/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the library of check_plugin.c, which lies beside the program. */
#ifndef TARGETS_CHECK_PLUGIN_H
#define TARGETS_CHECK_PLUGIN_H

#include "check_threads.h"

#include <dlfcn.h>

static void (*plugin_keep)(void *p);
static void (*plugin_keep_in_thread)(void *p);

__attribute__((unused)) static void *plugin_open(const char *program)
{
	char path[4096];
	const char *slash = strrchr(program, '/');
	void *plugin;

	snprintf(path, sizeof(path), "%.*s/libcheck_plugin.so", (int)(slash ? slash - program : 1),
	         slash ? program : ".");
	plugin = dlopen(path, RTLD_NOW);
	CHECK(plugin);
	*(void **)&plugin_keep = dlsym(plugin, "check_plugin_keep");
	*(void **)&plugin_keep_in_thread = dlsym(plugin, "check_plugin_keep_in_thread");
	CHECK(plugin_keep && plugin_keep_in_thread);
	return plugin;
}

#endif
