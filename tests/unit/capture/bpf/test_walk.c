/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unwinding this very program from a copy of its stack, and copies that were damaged: random words, cut anywhere.
 */
#include "capture/bpf/walk.h"

#include "base/error.h"

#include <execinfo.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COPY 16384
#define DEPTH 30
#define DAMAGED 30000

static struct space space;
static struct walk walk = { .space = &space };
static uint8_t copy[COPY];
static size_t copied;
static struct ev_regs regs;
static void *truth[128];
static int ntruth;

/* Registers and stack as they are at this call, and the truth by another unwinder. */
__attribute__((noinline)) static void take(void)
{
	uint64_t ip;

	__asm__ volatile("leaq 1f(%%rip), %0\n1:" : "=r"(ip));
	__asm__ volatile("movq %%rsp, %0\n\tmovq %%rbp, %1\n\tmovq %%rbx, %2\n\tmovq %%r12, %3\n\t"
	                 "movq %%r13, %4\n\tmovq %%r14, %5\n\tmovq %%r15, %6"
	                 : "=m"(regs.sp), "=m"(regs.bp), "=m"(regs.bx), "=m"(regs.r12),
	                   "=m"(regs.r13), "=m"(regs.r14), "=m"(regs.r15));
	regs.ip = ip;
	copied = space_read(&space, regs.sp, copy, sizeof(copy));
	ntruth = backtrace(truth, 128);
	/* a sanitizer's backtrace() has frames of its own on top: this function is the leaf */
	while (ntruth > 1 && truth[1] != __builtin_return_address(0))
		memmove(truth, truth + 1, (size_t)--ntruth * sizeof(truth[0]));
}

__attribute__((noinline)) static void down(int depth)
{
	volatile char frame[48];

	frame[0] = (char)depth;
	if (depth)
		down(depth - 1);
	else
		take();
	frame[1] = frame[0];
}

static uint64_t key_pc(size_t i)
{
	return walk.keys[i] & LEDGER_PC_MASK;
}

static void a_sound_stack_is_complete(void **state)
{
	(void)state;
	down(DEPTH);
	walk_stack(&walk, &regs, copy, copied);
	assert_int_equal(walk.cut, 0);
	assert_true(walk.recall);
	assert_int_equal(walk.n, ntruth);
	/* the leaf is somewhere else in take(); all others are the same return addresses */
	for (int i = 1; i < ntruth; i++)
		assert_int_equal(key_pc((size_t)i), (uint64_t)(uintptr_t)truth[i]);
}

static void a_path_is_what_was_walked(void **state)
{
	struct path_value path;
	uint64_t h = PATH_SEED, v;

	(void)state;
	down(3);
	walk_stack(&walk, &regs, copy, copied);
	assert_true(walk.recall);
	path = walk.path;
	assert_int_equal(path.nexact, walk.n - 1);
	for (unsigned int i = 0; i < path.nwords; i++) {
		memcpy(&v, copy + 8 * path.off[i], 8);
		if (i < path.nexact)
			assert_int_equal(v, key_pc(i + 1));
		PATH_STEP(h, i < path.nexact ? v : v - regs.sp);
	}
	if (path.uses_bp)
		PATH_STEP(h, regs.bp - regs.sp);
	assert_int_equal(h, path.hash);
	/* another return address is another path */
	copy[8 * path.off[1]] ^= 1;
	walk_stack(&walk, &regs, copy, copied);
	assert_true(!walk.recall || walk.path.hash != path.hash);
}

static void a_short_copy_is_a_cut_stack(void **state)
{
	size_t full;

	(void)state;
	down(DEPTH);
	walk_stack(&walk, &regs, copy, copied);
	full = walk.n;
	for (size_t len = 0; len < walk.used; len += 8) {
		walk_stack(&walk, &regs, copy, len);
		assert_int_equal(walk.cut, LEDGER_SITE_CUT_NO_CFI);
		assert_true(walk.short_copy);
		assert_false(walk.recall);
		assert_true(walk.n < full);
		walk_stack(&walk, &regs, copy, copied);
	}
}

static void damage_does_no_harm(void **state)
{
	static uint8_t good[COPY];
	uint8_t *exact;

	(void)state;
	down(DEPTH);
	memcpy(good, copy, sizeof(good));
	srand(99);
	for (int i = 0; i < DAMAGED; i++) {
		struct ev_regs bad = regs;
		size_t len = (size_t)rand() % 3000;
		int n = rand() % 8;

		/* of exactly that size, for the sanitizer to see a read behind it */
		exact = malloc(len + 1);
		assert_non_null(exact);
		memcpy(exact, good, len);
		for (int k = 0; k < n && len >= 8; k++) {
			uint64_t v = (uint64_t)rand() << 33 ^ (uint64_t)rand();

			if (rand() % 2) /* a plausible one: near the stack, or somewhere in code */
				v = rand() % 2 ? bad.sp + (uint64_t)rand() % 4096
				               : bad.ip + (uint64_t)rand() % 100000 - 50000;
			memcpy(exact + (size_t)rand() % (len - 7), &v, 8);
		}
		if (rand() % 4 == 0)
			bad.ip += (uint64_t)rand() % 200000 - 100000;
		if (rand() % 8 == 0)
			bad.sp = (uint64_t)rand() << 40 ^ (uint64_t)rand();
		if (rand() % 4 == 0)
			bad.bp = (uint64_t)rand() << 33 ^ (uint64_t)rand();
		walk_stack(&walk, &bad, exact, len);
		assert_true(walk.n <= LEDGER_MAX_DEPTH);
		assert_true(walk.used <= len);
		assert_true(walk.path.nwords <= PATH_WORDS);
		free(exact);
	}
	walk_forget(&walk);
	walk_stack(&walk, &regs, good, copied);
	assert_int_equal(walk.cut, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_stack_is_complete),
		cmocka_unit_test(a_path_is_what_was_walked),
		cmocka_unit_test(a_short_copy_is_a_cut_stack),
		cmocka_unit_test(damage_does_no_harm),
	};
	struct seep_error *err;
	bool changed;
	int r;

	space.pid = getpid();
	err = space_refresh(&space, &changed);
	if (err)
		return 99;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	walk_release(&walk);
	space_release(&space);
	return r;
}
