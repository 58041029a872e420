/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hand-written code without unwind information, as JITs and old assembly have it.  With a frame pointer the
 * stack goes on behind it; without one it may end there, and then says so.
 */
#include "truth.h"

TRUTH(below_framed);
TRUTH(below_bare);

extern void *framed_call(void *(*callee)(void));
extern void *bare_call(void *(*callee)(void));

/* Before .cfi_startproc: no FDE covers these. */
__asm__(".text\n"
        ".globl framed_call\n"
        ".type framed_call, @function\n"
        "framed_call:\n"
        "	push %rbp\n"
        "	mov %rsp, %rbp\n"
        "	sub $32, %rsp\n"
        "	call *%rdi\n"
        "	leave\n"
        "	ret\n"
        ".size framed_call, .-framed_call\n"
        ".globl bare_call\n"
        ".type bare_call, @function\n"
        "bare_call:\n"
        "	sub $40, %rsp\n"
        "	call *%rdi\n"
        "	add $40, %rsp\n"
        "	ret\n"
        ".size bare_call, .-bare_call\n");

NOINLINE static void *below_framed(void)
{
	return BORN(below_framed, malloc(56), 56);
}

NOINLINE static void *below_bare(void)
{
	return BORN(below_bare, malloc(57), 57);
}

int main(void)
{
	for (int i = 0; i < 100; i++) {
		ESCAPE(framed_call(below_framed));
		ESCAPE(bare_call(below_bare));
	}
	truth_print("asm_no_cfi", "main");
	return 0;
}
