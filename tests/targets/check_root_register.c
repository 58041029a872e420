/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointer is in a register that calls preserve. */
#include "leaktruth.h"

NOINLINE static uintptr_t make_kept(void)
{
	void *p = leak_new(216);

	LEAK(p, 216, REACHABLE);
	return hide(p);
}

/*
 * The pointer is in r14 while the program waits in a system call made right here, and in _exit().
 * It ends by _exit(), so that no frame of libc saves the register first.
 */
int main(int argc, char **argv)
{
	uintptr_t hidden = make_kept();

	leak_print("check_root_register", "main");
	leak_scrub();
	__asm__ volatile(
		"mov %[hidden], %%r14\n\t"
		"not %%r14\n\t"
		"test %[hold], %[hold]\n\t"
		"jz 2f\n"
		"1:\tmov %[number], %%eax\n\t"
		"xor %%edi, %%edi\n\t"
		"lea -1024(%%rsp), %%rsi\n\t"
		"mov $1, %%edx\n\t"
		"syscall\n\t"
		"test %%rax, %%rax\n\t"
		"jg 1b\n"
		"2:\txor %%edi, %%edi\n\t"
		"and $-16, %%rsp\n\t"
		"call _exit@PLT"
		:
		: [hidden] "r"(hidden), [hold] "r"((int)leak_holds(argc, argv)), [number] "i"(0)
		: "r14", "rax", "rcx", "r11", "rdi", "rsi", "rdx", "memory", "cc");
	return 97;
}
