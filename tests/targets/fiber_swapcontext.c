/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fibers: code that runs on stacks the kernel knows nothing of, from malloc and from mmap, switching in
 * the middle of deep calls.  A fiber's stack ends at its start function; main is not on it.
 */
#include "truth.h"

#include <sys/mman.h>
#include <ucontext.h>

#define FIBERS 8
#define STEPS 100
#define STACK_SIZE (64u * 1024)

TRUTH(heap_fiber_alloc);
TRUTH(mapped_fiber_alloc);
TRUTH(main_alloc);

static ucontext_t scheduler, fibers[FIBERS];
static int current, finished;

NOINLINE static void *heap_fiber_alloc(int depth)
{
	void *p = depth ? heap_fiber_alloc(depth - 1) : BORN(heap_fiber_alloc, malloc(48), 48);

	if (!depth)
		swapcontext(&fibers[current], &scheduler);
	NOTAIL();
	return p;
}

NOINLINE static void *mapped_fiber_alloc(int depth)
{
	void *p = depth ? mapped_fiber_alloc(depth - 1) : BORN(mapped_fiber_alloc, malloc(96), 96);

	if (!depth)
		swapcontext(&fibers[current], &scheduler);
	NOTAIL();
	return p;
}

NOINLINE static void *main_alloc(void)
{
	return BORN(main_alloc, malloc(24), 24);
}

static void fiber_main(int id)
{
	for (int i = 0; i < STEPS; i++)
		ESCAPE(id % 2 ? mapped_fiber_alloc(i % 12) : heap_fiber_alloc(i % 9));
	finished++;
}

static void fiber_init(ucontext_t *fiber, void *stack)
{
	CHECK(!getcontext(fiber));
	fiber->uc_stack.ss_sp = stack;
	fiber->uc_stack.ss_size = STACK_SIZE;
	fiber->uc_link = &scheduler;
}

int main(void)
{
	for (int i = 0; i < FIBERS; i++) {
		void *stack = i % 2 ? mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
		                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)
		                    : malloc(STACK_SIZE);

		CHECK(stack && stack != MAP_FAILED);
		fiber_init(&fibers[i], stack);
		makecontext(&fibers[i], (void (*)(void))fiber_main, 1, i);
	}
	for (int step = 0; step <= STEPS; step++) {
		for (current = 0; current < FIBERS; current++)
			CHECK(!swapcontext(&scheduler, &fibers[current]));
		ESCAPE(main_alloc());
	}
	CHECK(finished == FIBERS);
	truth_print("fiber_swapcontext", "main");
	return 0;
}
