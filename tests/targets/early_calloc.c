/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations before main: from the preinit array, which runs before any library's constructors, from a constructor, and
 * from inside dlsym() and dlerror().
 */
#include "truth.h"

#include <dlfcn.h>

TRUTH(preinit_alloc);
TRUTH(constructor_alloc);

static void *early[2];

NOINLINE static void *preinit_alloc(void)
{
	return BORN(preinit_alloc, calloc(3, 111), 333);
}

NOINLINE static void *constructor_alloc(void)
{
	return BORN(constructor_alloc, calloc(2, 222), 444);
}

static void at_preinit(void)
{
	early[0] = preinit_alloc();
}
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = at_preinit;

__attribute__((constructor(101))) static void at_constructor(void)
{
	early[1] = constructor_alloc();
}

int main(void)
{
	CHECK(early[0] && early[1]);
	for (int i = 0; i < 333; i++)
		CHECK(!((char *)early[0])[i]);
	CHECK(!dlsym(RTLD_DEFAULT, "no_such_function_anywhere"));
	CHECK(dlerror());
	truth_print("early_calloc", "main");
	return 0;
}
