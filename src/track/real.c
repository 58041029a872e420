/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions behind the hooks: found once, in the modules loaded behind us, so that an allocator
 * preloaded or linked there gets its calls.
 *
 * What is asked for before they are known comes from a small arena that is never given back, each block
 * with its size in front, for realloc.  The arena is far larger than anything seen there; its unused
 * pages cost nothing.
 */
#include <string.h>

#include "track/attach.h"
#include "track/loader.h"

struct real real;
struct pthreads pthreads;

uint8_t bootstrap_arena[BOOTSTRAP_SIZE] __attribute__((aligned(64)));
static uint32_t arena_used;

void *bootstrap_alloc(size_t size, size_t align)
{
	uint64_t *head;
	uint32_t at, old = load_relaxed(&arena_used);

	if (align < 16)
		align = 16;
	loss(LOSS_BOOTSTRAP);
	do {
		at = (uint32_t)((old + 16 + align - 1) & ~(align - 1));
		if (size > BOOTSTRAP_SIZE || at + size > BOOTSTRAP_SIZE)
			return NULL;
	} while (!__atomic_compare_exchange_n(&arena_used, &old, (uint32_t)(at + size), false,
	                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	head = (uint64_t *)(bootstrap_arena + at);
	head[-1] = size;
	return head;
}

size_t bootstrap_size(const void *p)
{
	return ((const uint64_t *)p)[-1];
}

bool cxx_direct;

/*
 * The two that also say whose allocator it is.  libstdc++'s operator new calls malloc, which is ours:
 * recording both would count twice.  An allocator that brings both (jemalloc, tcmalloc, mimalloc)
 * implements new without malloc.
 */
static const char *malloc_module = "", *new_module = "";

uint64_t allocator_start, allocator_end;

/*
 * An allocator of its own maps memory in calls nobody hooked, too: in operator new, and in threads of its own.  Its
 * mappings are told by who asks.  Where the program itself is the allocator (its module has no name), or the C library,
 * which does not come through the hooks, nothing can be told.
 */
static void allocator_range(void)
{
	uint64_t start, end;

	allocator_start = allocator_end = 0;
	if (malloc_module[0] && module_range((uint64_t)real.malloc, &start, &end) &&
	    (uint64_t)real.exit - start >= end - start) {
		allocator_start = start;
		allocator_end = end;
	}
}

static void pthreads_resolve(void *find(const char *name))
{
	pthreads.key_create = (__typeof__(pthreads.key_create))find("pthread_key_create");
	pthreads.setspecific = (__typeof__(pthreads.setspecific))find("pthread_setspecific");
	pthreads.attr_getstack = (__typeof__(pthreads.attr_getstack))find("pthread_attr_getstack");
}

static bool pthreads_complete(void)
{
	return pthreads.key_create && pthreads.setspecific && pthreads.attr_getstack;
}

bool pthreads_there(void)
{
	if (!pthreads_complete())
		pthreads_resolve(symbol_anywhere_locked);
	return pthreads_complete();
}

void *real_come_late(const char *name, void **slot)
{
	void *p = symbol_anywhere_locked(name);

	if (p)
		store_release(slot, p);
	return p;
}

static void resolve(void *find(const char *name, const char **ret_module))
{
	const char *module;

	loader_init();
	pthreads_resolve(symbol_anywhere);
#define HOOK(ret, name, args, call) real.name = (__typeof__(real.name))find(#name, &module);
#define HOOK_OPT(ret, name, args, call) HOOK(ret, name, args, call)
#include "track/hooks.def"
#undef HOOK
#undef HOOK_OPT
	if (!find("malloc", &malloc_module) || !find("_Znwm", &new_module))
		new_module = "";
	cxx_direct = new_module[0] && malloc_module == new_module;
	allocator_range();
}

void real_resolve(void)
{
	resolve(symbol_next);
}

/* Loaded late, nothing is behind us: what the program uses is what comes first. */
void real_resolve_late(void)
{
	resolve(symbol_first);
}

void real_detach_self(void)
{
	int (*detach)(pthread_t) = real.pthread_detach;

	if (!detach)
		detach = (int (*)(pthread_t))symbol_anywhere("pthread_detach");
	if (detach)
		detach(pthread_self());
}

void allocator_note(void)
{
	for (size_t i = 0; malloc_module[i] && i < sizeof(g.hdr->allocator) - 1; i++)
		g.hdr->allocator[i] = malloc_module[i];
	if (!attach_loaded_late() && symbol_before_us("malloc"))
		g.hdr->flags |= LEDGER_F_BYPASSED;
}
