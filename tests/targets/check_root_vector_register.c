/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointer is in a vector register, while the program waits; no call preserves it. */
#include "leaktruth.h"

NOINLINE static uintptr_t make_kept(void)
{
	void *p = leak_new(232);

	LEAK_AT(p, 232, REACHABLE, REACHABLE, DEFINITE, DEFINITE);
	return hide(p);
}

int main(int argc, char **argv)
{
	uintptr_t hidden = make_kept();

	leak_print("check_root_vector_register", "main");
	leak_scrub();
	if (leak_holds(argc, argv))
		__asm__ volatile("mov %[hidden], %%rax\n\t"
		                 "not %%rax\n\t"
		                 "movq %%rax, %%xmm7\n\t"
		                 "xor %%eax, %%eax\n"
		                 "1:\txor %%eax, %%eax\n\t"
		                 "xor %%edi, %%edi\n\t"
		                 "lea -1024(%%rsp), %%rsi\n\t"
		                 "mov $1, %%edx\n\t"
		                 "syscall\n\t"
		                 "test %%rax, %%rax\n\t"
		                 "jg 1b\n\t"
		                 "pxor %%xmm7, %%xmm7"
		                 :
		                 : [hidden] "r"(hidden)
		                 : "rax", "rcx", "r11", "rdi", "rsi", "rdx", "xmm7", "memory", "cc");
	leak_scrub();
	exit(0);
}
