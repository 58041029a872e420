/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything of the tracker that knows the processor: system calls, the unwinder's
 * idea of a frame, the kernel's signal frame.  Another architecture adds a file
 * like this one; nothing else changes.
 */
#ifndef SEEP_TRACK_ARCH_X86_64_H
#define SEEP_TRACK_ARCH_X86_64_H

#include <stdint.h>

/* Raw system calls: they do not touch errno and are no cancellation points.  Negative errno on failure. */
static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
	                 : "=a"(ret)
	                 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return ret;
}

static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

/* cond ? a : b without a branch, whatever the compiler thinks of it. */
static inline uint64_t arch_select(uint64_t cond, uint64_t a, uint64_t b)
{
	__asm__("testq %[cond], %[cond]\n\tcmovneq %[a], %[b]"
	        : [b] "+r"(b)
	        : [cond] "r"(cond), [a] "r"(a)
	        : "cc");
	return b;
}

/* DWARF register numbers (System V psABI, x86-64, figure 3.36). */
enum { DW_RBX = 3, DW_RBP = 6, DW_RSP = 7, DW_R12 = 12, DW_R15 = 15, DW_RIP = 16, ARCH_NREGS = 17 };
#define ARCH_REG_SP DW_RSP
#define ARCH_REG_FP DW_RBP
#define ARCH_REG_PC DW_RIP

/*
 * Offsets inside the frame the kernel pushes for a signal, seen from the CFA-less
 * sp at the restorer (struct ucontext: uc_flags 8, uc_link 8, uc_stack 24, then
 * gregs in the order r8..r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip;
 * linux/arch/x86/include/uapi/asm/sigcontext.h).
 */
#define ARCH_SIGFRAME_FP 0x78
#define ARCH_SIGFRAME_SP 0xa0
#define ARCH_SIGFRAME_PC 0xa8
#define ARCH_SIGFRAME_SIZE 0x3a8 /* ucontext without the FPU state, enough for the reads above */

/* mov $15,%rax (either encoding) ; syscall: the restorer, when it has no CFI. */
static inline int arch_is_sigreturn(const uint8_t *pc)
{
	static const uint8_t glibc[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 };
	static const uint8_t other[] = { 0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05 };

	return !__builtin_memcmp(pc, glibc, sizeof(glibc)) ||
	       !__builtin_memcmp(pc, other, sizeof(other));
}

/* All registers a general unwind may need, as they are right here. */
struct arch_regs {
	uint64_t r[ARCH_NREGS];
};

#define ARCH_CAPTURE(regs)                         \
	__asm__ volatile("movq %%rbx, 24(%0)\n\t"  \
	                 "movq %%rbp, 48(%0)\n\t"  \
	                 "movq %%rsp, 56(%0)\n\t"  \
	                 "movq %%r12, 96(%0)\n\t"  \
	                 "movq %%r13, 104(%0)\n\t" \
	                 "movq %%r14, 112(%0)\n\t" \
	                 "movq %%r15, 120(%0)\n\t" \
	                 "leaq (%%rip), %%rax\n\t" \
	                 "movq %%rax, 128(%0)\n\t" \
	                 :                         \
	                 : "r"((regs)->r)          \
	                 : "rax", "memory")

/*
 * What a caller's frames still own at a call: its callee-saved registers, and where its stack begins
 * once the call has returned.  Written by the entry points below, before any of our frames exist.
 */
#define ARCH_NSAVED 6
struct arch_entry {
	uint64_t saved[ARCH_NSAVED]; /* rbx, rbp, r12..r15 */
	uint64_t sp, pc;             /* after the return; the return address */
	uint64_t scratch[4];         /* the entry point's own */
};

/* The struct is made on the stack; sp is then aligned for a call. */
#define ARCH_ENTRY_SAVE                  \
	".cfi_startproc\n\t"             \
	"endbr64\n\t"                    \
	"subq $104, %rsp\n\t"            \
	".cfi_adjust_cfa_offset 104\n\t" \
	"movq %rbx, 0(%rsp)\n\t"         \
	"movq %rbp, 8(%rsp)\n\t"         \
	"movq %r12, 16(%rsp)\n\t"        \
	"movq %r13, 24(%rsp)\n\t"        \
	"movq %r14, 32(%rsp)\n\t"        \
	"movq %r15, 40(%rsp)\n\t"        \
	"leaq 112(%rsp), %rax\n\t"       \
	"movq %rax, 48(%rsp)\n\t"        \
	"movq 104(%rsp), %rax\n\t"       \
	"movq %rax, 56(%rsp)\n\t"
#define ARCH_ENTRY_DROP       \
	"addq $104, %rsp\n\t" \
	".cfi_adjust_cfa_offset -104\n\t"
#define ARCH_ENTRY_BEGIN(scope, name)                                           \
	".pushsection .text\n\t.p2align 4\n\t" scope " " name "\n\t.type " name \
	", @function\n" name ":\n\t"
#define ARCH_ENTRY_END(name) ".cfi_endproc\n\t.size " name ", .-" name "\n\t.popsection"

/*
 * Defines a function `name` of at most two arguments: result impl(first, second, const struct arch_entry *).
 */
#define ARCH_ENTRY_CALL(scope, name, impl)                     \
	__asm__(ARCH_ENTRY_BEGIN(scope, #name) ARCH_ENTRY_SAVE \
	        "movq %rsp, %rdx\n\t"                          \
	        "call " #impl "\n\t" ARCH_ENTRY_DROP "ret\n\t" ARCH_ENTRY_END(#name))

/*
 * The same for a function of one argument that goes on in another: impl returns its address, and it is
 * jumped to with the same argument, so that no frame of ours is left behind.
 */
#define ARCH_ENTRY_JUMP(scope, name, impl)                     \
	__asm__(ARCH_ENTRY_BEGIN(scope, #name) ARCH_ENTRY_SAVE \
	        "movq %rdi, 64(%rsp)\n\t"                      \
	        "movq %rsp, %rdx\n\t"                          \
	        "call " #impl "\n\t"                           \
	        "movq 64(%rsp), %rdi\n\t" ARCH_ENTRY_DROP "jmp *%rax\n\t" ARCH_ENTRY_END(#name))

/*
 * Stands in for main.  struct arch_main entered(const struct arch_entry *) says what the real one is, and
 * whether to come back when it returns: then returned(status, 0, const struct arch_entry *) is called.
 */
struct arch_main {
	void *fn;
	uint64_t come_back;
};
#define ARCH_ENTRY_MAIN(name, entered, returned)                   \
	__asm__(ARCH_ENTRY_BEGIN(".hidden", #name) ARCH_ENTRY_SAVE \
	        "movq %rdi, 64(%rsp)\n\t"                          \
	        "movq %rsi, 72(%rsp)\n\t"                          \
	        "movq %rdx, 80(%rsp)\n\t"                          \
	        "movq %rsp, %rdi\n\t"                              \
	        "call " #entered "\n\t"                            \
	        "movq 64(%rsp), %rdi\n\t"                          \
	        "movq 72(%rsp), %rsi\n\t"                          \
	        "testq %rdx, %rdx\n\t"                             \
	        "movq 80(%rsp), %rdx\n\t"                          \
	        "jnz 1f\n\t" ARCH_ENTRY_DROP "jmp *%rax\n"         \
	        "1:\t.cfi_adjust_cfa_offset 104\n\t"               \
	        "call *%rax\n\t"                                   \
	        "movq %rax, 64(%rsp)\n\t"                          \
	        "movl %eax, %edi\n\t"                              \
	        "xorl %esi, %esi\n\t"                              \
	        "movq %rsp, %rdx\n\t"                              \
	        "call " #returned "\n\t"                           \
	        "movq 64(%rsp), %rax\n\t" ARCH_ENTRY_DROP "ret\n\t" ARCH_ENTRY_END(#name))

#endif
