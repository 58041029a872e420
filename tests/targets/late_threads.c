/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program without threads whose plug-in makes some: before glibc 2.34 pthread_create() comes with the plug-in, long
 * after the tracker has looked for it.  Each line on standard input is a round; it ends when there are no more.
 */
#include "truth.h"

#include <dlfcn.h>

TRUTH(late_block);

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	unsigned int (*work)(unsigned int blocks);
	char path[4096], line[16];
	void *plugin = NULL;

	(void)argc;
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		unsigned int made;

		if (!plugin) {
			snprintf(path, sizeof(path), "%.*s/liblate_threads_plugin.so",
			         (int)(slash ? slash - argv[0] : 1), slash ? argv[0] : ".");
			plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
			CHECK(plugin);
			*(void **)&work = dlsym(plugin, "late_work");
			CHECK(work);
		}
		made = work(25);
		for (unsigned int i = 0; i < made; i++)
			BORN(late_block, line, 40);
		printf("%u\n", made);
		fflush(stdout);
	}
	truth_print("late_threads", "main");
	if (plugin)
		CHECK(!dlclose(plugin));
	return 0;
}
