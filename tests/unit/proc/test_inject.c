/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread is borrowed while it computes, and goes on with every register it had: the upper halves of its vector registers,
 * and its tiles where the processor has them.  Its own stack has nothing above it that could be read by mistake.
 */
#include "proc/inject.h"
#include "subject.h"

#include <cpuid.h>
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUNDS 200
#define LENT (64u << 10)
#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_TILE_DATA 18

static void lent(void *arg)
{
	atomic_fetch_add(&((struct subject_shared *)arg)->signals, 1);
	__asm__ volatile("pxor %%xmm7, %%xmm7\n\tpxor %%xmm8, %%xmm8" ::: "xmm7", "xmm8");
}

/* The upper half of ymm7 and the lower of xmm8 hold what they were given, or there is something wrong. */
static void spin_avx(struct subject_shared *s, bool tiles)
{
	static const uint64_t given[4] = { 1, 2, 0x5ee9c0de12345678u, 4 };
	uint8_t rows[1024], back[1024];

	for (size_t i = 0; i < sizeof(rows); i++)
		rows[i] = (uint8_t)(i * 7 + 3);
	if (tiles)
		__asm__ volatile("tileloadd (%0,%1,1), %%tmm3" ::"r"(rows), "r"((uint64_t)64)
		                 : "memory");
	atomic_store(&s->ready, 1);
	for (;;) {
		uint64_t now[4];

		__asm__ volatile("vmovdqu (%1), %%ymm7\n\tvmovdqu (%1), %%xmm8\n\tmovq $20000, %%rdx\n"
		                 "1:\tdecq %%rdx\n\tjnz 1b\n\tvmovdqu %%ymm7, (%0)\n\tvzeroupper"
		                 :
		                 : "r"(now), "r"(given)
		                 : "rdx", "xmm7", "xmm8", "memory", "cc");
		if (memcmp(now, given, sizeof(now)) != 0)
			atomic_fetch_add(&s->wrong, 1);
		if (tiles) {
			memset(back, 0, sizeof(back));
			__asm__ volatile("tilestored %%tmm3, (%0,%1,1)" ::"r"(back),
			                 "r"((uint64_t)64)
			                 : "memory");
			if (memcmp(back, rows, sizeof(rows)) != 0)
				atomic_fetch_add(&s->wrong, 1000);
		}
		atomic_fetch_add(&s->counter, 1);
	}
}

static void run_avx(struct subject_shared *s)
{
	spin_avx(s, false);
}

static bool have_tiles(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 1) &&
	       !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILE_DATA);
}

static void configure_tiles(void)
{
	struct {
		uint8_t palette, start, zero[14];
		uint16_t columns[16];
		uint8_t rows[16];
	} config = { .palette = 1 };

	for (size_t i = 0; i < 8; i++) {
		config.columns[i] = 64;
		config.rows[i] = 16;
	}
	__asm__ volatile("ldtilecfg (%0)" ::"r"(&config) : "memory");
}

static void run_tiles(struct subject_shared *s)
{
	if (!have_tiles())
		_exit(1);
	configure_tiles();
	spin_avx(s, true);
}

/* Has used tiles, so that its state is large for good, and holds none. */
static void run_had_tiles(struct subject_shared *s)
{
	static uint8_t rows[1024];

	if (!have_tiles())
		_exit(1);
	configure_tiles();
	__asm__ volatile("tileloadd (%0,%1,1), %%tmm0\n\ttilerelease" ::"r"(rows), "r"((uint64_t)64)
	                 : "memory");
	spin_avx(s, false);
}

/* What is lent ends where nothing is mapped. */
static uint64_t stack_in(const struct subject *sub)
{
	return atomic_load(&sub->shared->address) + LENT;
}

static void with_stack(struct subject_shared *s, void (*run)(struct subject_shared *s))
{
	char *p = mmap(NULL, LENT + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
	               0);

	if (p == MAP_FAILED || mprotect(p + LENT, 65536, PROT_NONE))
		_exit(1);
	atomic_store(&s->address, (uint64_t)(uintptr_t)p);
	run(s);
}

static void (*running)(struct subject_shared *s);

static void run(struct subject_shared *s)
{
	with_stack(s, running);
}

static void borrow_again_and_again(void (*what)(struct subject_shared *s))
{
	struct inject_place place;
	struct subject sub;

	running = what;
	sub = subject_start(run);
	inject_find_place(sub.pid, &place);
	assert_int_not_equal(place.restorer, 0);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		struct tracee t = { .tid = sub.pid };
		struct iovec regs = { &t.regs, sizeof(t.regs) };
		uint64_t before = atomic_load(&sub.shared->signals), counted;
		int status;

		assert_int_equal(ptrace(PTRACE_SEIZE, sub.pid, 0, 0), 0);
		assert_int_equal(ptrace(PTRACE_INTERRUPT, sub.pid, 0, 0), 0);
		assert_int_equal(waitpid(sub.pid, &status, 0), sub.pid);
		assert_true(WIFSTOPPED(status));
		assert_int_equal(ptrace(PTRACE_GETREGSET, sub.pid, NT_PRSTATUS, &regs), 0);
		assert_int_equal(inject_borrow(&t, &place, (uint64_t)(uintptr_t)lent,
		                               (uint64_t)(uintptr_t)sub.shared, stack_in(&sub)),
		                 0);
		assert_int_equal(ptrace(PTRACE_DETACH, sub.pid, 0, 0), 0);
		assert_true(SUBJECT_WAIT(atomic_load(&sub.shared->signals) == before + 1));
		counted = atomic_load(&sub.shared->counter);
		assert_true(SUBJECT_WAIT(atomic_load(&sub.shared->counter) > counted + 1));
		assert_int_equal(atomic_load(&sub.shared->wrong), 0);
	}
	subject_end(&sub);
}

static void keeps_upper_halves(void **state)
{
	if (!__builtin_cpu_supports("avx")) {
		print_message("skipped: this processor has no AVX\n");
		skip();
	}
	borrow_again_and_again(run_avx);
}

static void need_tiles(void)
{
	if (have_tiles())
		return;
	print_message("skipped: this processor or kernel has no AMX\n");
	skip();
}

static void keeps_tiles(void **state)
{
	need_tiles();
	borrow_again_and_again(run_tiles);
}

static void keeps_upper_halves_after_tiles(void **state)
{
	need_tiles();
	borrow_again_and_again(run_had_tiles);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_upper_halves),
		cmocka_unit_test(keeps_tiles),
		cmocka_unit_test(keeps_upper_halves_after_tiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
