/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions behind the hooks: found once with dlsym(RTLD_NEXT), so that an allocator
 * preloaded or linked behind us gets its calls.
 *
 * dlsym may allocate itself, and the loader allocates before it can be asked.  Those few blocks come
 * from a small arena that is never given back, each with its size in front, for realloc.  The arena
 * is far larger than anything seen there; its unused pages cost nothing.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "track/track.h"

struct real real;

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

/* Looking a version up explicitly is not needed: none of these has two that differ for us. */
void real_resolve(void)
{
#define HOOK(ret, name, args, call) real.name = (__typeof__(real.name))dlsym(RTLD_NEXT, #name);
#define HOOK_OPT(ret, name, args, call) HOOK(ret, name, args, call)
#include "track/hooks.def"
#undef HOOK
#undef HOOK_OPT
	dlerror(); /* what was not found is no error of the target's */
}

/* ---- whose malloc ------------------------------------------------------------------ */

bool cxx_direct;

static const void *module_base(void *function, const char **ret_name)
{
	Dl_info info;

	if (!function || !dladdr(function, &info))
		return NULL;
	*ret_name = info.dli_fname;
	return info.dli_fbase;
}

/*
 * Whether the module around addr defines the symbol there.  A program that takes malloc's address may
 * have an undefined symbol with an address, its own jump to the real one.
 */
static bool defines(void *addr)
{
	Dl_info info;
	const ElfW(Sym) *sym = NULL;

	return dladdr1(addr, &info, (void **)&sym, RTLD_DL_SYMENT) && sym &&
	       sym->st_shndx != SHN_UNDEF;
}

/*
 * libstdc++'s operator new calls malloc, which is ours: recording both would count twice.  An
 * allocator that brings both (jemalloc, tcmalloc, mimalloc) implements new without malloc.
 */
void allocator_note(void)
{
	const char *name = "", *cxx_name = "";
	const void *base = module_base((void *)real.malloc, &name);
	void *seen = dlsym(RTLD_DEFAULT, "malloc");

	cxx_direct = base && base == module_base((void *)real._Znwm, &cxx_name);
	for (size_t i = 0; name[i] && i < sizeof(g.hdr->allocator) - 1; i++)
		g.hdr->allocator[i] = name[i];
	if (seen && seen != (void *)malloc && defines(seen))
		g.hdr->flags |= LEDGER_F_BYPASSED;
}
