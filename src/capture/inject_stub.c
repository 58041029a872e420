/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instructions that are written into the target: they keep errno, and load the library in a thread of its own, or,
 * where there is only one thread and should stay so, right here.
 *
 *     stub(request):                                  load(request):
 *         e = errno                                       f = request->entry
 *         if request->pthread_create                      if !f: h = dlopen(library, RTLD_NOW)
 *             pthread_create(&thread, 0, load, request)           f = dlsym(h, entry_name)
 *         else load(request)                              jump to f(request)
 *         errno = e
 *
 * load() ends in a jump: when the thread returns from the library it returns to its start, and these
 * instructions may be unmapped by then.
 */
#include "capture/inject_private.h"

#include <stddef.h>

_Static_assert(offsetof(struct attach_request, pthread_create) == 0, "the stub's offsets");
_Static_assert(offsetof(struct attach_request, dlopen) == 8, "the stub's offsets");
_Static_assert(offsetof(struct attach_request, dlsym) == 16, "the stub's offsets");
_Static_assert(offsetof(struct attach_request, dlerror) == 24, "the stub's offsets");
_Static_assert(offsetof(struct attach_request, errno_location) == 32, "the stub's offsets");
_Static_assert(offsetof(struct attach_request, entry) == 40, "the stub's offsets");
_Static_assert(offsetof(struct attach_request, thread) == 48, "the stub's offsets");
_Static_assert(offsetof(struct attach_request, state) == 56, "the stub's offsets");
_Static_assert(offsetof(struct attach_request, error) == 60, "the stub's offsets");
_Static_assert(offsetof(struct attach_request, message) == 64, "the stub's offsets");
_Static_assert(offsetof(struct attach_request, library) == 72, "the stub's offsets");
_Static_assert(offsetof(struct attach_request, entry_name) == 328, "the stub's offsets");
_Static_assert(ATTACH_LOADING == 1 && ATTACH_NO_THREAD == 4 && ATTACH_NO_LIBRARY == 5 &&
                       ATTACH_NO_ENTRY == 6,
               "the stub's states");

__asm__(".pushsection .rodata\n"
        ".globl inject_stub, inject_stub_end\n"
        ".hidden inject_stub, inject_stub_end\n"
        "inject_stub:\n"
        "	endbr64\n"
        "	push %rbx\n"
        "	push %r12\n"
        "	push %r13\n" /* aligned for calls */
        "	mov %rdi, %rbx\n"
        "	call *32(%rbx)\n"
        "	mov %rax, %r12\n"
        "	mov (%r12), %r13d\n"
        "	movl $1, 56(%rbx)\n"
        "	cmpq $0, (%rbx)\n"
        "	je 1f\n"
        "	lea 48(%rbx), %rdi\n"
        "	xor %esi, %esi\n"
        "	lea 3f(%rip), %rdx\n"
        "	mov %rbx, %rcx\n"
        "	call *(%rbx)\n"
        "	test %eax, %eax\n"
        "	je 2f\n"
        "	mov %eax, 60(%rbx)\n"
        "	movl $4, 56(%rbx)\n"
        "	jmp 2f\n"
        "1:	mov %rbx, %rdi\n"
        "	call 3f\n"
        "2:	mov %r13d, (%r12)\n"
        "	pop %r13\n"
        "	pop %r12\n"
        "	pop %rbx\n"
        "	ret\n"
        "3:	endbr64\n"
        "	push %rbx\n"
        "	mov %rdi, %rbx\n"
        "	mov 40(%rbx), %rax\n"
        "	test %rax, %rax\n"
        "	jne 4f\n"
        "	lea 72(%rbx), %rdi\n"
        "	mov $2, %esi\n" /* RTLD_NOW */
        "	call *8(%rbx)\n"
        "	test %rax, %rax\n"
        "	je 5f\n"
        "	mov %rax, %rdi\n"
        "	lea 328(%rbx), %rsi\n"
        "	call *16(%rbx)\n"
        "	test %rax, %rax\n"
        "	je 6f\n"
        "4:	mov %rbx, %rdi\n"
        "	pop %rbx\n"
        "	jmp *%rax\n"
        "5:	call *24(%rbx)\n"
        "	mov %rax, 64(%rbx)\n"
        "	movl $5, 56(%rbx)\n"
        "	jmp 7f\n"
        "6:	movl $6, 56(%rbx)\n"
        "7:	xor %eax, %eax\n"
        "	pop %rbx\n"
        "	ret\n"
        "inject_stub_end:\n"
        ".popsection\n");
