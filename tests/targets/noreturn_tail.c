/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function whose last instruction is a call to one that never returns: its return address is the first
 * byte of whatever comes next.  The name must be the caller's.
 */
#include "truth.h"

TRUTH(never_returns);

__attribute__((noinline, noreturn)) static void never_returns(int status)
{
	for (int i = 0; i < 3; i++)
		BORN(never_returns, malloc(31), 31);
	truth_print("noreturn_tail", "main");
	exit(status);
}

__attribute__((noinline, noreturn)) static void last_word(int status)
{
	never_returns(status + 1);
}

__attribute__((noinline, used)) static int whatever_comes_next(int x)
{
	return x * 3;
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 100)
		return whatever_comes_next(argc);
	last_word(3);
}
