/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointer is below the stack pointer, in the 128 bytes that leaf functions may use. */
#include "check_threads.h"

NOINLINE static uintptr_t make_kept(void)
{
	void *p = leak_new(328);

	LEAK(p, 328, REACHABLE);
	return hide(p);
}

/* A thread of its own, so that the state lasts while main calls exit(). */
static void *run(void *arg)
{
	uintptr_t hidden = make_kept();

	(void)arg;
	leak_scrub();
	__asm__ volatile("not %[hidden]\n\t"
	                 "mov %[hidden], -104(%%rsp)\n\t"
	                 "xor %[hidden], %[hidden]\n\t"
	                 "lock incl %[waiting]\n"
	                 "1:\tmov %[number], %%eax\n\t"
	                 "syscall\n\t"
	                 "jmp 1b"
	                 : [hidden] "+r"(hidden), [waiting] "+m"(threads_waiting)
	                 : [number] "i"(SYS_pause)
	                 : "rax", "rcx", "r11", "memory", "cc");
	return NULL;
}

int main(int argc, char **argv)
{
	thread_start(run, NULL);
	leak_ready("check_root_red_zone", argc, argv);
}
