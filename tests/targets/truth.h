/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a target knows of itself.
 *
 * A target allocates in functions of its own and counts, with BORN() and DIED(), what each of them allocated and how much of that
 * was freed again, wherever the free happened.  truth_print() says so as one line of JSON on stdout:
 *
 *     {"target": "calloc", "pid": 17, "role": "main", "sites": {"make_zeroed": {"allocs": 3, "alloc_bytes": 96,
 *      "frees": 1, "free_bytes": 32}}}
 *
 * A test then asks seep what it saw under those functions.  Nothing here allocates: output goes through write(2), so that
 * what valgrind or seep counts in a target is what the target's own code did.
 */
#ifndef TARGETS_TRUTH_H
#define TARGETS_TRUTH_H

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct truth_site {
	const char *name;
	uint64_t allocs, alloc_bytes, frees, free_bytes;
	struct truth_site *next;
	int known;
};

__attribute__((unused)) static struct truth_site *truth_sites;

/* Declares the counters of one allocating function. */
#define TRUTH(function) \
	static struct truth_site truth_##function = { #function, 0, 0, 0, 0, NULL, 0 }
#define BORN(function, pointer, size) truth_born(&truth_##function, (pointer), (size))
#define DIED(function, size) truth_died(&truth_##function, (size))

/* Keeps the compiler from seeing that a block is never used, or that a call is a function's last act. */
#define ESCAPE(p) __asm__ volatile("" : : "g"(p) : "memory")
#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noinline, noclone))
#endif
#define NOTAIL() __asm__ volatile("" : : : "memory")

__attribute__((unused)) static void *truth_born(struct truth_site *site, void *p, size_t size)
{
	ESCAPE(p);
	if (!p)
		return p;
	if (!__atomic_exchange_n(&site->known, 1, __ATOMIC_ACQ_REL)) {
		site->next = __atomic_load_n(&truth_sites, __ATOMIC_ACQUIRE);
		while (!__atomic_compare_exchange_n(&truth_sites, &site->next, site, 0,
		                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			;
	}
	__atomic_fetch_add(&site->allocs, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&site->alloc_bytes, size, __ATOMIC_RELAXED);
	return p;
}

__attribute__((unused)) static void truth_died(struct truth_site *site, size_t size)
{
	__atomic_fetch_add(&site->frees, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&site->free_bytes, size, __ATOMIC_RELAXED);
}

__attribute__((unused)) static void truth_write(const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n <= 0)
			_exit(99);
		text += n;
		len -= (size_t)n;
	}
}

/* One line of JSON; `role` tells processes or stages of one target apart. */
__attribute__((unused)) static void truth_print(const char *target, const char *role)
{
	char line[8192];
	size_t n = 0;

	n += (size_t)snprintf(line, sizeof(line),
	                      "{\"target\": \"%s\", \"pid\": %d, \"role\": \"%s\", \"sites\": {",
	                      target, getpid(), role);
	for (struct truth_site *s = truth_sites; s; s = s->next)
		n += (size_t)snprintf(line + n, sizeof(line) - n,
		                      "%s\"%s\": {\"allocs\": %" PRIu64 ", \"alloc_bytes\": %" PRIu64
		                      ", \"frees\": %" PRIu64 ", \"free_bytes\": %" PRIu64 "}",
		                      s == truth_sites ? "" : ", ", s->name, s->allocs,
		                      s->alloc_bytes, s->frees, s->free_bytes);
	n += (size_t)snprintf(line + n, sizeof(line) - n, "}}\n");
	truth_write(line, n);
}

/* A target's own check failed: say which, and end with a status no other way of ending has. */
#define CHECK(condition)                                                          \
	do {                                                                      \
		if (!(condition)) {                                               \
			static const char text[] = __FILE__ ": " #condition "\n"; \
			if (write(STDERR_FILENO, text, sizeof(text) - 1))         \
				_exit(98);                                        \
			_exit(98);                                                \
		}                                                                 \
	} while (0)

#endif
