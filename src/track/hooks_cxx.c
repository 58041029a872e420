/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operator new and delete.  Where they lead to malloc (libstdc++, libc++) these jump on, without a
 * frame, and malloc's hook does the work; where the allocator implements them itself
 * (real.c: cxx_direct), they are events.
 */
#include <stdlib.h>

#include "track/hooks.h"

/* ---- a C++ library that came late ------------------------------------------------------- */

/*
 * A C program may load C++ plugins: then the C++ library is not there when the tracker begins, yet our
 * operator new, being preloaded, is the one they find.  So it is looked for again at the first call; and
 * should there be none, malloc serves.
 */
static void *fallback_new(size_t n)
{
	return malloc(n ? n : 1);
}

static void *fallback_new_aligned(size_t n, size_t align)
{
	void *p;

	return posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, n ? n : 1) ? NULL
	                                                                                      : p;
}

static void fallback_delete(void *p)
{
	free(p);
}

/* What fallback a mangled name needs: _Zn.. allocates, _Zd.. frees, ..St11align_val_t.. is aligned. */
static void *fallback_for(const char *name)
{
	if (name[2] == 'd')
		return (void *)fallback_delete;
	for (const char *p = name; *p; p++)
		if (p[0] == 'S' && p[1] == 't' && p[2] == '1' && p[3] == '1')
			return (void *)fallback_new_aligned;
	return (void *)fallback_new;
}

static COLD void resolve_late(void **slot, const char *name)
{
	const char *module;
	void *p = symbol_next(name, &module);

	store_release(slot, p ? p : fallback_for(name));
}

#define RESOLVED(name)                                            \
	do {                                                      \
		if (UNLIKELY(!load_relaxed((void **)&real.name))) \
			resolve_late((void **)&real.name, #name); \
	} while (0)

/* ---- the operators ------------------------------------------------------------------------ */

/*
 * operator new may throw, or call a handler of the program's that allocates and throws.  So while the real one is at
 * work the thread is as before the call, and what a refusal would have to undo is undone beforehand: the
 * countdown begins anew, and whether this block was chosen is kept here.  (Distances have no memory.)
 */
static bool chosen_before(struct thread *t)
{
	bool chosen = t->countdown < 0;

	refused(t);
	leave(t);
	return chosen;
}

static void got_chosen(struct thread *t, void *p, size_t n, const struct origin *o, bool chosen)
{
	store_release(&t->state, (uint32_t)T_REAL);
	if (LIKELY(p)) {
		if (chosen && t->mode == M_SAMPLED)
			t->countdown = -1;
		got_other(t, p, n, o);
	}
	leave(t);
}

/* An allocator may bring some variants only (jemalloc before 5.3: none that aligns): libstdc++'s go through malloc and its kin. */
ALWAYS_INLINE bool is_event(const void *f)
{
	return UNLIKELY(cxx_direct) && (!allocator_end || in_allocator((uint64_t)f));
}

#define NEW_HOOK(name, params, args)                                               \
	static NOINLINE void *name##_event params                                  \
	{                                                                          \
		struct origin o = ORIGIN_HERE();                                   \
		struct thread *t = enter();                                        \
		bool chosen;                                                       \
		void *p;                                                           \
                                                                                   \
		if (UNLIKELY(!t))                                                  \
			return real.name args;                                     \
		chosen = chosen_before(t);                                         \
		p = real.name args;                                                \
		got_chosen(t, p, n, &o, chosen);                                   \
		return p;                                                          \
	}                                                                          \
	EXPORT void *name params;                                                  \
	EXPORT void *name params                                                   \
	{                                                                          \
		RESOLVED(name);                                                    \
		if (!is_event((const void *)real.name) || LIKELY(!of_interest(n))) \
			return real.name args;                                     \
		return name##_event args;                                          \
	}

#define DELETE_HOOK(name, params, args)                                \
	static NOINLINE void name##_event params                       \
	{                                                              \
		struct thread *t;                                      \
                                                                       \
		if (!p || bootstrap_owns(p))                           \
			return;                                        \
		t = enter();                                           \
		if (LIKELY(t))                                         \
			gone_other(t, p);                              \
		real.name args;                                        \
		if (LIKELY(t))                                         \
			leave(t);                                      \
	}                                                              \
	EXPORT void name params;                                       \
	EXPORT void name params                                        \
	{                                                              \
		RESOLVED(name);                                        \
		if (LIKELY(!cxx_direct) || LIKELY(!maybe_recorded(p))) \
			real.name args;                                \
		else                                                   \
			name##_event args;                             \
	}

NEW_HOOK(_Znwm, (size_t n), (n))
NEW_HOOK(_Znam, (size_t n), (n))
NEW_HOOK(_ZnwmRKSt9nothrow_t, (size_t n, const void *nt), (n, nt))
NEW_HOOK(_ZnamRKSt9nothrow_t, (size_t n, const void *nt), (n, nt))
NEW_HOOK(_ZnwmSt11align_val_t, (size_t n, size_t a), (n, a))
NEW_HOOK(_ZnamSt11align_val_t, (size_t n, size_t a), (n, a))
NEW_HOOK(_ZnwmSt11align_val_tRKSt9nothrow_t, (size_t n, size_t a, const void *nt), (n, a, nt))
NEW_HOOK(_ZnamSt11align_val_tRKSt9nothrow_t, (size_t n, size_t a, const void *nt), (n, a, nt))
DELETE_HOOK(_ZdlPv, (void *p), (p))
DELETE_HOOK(_ZdaPv, (void *p), (p))
DELETE_HOOK(_ZdlPvm, (void *p, size_t n), (p, n))
DELETE_HOOK(_ZdaPvm, (void *p, size_t n), (p, n))
DELETE_HOOK(_ZdlPvRKSt9nothrow_t, (void *p, const void *nt), (p, nt))
DELETE_HOOK(_ZdaPvRKSt9nothrow_t, (void *p, const void *nt), (p, nt))
DELETE_HOOK(_ZdlPvSt11align_val_t, (void *p, size_t a), (p, a))
DELETE_HOOK(_ZdaPvSt11align_val_t, (void *p, size_t a), (p, a))
DELETE_HOOK(_ZdlPvmSt11align_val_t, (void *p, size_t n, size_t a), (p, n, a))
DELETE_HOOK(_ZdaPvmSt11align_val_t, (void *p, size_t n, size_t a), (p, n, a))
DELETE_HOOK(_ZdlPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t a, const void *nt), (p, a, nt))
DELETE_HOOK(_ZdaPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t a, const void *nt), (p, a, nt))
