/* SPDX-License-Identifier: Apache-2.0 */
/* The library whose data held the only pointers was unloaded. */
#include "check_plugin.h"

NOINLINE static void make_lost(void)
{
	void *p = leak_new(440);

	plugin_keep(p);
	LEAK(p, 440, DEFINITE);
}

int main(int argc, char **argv)
{
	void *plugin = plugin_open(argv[0]);

	for (int i = 0; i < 10; i++)
		make_lost();
	CHECK(!dlclose(plugin));
	leak_ready("check_dlclose_data", argc, argv);
}
