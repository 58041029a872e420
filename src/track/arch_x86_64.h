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

#endif
