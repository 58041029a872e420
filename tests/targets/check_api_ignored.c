/* SPDX-License-Identifier: Apache-2.0 */
/* The program asks for blocks to be ignored: they and what they hold are no leaks; one is un-ignored by nobody. */
#include "leaktruth.h"

extern void __lsan_ignore_object(const void *p) __attribute__((weak));

NOINLINE static void *make_held(void)
{
	void *p = leak_new(56);

	LEAK_AT(p, 56, INDIRECT, SUPPRESSED, SUPPRESSED, SUPPRESSED);
	return p;
}

NOINLINE static void make_ignored(void)
{
	void **p = leak_new(824);

	p[9] = make_held();
	if (__lsan_ignore_object)
		__lsan_ignore_object(p);
	LEAK_AT(p, 824, DEFINITE, SUPPRESSED, SUPPRESSED, SUPPRESSED);
}

NOINLINE static void make_lost(void)
{
	LEAK(leak_new(840), 840, DEFINITE);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 5; i++) {
		make_ignored();
		make_lost();
	}
	leak_ready("check_api_ignored", argc, argv);
}
