/* SPDX-License-Identifier: Apache-2.0 */
/* Main waits on a stack of its own making: that stack holds a pointer, and so does the one it came from. */
#include "leaktruth.h"

#include <sys/mman.h>
#include <ucontext.h>

static ucontext_t home, fiber;
static int fiber_argc;
static char **fiber_argv;

NOINLINE static void *make_kept(void)
{
	void *p = leak_new(472);

	LEAK(p, 472, REACHABLE);
	return p;
}

static void on_fiber(void)
{
	void *kept[2] = { make_kept(), make_kept() };

	ESCAPE(kept);
	leak_ready("check_root_fiber", fiber_argc, fiber_argv);
	ESCAPE(kept);
}

int main(int argc, char **argv)
{
	size_t size = 256 << 10;
	void *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *kept[2] = { make_kept(), make_kept() };

	ESCAPE(kept);
	fiber_argc = argc;
	fiber_argv = argv;
	CHECK(stack != MAP_FAILED && !getcontext(&fiber));
	fiber.uc_stack.ss_sp = stack;
	fiber.uc_stack.ss_size = size;
	fiber.uc_link = &home;
	makecontext(&fiber, on_fiber, 0);
	leak_scrub();
	CHECK(!swapcontext(&home, &fiber));
	ESCAPE(kept);
	return 97;
}
