/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plug-in for dlopen_cycle.c, built twice, with the function's name as the only difference, so that
 * the loader puts one where the other was.
 */
#include <stddef.h>
#include <stdlib.h>

extern void *PLUGIN_MAKE(size_t size);
extern void *plugin_make(size_t size);

__attribute__((noinline)) void *PLUGIN_MAKE(size_t size)
{
	void *p = malloc(size);

	__asm__ volatile("" : : "g"(p) : "memory");
	return p;
}

void *plugin_make(size_t size)
{
	void *p = PLUGIN_MAKE(size);

	__asm__ volatile("" : : "g"(p) : "memory");
	return p;
}
