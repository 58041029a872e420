/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks allocated while the program has leak checks disabled in this thread are no leaks. */
#include "leaktruth.h"

extern void __lsan_disable(void) __attribute__((weak));
extern void __lsan_enable(void) __attribute__((weak));

NOINLINE static void make_disabled(void)
{
	void *p = leak_new(856);

	LEAK_AT(p, 856, DEFINITE, SUPPRESSED, SUPPRESSED, SUPPRESSED);
}

NOINLINE static void make_lost(void)
{
	LEAK(leak_new(872), 872, DEFINITE);
}

int main(int argc, char **argv)
{
	make_lost();
	if (__lsan_disable)
		__lsan_disable();
	for (int i = 0; i < 6; i++)
		make_disabled();
	if (__lsan_enable)
		__lsan_enable();
	make_lost();
	leak_ready("check_api_disabled", argc, argv);
}
