/* SPDX-License-Identifier: Apache-2.0 */
/* Allocations in a signal handler on its own stack: the stack goes on through the signal frame to main. */
#include "truth.h"

#include <signal.h>

TRUTH(handler_alloc);

NOINLINE static void handler_alloc(int sig)
{
	(void)sig;
	BORN(handler_alloc, malloc(128), 128);
	NOTAIL();
}

NOINLINE static void poke(int depth)
{
	if (depth)
		poke(depth - 1);
	else
		raise(SIGUSR1); /* synchronous: malloc is safe in the handler */
	NOTAIL();
}

int main(void)
{
	static char altstack[65536];
	stack_t stack = { .ss_sp = altstack, .ss_size = sizeof(altstack) };
	struct sigaction action = { .sa_handler = handler_alloc, .sa_flags = SA_ONSTACK };

	CHECK(!sigaltstack(&stack, NULL));
	CHECK(!sigaction(SIGUSR1, &action, NULL));
	for (int i = 0; i < 60; i++)
		poke(i % 5);
	truth_print("sigaltstack_alloc", "main");
	return 0;
}
