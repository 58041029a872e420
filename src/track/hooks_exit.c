/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's end: exit() and its relatives, and main, whose return is one.
 *
 * Where the frames of a program end that is about to be checked, and what its registers held, is only known before
 * any of our own frames exist.  So these are a few instructions each that save just that and go on
 * (arch_*.h); check.c decides what to do.  They jump on to the real function: nobody who looks at
 * the stack of an exit handler finds us there.  main is stood in for only when a check is wanted, and is
 * called from here, instead of jumped to, only when its return matters.
 */
#include "track/check.h"
#include "track/dropin.h"

#define IMPL __attribute__((used, visibility("hidden")))

/* Before the C library was found there is nobody to ask; and when it has no such function, this is what it would do. */
static void leave_now(int status)
{
	for (;;)
		sys6(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

static void *onward(void (*fn)(int))
{
	return fn ? (void *)fn : (void *)leave_now;
}

IMPL void *hook_exit(int status, long unused, const struct arch_entry *entry)
{
	(void)unused;
	if (!tracker_resolved())
		tracker_begin();
	check_exit_entered(status, entry);
	return onward(real.exit);
}

IMPL void *hook_underscore_exit(int status, long unused, const struct arch_entry *entry)
{
	(void)unused;
	if (!tracker_resolved())
		tracker_begin();
	check_underscore_exit_entered(status, entry);
	dropin_gone();
	return onward(real._exit);
}

IMPL void *hook_quick_exit(int status, long unused, const struct arch_entry *entry)
{
	(void)unused;
	if (!tracker_resolved())
		tracker_begin();
	check_quick_exit_entered(status, entry);
	dropin_gone();
	return onward(real.quick_exit);
}

ARCH_ENTRY_JUMP(".globl", exit, hook_exit);
ARCH_ENTRY_JUMP(".globl", _exit, hook_underscore_exit);
ARCH_ENTRY_JUMP(".globl", _Exit, hook_underscore_exit);
ARCH_ENTRY_JUMP(".globl", quick_exit, hook_quick_exit);

IMPL struct arch_main hook_main_entered(const struct arch_entry *entry)
{
	return check_main_entered(entry);
}

IMPL void hook_main_returned(int status, long unused, const struct arch_entry *entry)
{
	check_main_returned(status, unused, entry);
}

ARCH_ENTRY_MAIN(hook_main, hook_main_entered, hook_main_returned);
extern int hook_main(int, char **, char **) __attribute__((visibility("hidden")));

EXPORT int __libc_start_main(int (*fn)(int, char **, char **), int argc, char **argv,
                             void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
                             void *stack_end)
{
	if (!tracker_resolved())
		tracker_begin();
	if (check_wants_main()) {
		check_main = fn;
		fn = hook_main;
	}
	return real.__libc_start_main(fn, argc, argv, init, fini, rtld_fini, stack_end);
}
