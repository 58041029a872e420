/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep.h: what a program can say to seep.
 *
 * Include it, link nothing.  When the program runs under seep (`seep run`, or libseep.so in LD_PRELOAD) the
 * calls reach it; otherwise each is a test of a pointer that is NULL.  C99 with GNU extensions or C++11, GCC or
 * Clang; executables position-independent or not, libraries, static programs (in which seep never is).
 *
 *     static void *make_cache(void)
 *     {
 *             SEEP_DISABLE_SCOPE;                         // what is allocated here is not a leak
 *             return build();
 *     }
 *
 *     seep_ignore(singleton);                             // nor is this block, nor what it points to
 *     seep_register_root(shared, size);                   // pointers kept here count
 *
 *     seep_check_begin("request");
 *     handle(request);
 *     if (seep_check_end("request", NULL) > 0)            // leaked since begin
 *             fprintf(stderr, "request leaks\n");
 *
 * All functions may be called from any thread and in signal handlers, leave errno alone, and take addresses
 * as they are: a wrong one does no harm.
 *
 * Forked children: ignored blocks and root regions of the moment of the fork hold in the child too; the
 * scope of seep_disable() goes on in the child's thread.  A child's own calls do not reach its parent.
 * Programs started by exec begin anew.
 *
 * docs/PROGRAM-API.md has more, also on LeakSanitizer's interface, which seep understands as well.
 */
#ifndef SEEP_H
#define SEEP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct seep_check_result {
	uint64_t leaked_blocks, leaked_bytes; /* definite and possible leaks, not suppressed */
};

/*
 * The address of a function of libseep.so, or NULL.  It must come from the global offset table: an executable that
 * is not position-independent would otherwise have "NULL" linked in for a function that is missing at link time.
 */
#if defined(__x86_64__) && defined(__ELF__)
#define SEEP_LOOK_UP_(name, ret_pointer)                     \
	__asm__(".weak " #name "\n\t"                        \
	        "{movq " #name "@GOTPCREL(%%rip), %0|"       \
	        "mov %0, QWORD PTR " #name "@GOTPCREL[rip]}" \
	        : "=r"(ret_pointer))
#elif defined(__aarch64__) && defined(__ELF__)
#define SEEP_LOOK_UP_(name, ret_pointer)                                                          \
	__asm__(".weak " #name "\n\tadrp %0, :got:" #name "\n\tldr %0, [%0, :got_lo12:" #name "]" \
	        : "=r"(ret_pointer))
#else
#define SEEP_LOOK_UP_(name, ret_pointer) ((ret_pointer) = 0)
#endif

#define SEEP_FUNCTION_(ret, name, params)                      \
	typedef ret(*seep_##name##_fn) params;                 \
	static inline seep_##name##_fn seep_##name##_get(void) \
	{                                                      \
		seep_##name##_fn fn;                           \
		SEEP_LOOK_UP_(seep_v1_##name, fn);             \
		return fn;                                     \
	}

SEEP_FUNCTION_(int, present, (void))
SEEP_FUNCTION_(const char *, version, (void))
SEEP_FUNCTION_(void, ignore, (const void *))
SEEP_FUNCTION_(void, unignore, (const void *))
SEEP_FUNCTION_(void, disable, (void))
SEEP_FUNCTION_(void, enable, (void))
SEEP_FUNCTION_(void, register_root, (const void *, size_t))
SEEP_FUNCTION_(void, unregister_root, (const void *, size_t))
SEEP_FUNCTION_(int, snapshot, (const char *))
SEEP_FUNCTION_(long, check, (struct seep_check_result *))
SEEP_FUNCTION_(long, check_begin, (const char *))
SEEP_FUNCTION_(long, check_end, (const char *, struct seep_check_result *))

/* 1: seep tracks this process.  0: it does not; all other calls do nothing. */
static inline int seep_present(void)
{
	return seep_present_get() ? seep_present_get()() : 0;
}

/* Of the library in this process, "0.1.0"; NULL without it. */
static inline const char *seep_version(void)
{
	return seep_version_get() ? seep_version_get()() : (const char *)0;
}

/* The block that holds p, and all that is reachable from it, is not reported as a leak. */
static inline void seep_ignore(const void *p)
{
	if (seep_ignore_get())
		seep_ignore_get()(p);
}

/* Takes back the latest seep_ignore() of the same p. */
static inline void seep_unignore(const void *p)
{
	if (seep_unignore_get())
		seep_unignore_get()(p);
}

/*
 * Blocks this thread allocates until the matching seep_enable() are not reported, nor what is reachable from
 * them.  Nests; other threads are not concerned.
 */
static inline void seep_disable(void)
{
	if (seep_disable_get())
		seep_disable_get()();
}

static inline void seep_enable(void)
{
	if (seep_enable_get())
		seep_enable_get()();
}

/*
 * Pointers in [p, p + size) keep blocks reachable: for memory that leak checks do not look at by themselves, such as
 * shared mappings.  Until seep_unregister_root() with the same p and size, as often as it was registered.
 */
static inline void seep_register_root(const void *p, size_t size)
{
	if (seep_register_root_get())
		seep_register_root_get()(p, size);
}

static inline void seep_unregister_root(const void *p, size_t size)
{
	if (seep_unregister_root_get())
		seep_unregister_root_get()(p, size);
}

/*
 * Checks now; the process stands still meanwhile.  The number of leaked blocks (*ret_result, which may be
 * NULL, has their bytes too); -1: not checked, because the program was not started for it (`seep run --check`) or
 * seep is gone; *ret_result is then as it was.
 */
static inline long seep_check(struct seep_check_result *ret_result)
{
	return seep_check_get() ? seep_check_get()(ret_result) : -1;
}

/*
 * What leaks between the two, by name (cut at 127 bytes).  begin: 0, or -1 not checked.  end: as seep_check(), but only
 * of blocks allocated since begin.  Checks of different names may overlap; they cover all threads.
 */
static inline int seep_check_begin(const char *name)
{
	return seep_check_begin_get() ? (int)seep_check_begin_get()(name) : -1;
}

static inline long seep_check_end(const char *name, struct seep_check_result *ret_result)
{
	return seep_check_end_get() ? seep_check_end_get()(name, ret_result) : -1;
}

/*
 * A snapshot of this moment, which the seep that watches (`seep run`, or `seep snap` with triggers) writes into its
 * series; `name` (NULL: none; cut at 111 bytes) becomes its reason.  The calling thread waits until it is written, 30 seconds at
 * most.  0: it is; -1: nobody took one.
 */
static inline int seep_snapshot(const char *name)
{
	return seep_snapshot_get() ? seep_snapshot_get()(name) : -1;
}

static inline void seep_scope_end_(const int *unused)
{
	(void)unused;
	seep_enable();
}

static inline int seep_scope_begin_(void)
{
	seep_disable();
	return 0;
}

#ifdef __cplusplus
} /* extern "C" */

namespace seep
{
/* seep_disable() for as long as it lives; neither copied nor moved, on one thread. */
class disable_scope
{
public:
	disable_scope() noexcept
	{
		seep_disable();
	}
	~disable_scope()
	{
		seep_enable();
	}
	disable_scope(const disable_scope &) = delete;
	disable_scope &operator=(const disable_scope &) = delete;
};
} // namespace seep
#endif

/* Until the end of the enclosing block, however it is left (in C not by longjmp()). */
#define SEEP_PASTE_(a, b) a##b
#define SEEP_NAME_(line) SEEP_PASTE_(seep_scope_, line)
#define SEEP_DISABLE_SCOPE             \
	const int SEEP_NAME_(__LINE__) \
		__attribute__((cleanup(seep_scope_end_), unused)) = seep_scope_begin_()

#endif
