/* SPDX-License-Identifier: Apache-2.0 */
/* Pointers in the frame of main hold nothing once main has returned. */
#include "leaktruth.h"

NOINLINE static void *make_kept(void)
{
	void *p = leak_new(248);

	LEAK_AT(p, 248, REACHABLE, REACHABLE, DEFINITE, DEFINITE);
	return p;
}

int main(int argc, char **argv)
{
	void *kept[200];

	memset(kept, 0, sizeof(kept));
	for (int i = 90; i < 95; i++)
		kept[i] = make_kept();
	ESCAPE(kept);
	leak_pause("check_stale_main_frame", argc, argv);
	ESCAPE(kept);
	return 0;
}
