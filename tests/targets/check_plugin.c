/* SPDX-License-Identifier: Apache-2.0 */
/* A library for check_dlopen_data.c, check_dlclose_data.c and check_root_tls_dynamic.c: two places to keep pointers in. */
#include <stddef.h>

/* What is never read again is stored all the same. */
#define STORED() __asm__ volatile("" : : "r"(kept), "r"(kept_in_thread) : "memory")

extern void check_plugin_keep(void *p);
extern void check_plugin_keep_in_thread(void *p);

static void *kept[10];
static size_t nkept;
static __thread void *kept_in_thread[100];

void check_plugin_keep(void *p)
{
	kept[nkept++ % 10] = p;
	STORED();
}

void check_plugin_keep_in_thread(void *p)
{
	kept_in_thread[42] = p;
	STORED();
}
