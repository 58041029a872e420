/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_lsan [leak|recoverable|off]: LeakSanitizer's interface in a program built without it, as programs use
 * it that are sometimes built with it: weak references.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEAK __attribute__((weak))

extern void __lsan_ignore_object(const void *p) WEAK;
extern void __lsan_register_root_region(const void *p, size_t n) WEAK;
extern void __lsan_unregister_root_region(const void *p, size_t n) WEAK;
extern void __lsan_disable(void) WEAK;
extern void __lsan_enable(void) WEAK;
extern void __lsan_do_leak_check(void) WEAK;
extern int __lsan_do_recoverable_leak_check(void) WEAK;

const char *__lsan_default_suppressions(void);
int __lsan_is_turned_off(void);

static int off;

const char *__lsan_default_suppressions(void)
{
	return "leak:known_to_the_program\n";
}

int __lsan_is_turned_off(void)
{
	return off;
}

static char region[64];

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	void *p = calloc(1, 10), *q;

	if (!__lsan_disable) {
		puts("not there");
		return 50;
	}
	off = !strcmp(how, "off");
	__lsan_ignore_object(p);
	__lsan_register_root_region(region, 16);
	__lsan_register_root_region(region + 32, 16);
	__lsan_unregister_root_region(region, 16);
	__lsan_disable();
	q = malloc(1003);
	__asm__ volatile("" : : "g"(q) : "memory"); /* or the compiler may leave it out */
	__lsan_enable();
	printf("ignored %p\nregion %p\nsuppressions %p\nblock %d\n", p, (void *)(region + 32),
	       (void *)(unsigned long)__lsan_default_suppressions, q != NULL);
	fflush(stdout);
	if (!strcmp(how, "recoverable"))
		printf("recoverable %d\n", __lsan_do_recoverable_leak_check());
	if (!strcmp(how, "leak")) {
		__lsan_do_leak_check();
		__lsan_do_leak_check(); /* of no effect */
		puts("still there");
	}
	return 51;
}
