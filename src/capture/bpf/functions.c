/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding them by name, in .dynsym and, where there is one, .symtab: an allocator linked into the
 * executable need not export anything.
 *
 * Several allocators can be in one process (a prefixed jemalloc beside libc's), so the functions of
 * every module that has a malloc are taken.  One that is never called costs nothing, and where
 * one calls another, the outer call counts (seep.bpf.c).
 *
 * operator new is taken only in a module that also has a malloc, and only when it does not call that malloc: then the
 * allocator is inlined into it (tcmalloc, jemalloc, mimalloc).  Where it calls malloc, as in libstdc++, the
 * call of malloc is the event, and the stack has operator new in it, as with the preloaded tracker.
 */
#include "capture/bpf/functions.h"

#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/tracker_name.h"
#include "capture/bpf/place.h"

#define SYMBOLS_MOST 50000000u

enum group { ALWAYS, CXX_NEW, CXX_DELETE, MAPPING, LOADER };

struct known {
	const char *name;
	enum function_shape shape;
	enum group group;
};

static const struct known known[] = {
	{ "malloc", SHAPE_SIZE1, ALWAYS },
	{ "calloc", SHAPE_CALLOC, ALWAYS },
	{ "realloc", SHAPE_REALLOC, ALWAYS },
	{ "reallocarray", SHAPE_REALLOCARRAY, ALWAYS },
	{ "free", SHAPE_FREE, ALWAYS },
	{ "cfree", SHAPE_FREE, ALWAYS },
	{ "free_sized", SHAPE_FREE, ALWAYS },
	{ "free_aligned_sized", SHAPE_FREE, ALWAYS },
	{ "memalign", SHAPE_SIZE2, ALWAYS },
	{ "aligned_alloc", SHAPE_SIZE2, ALWAYS },
	{ "posix_memalign", SHAPE_POSIX_MEMALIGN, ALWAYS },
	{ "valloc", SHAPE_SIZE1, ALWAYS },
	{ "pvalloc", SHAPE_SIZE1, ALWAYS },
	/* jemalloc's own */
	{ "mallocx", SHAPE_SIZE1, ALWAYS },
	{ "rallocx", SHAPE_REALLOC, ALWAYS },
	{ "dallocx", SHAPE_FREE, ALWAYS },
	{ "sdallocx", SHAPE_FREE, ALWAYS },
	{ "_Znwm", SHAPE_SIZE1, CXX_NEW },
	{ "_Znam", SHAPE_SIZE1, CXX_NEW },
	{ "_ZnwmRKSt9nothrow_t", SHAPE_SIZE1, CXX_NEW },
	{ "_ZnamRKSt9nothrow_t", SHAPE_SIZE1, CXX_NEW },
	{ "_ZnwmSt11align_val_t", SHAPE_SIZE1, CXX_NEW },
	{ "_ZnamSt11align_val_t", SHAPE_SIZE1, CXX_NEW },
	{ "_ZnwmSt11align_val_tRKSt9nothrow_t", SHAPE_SIZE1, CXX_NEW },
	{ "_ZnamSt11align_val_tRKSt9nothrow_t", SHAPE_SIZE1, CXX_NEW },
	{ "_ZdlPv", SHAPE_FREE, CXX_DELETE },
	{ "_ZdaPv", SHAPE_FREE, CXX_DELETE },
	{ "_ZdlPvm", SHAPE_FREE, CXX_DELETE },
	{ "_ZdaPvm", SHAPE_FREE, CXX_DELETE },
	{ "_ZdlPvRKSt9nothrow_t", SHAPE_FREE, CXX_DELETE },
	{ "_ZdaPvRKSt9nothrow_t", SHAPE_FREE, CXX_DELETE },
	{ "_ZdlPvSt11align_val_t", SHAPE_FREE, CXX_DELETE },
	{ "_ZdaPvSt11align_val_t", SHAPE_FREE, CXX_DELETE },
	{ "_ZdlPvmSt11align_val_t", SHAPE_FREE, CXX_DELETE },
	{ "_ZdaPvmSt11align_val_t", SHAPE_FREE, CXX_DELETE },
	{ "_ZdlPvSt11align_val_tRKSt9nothrow_t", SHAPE_FREE, CXX_DELETE },
	{ "_ZdaPvSt11align_val_tRKSt9nothrow_t", SHAPE_FREE, CXX_DELETE },
	{ "mmap", SHAPE_MMAP, MAPPING },
	{ "mmap64", SHAPE_MMAP, MAPPING },
	{ "munmap", SHAPE_MUNMAP, MAPPING },
	{ "mremap", SHAPE_MREMAP, MAPPING },
	{ "_dl_debug_state", SHAPE_LOADER, LOADER },
};

/* What builds put in front of an allocator's names. */
static const char *const prefixes[] = { "je_", "jemalloc_", "_rjem_", "tc_", "mi_", "__libc_" };

static const struct known *known_as(const char *name, bool *ret_prefixed)
{
	*ret_prefixed = false;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(name, known[i].name))
			return &known[i];
	for (size_t p = 0; p < ARRAY_SIZE(prefixes); p++) {
		size_t n = strlen(prefixes[p]);

		if (strncmp(name, prefixes[p], n) != 0)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(known) && known[i].group == ALWAYS; i++) {
			if (!strcmp(name + n, known[i].name)) {
				*ret_prefixed = true;
				return &known[i];
			}
		}
	}
	return NULL;
}

/* ---- one module ------------------------------------------------------------------------ */

struct candidate {
	const struct known *known;
	const char *name;
	uint64_t vaddr, size;
	bool prefixed;
};

struct candidates {
	struct candidate *items;
	size_t n, cap;
	uint64_t malloc[8]; /* vaddrs of what is called malloc */
	size_t nmalloc;
};

static bool candidate_add(struct candidates *c, const struct candidate *one)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->items[i].vaddr == one->vaddr)
			return true;
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 32;
		struct candidate *p = reallocarray(c->items, cap, sizeof(*p));

		if (!p)
			return false;
		c->items = p;
		c->cap = cap;
	}
	c->items[c->n++] = *one;
	return true;
}

static bool look_through(Elf *elf, Elf_Scn *scn, struct candidates *c)
{
	GElf_Shdr sh;
	Elf_Data *data;
	size_t n;

	if (!gelf_getshdr(scn, &sh) || (sh.sh_type != SHT_DYNSYM && sh.sh_type != SHT_SYMTAB) ||
	    !sh.sh_entsize || !(data = elf_getdata(scn, NULL)))
		return true;
	n = sh.sh_size / sh.sh_entsize;
	if (n > SYMBOLS_MOST)
		n = SYMBOLS_MOST;
	for (size_t i = 0; i < n; i++) {
		struct candidate one = { 0 };
		GElf_Sym sym;

		if (!gelf_getsym(data, (int)i, &sym))
			break;
		if (GELF_ST_TYPE(sym.st_info) != STT_FUNC || sym.st_shndx == SHN_UNDEF ||
		    !sym.st_value)
			continue;
		one.name = elf_strptr(elf, sh.sh_link, sym.st_name);
		one.known = one.name ? known_as(one.name, &one.prefixed) : NULL;
		if (!one.known)
			continue;
		one.vaddr = sym.st_value;
		one.size = sym.st_size;
		if (!strcmp(one.known->name, "malloc") && c->nmalloc < ARRAY_SIZE(c->malloc))
			c->malloc[c->nmalloc++] = one.vaddr;
		if (!candidate_add(c, &one))
			return false;
	}
	return true;
}

static bool file_offset(Elf *elf, uint64_t vaddr, uint64_t *ret_offset)
{
	GElf_Phdr ph;
	size_t n;

	if (elf_getphdrnum(elf, &n) != 0)
		return false;
	for (size_t i = 0; i < n && gelf_getphdr(elf, (int)i, &ph); i++) {
		if (ph.p_type == PT_LOAD && ph.p_flags & PF_X && vaddr >= ph.p_vaddr &&
		    vaddr - ph.p_vaddr < ph.p_filesz) {
			*ret_offset = vaddr - ph.p_vaddr + ph.p_offset;
			return true;
		}
	}
	return false;
}

/* Whether the function calls, or ends in, one of the module's mallocs: a direct call or jump to it. */
static bool calls_malloc(const struct space_module *m, const struct candidates *c,
                         const struct candidate *fn, uint64_t offset)
{
	const uint8_t *code = (const uint8_t *)m->image.base + offset;
	uint64_t size = fn->size < 4096 ? fn->size : 4096;

	if (offset > m->image.size || size > m->image.size - offset)
		return false;
	for (uint64_t i = 0; i + 5 <= size; i++) {
		int32_t rel;

		if (code[i] != 0xe8 && code[i] != 0xe9)
			continue;
		memcpy(&rel, code + i + 1, sizeof(rel));
		for (size_t k = 0; k < c->nmalloc; k++)
			if (fn->vaddr + i + 5 + (uint64_t)(int64_t)rel == c->malloc[k])
				return true;
	}
	return false;
}

static bool add(struct functions *f, struct space_module *m, const struct candidate *fn,
                uint64_t offset)
{
	static const uint8_t arguments[SHAPE_NSHAPES] = {
		[SHAPE_SIZE1] = 1,   [SHAPE_SIZE2] = 2,        [SHAPE_CALLOC] = 2,
		[SHAPE_REALLOC] = 2, [SHAPE_REALLOCARRAY] = 3, [SHAPE_POSIX_MEMALIGN] = 3,
		[SHAPE_FREE] = 1,    [SHAPE_MUNMAP] = 2,       [SHAPE_MMAP] = 4,
		[SHAPE_MREMAP] = 4,
	};
	struct function *p = reallocarray(f->items, f->n + 1, sizeof(*p));
	size_t size = fn->size ? fn->size : 64;

	if (!p)
		return false;
	f->items = p;
	p = &f->items[f->n++];
	*p = (struct function){ .module = m, .offset = offset, .shape = fn->known->shape };
	snprintf(p->name, sizeof(p->name), "%s", fn->name);
	if (offset >= m->image.size)
		return true;
	if (size > m->image.size - offset)
		size = m->image.size - offset;
	p->offset += place_probe((const uint8_t *)m->image.base + offset, size,
	                         arguments[fn->known->shape]);
	return true;
}

static bool of_module(struct space *s, struct space_module *m, struct functions *f)
{
	Elf *elf = space_elf(s, m);
	struct candidates c = { 0 };
	Elf_Scn *scn = NULL;
	bool ok = true, inlined = false;

	while (elf && ok && (scn = elf_nextscn(elf, scn)))
		ok = look_through(elf, scn, &c);
	for (int round = 0; ok && round < 2; round++) {
		for (size_t i = 0; ok && i < c.n; i++) {
			const struct candidate *fn = &c.items[i];
			uint64_t offset;

			/* deletes come second: they matter only when a new was taken */
			if ((fn->known->group == CXX_DELETE) != (round == 1) ||
			    !file_offset(elf, fn->vaddr, &offset))
				continue;
			if (fn->known->group == CXX_NEW) {
				if (!c.nmalloc || calls_malloc(m, &c, fn, offset))
					continue;
				inlined = true;
			}
			if (fn->known->group == CXX_DELETE && !inlined)
				continue;
			ok = add(f, m, fn, offset);
		}
	}
	if (c.nmalloc) {
		f->nallocators++;
		/* libc has one nearly always; another one in front of it is what the program uses. */
		if (!f->allocator || strstr(f->allocator->path, "/libc.so") ||
		    strstr(f->allocator->path, "/libc-"))
			f->allocator = m;
	}
	free(c.items);
	return ok;
}

struct seep_error *functions_find(struct space *s, struct functions *ret_functions)
{
	struct functions f = { 0 };

	for (size_t i = 0; i < s->n; i++) {
		/* A preloaded tracker passes everything on to the real ones. */
		if (s->modules[i]->gone || module_is_tracker(s->modules[i]->path))
			continue;
		if (!of_module(s, s->modules[i], &f)) {
			functions_release(&f);
			return &seep_error_nomem;
		}
	}
	*ret_functions = f;
	return NULL;
}

void functions_release(struct functions *f)
{
	free(TAKE(f->items));
	f->n = 0;
}
