/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointers are in the data of a library that was loaded by dlopen(). */
#include "check_plugin.h"

NOINLINE static void make_kept(void)
{
	void *p = leak_new(424);

	plugin_keep(p);
	LEAK(p, 424, REACHABLE);
}

int main(int argc, char **argv)
{
	plugin_open(argv[0]);
	for (int i = 0; i < 10; i++)
		make_kept();
	leak_ready("check_dlopen_data", argc, argv);
}
