/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two plug-ins take turns at the same address.  What each allocated stays in use after it is gone and must
 * still be told by its name: an address alone says nothing here.
 */
#include "truth.h"

#include <dlfcn.h>

#define CYCLES 40

TRUTH(plugin_a_make);
TRUTH(plugin_b_make);

int main(int argc, char **argv)
{
	char path[4096];
	void *base[2] = { NULL, NULL };
	int same = 0;

	(void)argc;
	for (int i = 0; i < CYCLES; i++) {
		char *slash = strrchr(argv[0], '/');
		void *(*make)(size_t);
		void *plugin;

		snprintf(path, sizeof(path), "%.*s/libplugin_%c.so",
		         (int)(slash ? slash - argv[0] : 1), slash ? argv[0] : ".", 'a' + i % 2);
		plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		CHECK(plugin);
		*(void **)&make = dlsym(plugin, "plugin_make");
		CHECK(make);
		for (int k = 0; k < 10; k++) {
			if (i % 2)
				BORN(plugin_b_make, make(60), 60);
			else
				BORN(plugin_a_make, make(50), 50);
		}
		base[i % 2] = *(void **)&make;
		same += i && base[0] == base[1];
		CHECK(!dlclose(plugin));
	}
	truth_print("dlopen_cycle", same ? "same_address" : "other_address");
	return 0;
}
