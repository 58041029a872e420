/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a target of the leak checks knows of itself: for every block it leaves behind, the class a check must give it.
 *
 * A target builds its state in functions of its own, says with LEAK() what each block is, and ends in leak_ready():
 *
 *     check_NAME         prints its truth and calls exit() from there: a check at exit sees the state
 *     check_NAME hold    prints its truth and waits, in the same frames, until its standard input is closed:
 *                        a check of the live process, of a clone and of a core see the same state
 *
 * The truth is one line of JSON: blocks, bytes asked for, and usable bytes (all that is known of a block's size without a ledger)
 * by moment, allocating function and class:
 *
 *     {"target": "check_definite", "pid": 17, "role": "main", "runtime": false, "cycles": 0, "heuristics": {},
 *      "leaks": {"hold": {"make_lost": {"definite": [100, 5600, 5600]}}, "tracked": ...}}
 *
 * Moments differ where a class does: `hold` (an unprepared process that waits), `tracked` (the same with libseep.so in it),
 * `exit` (exit() was entered or main returned), `end` (after exit handlers and destructors).
 *
 * A pointer that is lost must be lost everywhere.  Targets therefore handle it in functions of their own, which main() calls
 * and which have returned by then, keep addresses, where they must, as hide(p), which is none, and leak_ready() first overwrites what earlier calls left on the stack and in registers.
 */
#ifndef TARGETS_LEAKTRUTH_H
#define TARGETS_LEAKTRUTH_H

#include "truth.h"

#include <malloc.h>
#include <stdbool.h>

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif
#endif

/* Through a register: compilers may put what is to be "general" on the stack, where it would be a root. */
#undef ESCAPE
#define ESCAPE(p) __asm__ volatile("" : : "r"(p) : "memory")

enum leak_class { DEFINITE, INDIRECT, POSSIBLE, REACHABLE, SUPPRESSED, NONE, LEAK_NCLASSES = NONE };
enum leak_moment { MOMENT_HOLD, MOMENT_TRACKED, MOMENT_EXIT, MOMENT_END, LEAK_NMOMENTS };

__attribute__((unused)) static const char *const leak_class_names[LEAK_NCLASSES] = {
	"definite", "indirect", "possible", "reachable", "suppressed",
};
__attribute__((unused)) static const char *const leak_moment_names[LEAK_NMOMENTS] = {
	"hold",
	"tracked",
	"exit",
	"end",
};

struct leak_count {
	uint64_t blocks, bytes, usable;
};

struct leak_site {
	const char *function;
	struct leak_count count[LEAK_NMOMENTS][LEAK_NCLASSES];
};

struct leak_heuristic {
	const char *name;
	struct leak_count count;
};

#define LEAK_SITES 16

__attribute__((unused)) static struct leak_site leak_sites[LEAK_SITES];
__attribute__((unused)) static bool leak_lock;
__attribute__((unused)) static struct leak_heuristic leak_heuristics[4] = {
	{ "stdstring", { 0, 0, 0 } },
	{ "length64", { 0, 0, 0 } },
	{ "newarray", { 0, 0, 0 } },
	{ "multipleinheritance", { 0, 0, 0 } },
};
__attribute__((unused)) static unsigned int leak_cycles;
/* The language's runtime has reachable blocks of its own besides (libstdc++'s pool for exceptions). */
__attribute__((unused)) static bool leak_runtime;

/* A pointer that no checker can see as one (nor a compiler look through). */
__attribute__((always_inline, unused)) static inline uintptr_t hide(const void *p)
{
	uintptr_t hidden = ~(uintptr_t)p;

	__asm__ volatile("" : "+r"(hidden));
	return hidden;
}

/* A block without traces of earlier ones, in the frame of the caller. */
__attribute__((always_inline, unused)) static inline void *leak_new(size_t size)
{
	void *p = malloc(size);

	CHECK(p);
	memset(p, 0, malloc_usable_size(p));
	ESCAPE(p);
	return p;
}

__attribute__((unused)) static void leak_add(struct leak_count *c, void *p, size_t size)
{
	c->blocks++;
	c->bytes += size;
	c->usable += malloc_usable_size(p);
}

__attribute__((unused)) static void leak_expect(void *p, size_t size, const char *function,
                                                enum leak_class hold, enum leak_class tracked,
                                                enum leak_class at_exit, enum leak_class at_end)
{
	const enum leak_class classes[LEAK_NMOMENTS] = { hold, tracked, at_exit, at_end };
	struct leak_site *s = leak_sites;

	while (__atomic_test_and_set(&leak_lock,
	                             __ATOMIC_ACQUIRE)) /* several threads may make leaks at once */
		;
	while (s->function && strcmp(s->function, function)) {
		s++;
		CHECK(s < leak_sites + LEAK_SITES);
	}
	s->function = function;
	for (int m = 0; m < LEAK_NMOMENTS; m++)
		if (classes[m] != NONE)
			leak_add(&s->count[m][classes[m]], p, size);
	__atomic_clear(&leak_lock, __ATOMIC_RELEASE);
}

/* The block p of `size` bytes, allocated in this very function, is of that class ... */
#define LEAK(p, size, class) LEAK_AT(p, size, class, class, class, class)
/* ... with classes that depend on the moment. */
#define LEAK_AT(p, size, hold, tracked, exit, end) \
	leak_expect((p), (size), __func__, hold, tracked, exit, end)
/* It is reachable thanks to one heuristic (0 stdstring, 1 length64, 2 newarray, 3 multipleinheritance) alone. */
#define LEAK_HEURISTIC(which, p, size) leak_add(&leak_heuristics[which].count, (p), (size))

__attribute__((unused)) static void leak_print(const char *target, const char *role)
{
	char line[8192];
	size_t n = 0;
	const char *comma = "";

#define PUT(...) (n += (size_t)snprintf(line + n, sizeof(line) - n, __VA_ARGS__))
	PUT("{\"target\": \"%s\", \"pid\": %d, \"role\": \"%s\", \"runtime\": %s, \"cycles\": %u, "
	    "\"heuristics\": {",
	    target, getpid(), role, leak_runtime ? "true" : "false", leak_cycles);
	for (int i = 0; i < 4; i++)
		if (leak_heuristics[i].count.blocks) {
			const struct leak_count *c = &leak_heuristics[i].count;

			PUT("%s\"%s\": [%" PRIu64 ", %" PRIu64 ", %" PRIu64 "]", comma,
			    leak_heuristics[i].name, c->blocks, c->bytes, c->usable);
			comma = ", ";
		}
	PUT("}, \"leaks\": {");
	for (int m = 0; m < LEAK_NMOMENTS; m++) {
		const char *site_comma = "";

		PUT("%s\"%s\": {", m ? ", " : "", leak_moment_names[m]);
		for (int s = 0; s < LEAK_SITES && leak_sites[s].function; s++) {
			PUT("%s\"%s\": {", site_comma, leak_sites[s].function);
			site_comma = ", ";
			comma = "";
			for (int c = 0; c < LEAK_NCLASSES; c++) {
				const struct leak_count *l = &leak_sites[s].count[m][c];

				if (!l->blocks)
					continue;
				PUT("%s\"%s\": [%" PRIu64 ", %" PRIu64 ", %" PRIu64 "]", comma,
				    leak_class_names[c], l->blocks, l->bytes, l->usable);
				comma = ", ";
			}
			PUT("}");
		}
		PUT("}");
	}
	PUT("}}\n");
#undef PUT
	CHECK(n < sizeof(line));
	truth_write(line, n);
}

/* Vector registers that memset and memcpy left full, and those a call may change. */
__attribute__((always_inline, unused)) static inline void leak_scrub_registers(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroall" ::: "memory");
	else
		__asm__ volatile("pxor %%xmm0, %%xmm0; pxor %%xmm1, %%xmm1; pxor %%xmm2, %%xmm2;"
		                 "pxor %%xmm3, %%xmm3; pxor %%xmm4, %%xmm4; pxor %%xmm5, %%xmm5;"
		                 "pxor %%xmm6, %%xmm6; pxor %%xmm7, %%xmm7; pxor %%xmm8, %%xmm8"
		                 :
		                 :
		                 : "memory");
	if (__builtin_cpu_supports("avx512f"))
		__asm__ volatile(
			"vpxorq %%zmm16, %%zmm16, %%zmm16; vpxorq %%zmm17, %%zmm17, %%zmm17;"
			"vpxorq %%zmm18, %%zmm18, %%zmm18; vpxorq %%zmm19, %%zmm19, %%zmm19;"
			"vpxorq %%zmm20, %%zmm20, %%zmm20; vpxorq %%zmm21, %%zmm21, %%zmm21;"
			"vpxorq %%zmm22, %%zmm22, %%zmm22; vpxorq %%zmm23, %%zmm23, %%zmm23"
			:
			:
			: "memory");
	__asm__ volatile("xor %%eax, %%eax; xor %%ecx, %%ecx; xor %%edx, %%edx; xor %%esi, %%esi;"
	                 "xor %%edi, %%edi; xor %%r8d, %%r8d; xor %%r9d, %%r9d; xor %%r10d, %%r10d;"
	                 "xor %%r11d, %%r11d"
	                 :
	                 :
	                 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc");
#endif
}

/* Overwrites what earlier calls left below the caller's frame. */
NOINLINE __attribute__((unused)) static void leak_scrub(void)
{
	volatile uint64_t below[4096];

	for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++)
		below[i] = 0;
	leak_scrub_registers();
}

__attribute__((unused)) static bool leak_holds(int argc, char **argv)
{
	return argc > 1 && !strcmp(argv[argc - 1], "hold");
}

/* memcheck, where it runs this, is asked now as well as at the end. */
NOINLINE __attribute__((unused)) static void leak_memcheck(void)
{
#ifdef VALGRIND_DO_LEAK_CHECK
	if (RUNNING_ON_VALGRIND) {
		leak_scrub();
		VALGRIND_DO_LEAK_CHECK;
	}
#endif
}

NOINLINE __attribute__((unused)) static void leak_wait(void)
{
	char c;

	leak_scrub();
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

NOINLINE __attribute__((unused)) static void leak_pause_here(const char *target, int argc,
                                                             char **argv)
{
	leak_print(target, "main");
	leak_memcheck();
	if (leak_holds(argc, argv))
		leak_wait();
	leak_scrub();
}

NOINLINE __attribute__((unused)) static void leak_exit_here(const char *target, int argc,
                                                            char **argv)
{
	leak_pause_here(target, argc, argv);
	exit(0);
}

/*
 * The state is built: say what it is, and wait here if asked to.  leak_ready() then ends the program.  Scrubbed before as
 * well: a function may save any register on its stack, if only to align it.
 */
#define leak_pause(target, argc, argv) (leak_scrub(), leak_pause_here(target, argc, argv))
#define leak_ready(target, argc, argv) (leak_scrub(), leak_exit_here(target, argc, argv))

#endif
