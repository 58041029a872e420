/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding functions in loaded modules, without dlsym.
 *
 * dlsym takes the loader's lock and, for a name it does not find, allocates the error message; with the
 * program's own allocator, which may be holding its own lock at that very moment: a program with
 * jemalloc linked in makes its first mapping, the tracker's first event, from inside malloc's
 * initialization.  So the modules' own symbol tables are read here: link map → dynamic section → hash
 * table → symbol.  Nothing is allocated and no lock is taken.
 *
 * Sources: System V ABI (DT_HASH); the GNU hash table as written by binutils and read by glibc's
 * elf/dl-lookup.c; symbol versions, LSB core "Symbol Versioning": bit 15 marks one that is not the default.
 */
#include <elf.h>
#include <link.h>
#include <string.h>

#include "track/loader.h"
#include "track/track.h"

extern ElfW(Dyn) _DYNAMIC[] __attribute__((visibility("hidden")));

#define MAX_LINK_MAPS 8192u
#define VERSION_HIDDEN 0x8000u

struct symbols {
	const ElfW(Sym) * sym;
	const char *str;
	const uint16_t *version; /* NULL: not versioned */
	const uint32_t *gnu_hash, *hash;
};

/* glibc relocates the pointers in the dynamic section, except where it is read-only (the vDSO). */
static const void *pointer_of(const struct link_map *l, uint64_t v)
{
	return (const void *)(v < l->l_addr ? v + l->l_addr : v);
}

static bool symbols_of(const struct link_map *l, struct symbols *s)
{
	memset(s, 0, sizeof(*s));
	for (const ElfW(Dyn) *d = l->l_ld; d && d->d_tag != DT_NULL; d++) {
		switch (d->d_tag) {
		case DT_SYMTAB:
			s->sym = pointer_of(l, d->d_un.d_ptr);
			break;
		case DT_STRTAB:
			s->str = pointer_of(l, d->d_un.d_ptr);
			break;
		case DT_VERSYM:
			s->version = pointer_of(l, d->d_un.d_ptr);
			break;
		case DT_GNU_HASH:
			s->gnu_hash = pointer_of(l, d->d_un.d_ptr);
			break;
		case DT_HASH:
			s->hash = pointer_of(l, d->d_un.d_ptr);
			break;
		}
	}
	return s->sym && s->str && (s->gnu_hash || s->hash);
}

/* 0: not it, 1: an old version of it, 2: it */
static int match(const struct symbols *s, uint32_t i, const char *name)
{
	const ElfW(Sym) *sym = &s->sym[i];
	unsigned int type = ELF64_ST_TYPE(sym->st_info);

	if (sym->st_shndx == SHN_UNDEF || !sym->st_value ||
	    (type != STT_FUNC && type != STT_NOTYPE) || strcmp(s->str + sym->st_name, name) != 0)
		return 0;
	return s->version && (s->version[i] & VERSION_HIDDEN) ? 1 : 2;
}

static uint32_t find_gnu(const struct symbols *s, const char *name)
{
	uint32_t nbuckets = s->gnu_hash[0], first = s->gnu_hash[1], words = s->gnu_hash[2];
	const uint32_t *buckets = s->gnu_hash + 4 + words * 2, *chain = buckets + nbuckets;
	uint32_t h = 5381, i, old = 0;

	for (const char *p = name; *p; p++)
		h = h * 33 + (uint8_t)*p;
	if (!nbuckets)
		return 0;
	i = buckets[h % nbuckets];
	if (i < first)
		return 0;
	for (;; i++) {
		uint32_t ch = chain[i - first];
		int m = (ch | 1) == (h | 1) ? match(s, i, name) : 0;

		if (m == 2)
			return i;
		if (m == 1)
			old = i;
		if (ch & 1)
			return old;
	}
}

static uint32_t find_sysv(const struct symbols *s, const char *name)
{
	uint32_t nbuckets = s->hash[0], nchain = s->hash[1], h = 0, old = 0;

	for (const char *p = name; *p; p++) {
		h = (h << 4) + (uint8_t)*p;
		h = (h ^ (h >> 24 & 0xf0)) & 0x0fffffff;
	}
	if (!nbuckets)
		return 0;
	for (uint32_t i = s->hash[2 + h % nbuckets], guard = 0; i && i < nchain && guard < nchain;
	     guard++) {
		int m = match(s, i, name);

		if (m == 2)
			return i;
		if (m == 1)
			old = i;
		i = s->hash[2 + nbuckets + i];
	}
	return old;
}

static void *find_in(const struct link_map *l, const char *name)
{
	struct symbols s;
	uint32_t i;

	if (!symbols_of(l, &s))
		return NULL;
	i = s.gnu_hash ? find_gnu(&s, name) : find_sysv(&s, name);
	return i ? (void *)(l->l_addr + s.sym[i].st_value) : NULL;
}

void *symbol_next(const char *name, const char **ret_module)
{
	bool behind_us = false;
	unsigned int guard = 0;

	for (const struct link_map *l = loader_list()->r_map; l && guard < MAX_LINK_MAPS;
	     l = l->l_next, guard++) {
		void *p;

		if (l->l_ld == _DYNAMIC) {
			behind_us = true;
			continue;
		}
		p = behind_us ? find_in(l, name) : NULL;
		if (p) {
			*ret_module = l->l_name ? l->l_name : "";
			return p;
		}
	}
	return NULL;
}

bool symbol_before_us(const char *name)
{
	unsigned int guard = 0;

	for (const struct link_map *l = loader_list()->r_map; l && guard < MAX_LINK_MAPS;
	     l = l->l_next, guard++) {
		if (l->l_ld == _DYNAMIC)
			return false;
		if (find_in(l, name))
			return true;
	}
	return false;
}

void *symbol_first(const char *name, const char **ret_module)
{
	unsigned int guard = 0;

	for (const struct link_map *l = loader_list()->r_map; l && guard < MAX_LINK_MAPS;
	     l = l->l_next, guard++) {
		void *p = l->l_ld == _DYNAMIC ? NULL : find_in(l, name);

		if (p) {
			*ret_module = l->l_name ? l->l_name : "";
			return p;
		}
	}
	return NULL;
}

void *symbol_anywhere(const char *name)
{
	const char *module;

	return symbol_first(name, &module);
}

struct question {
	const char *name;
	void *answer;
};

static int answer(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct question *q = arg;

	(void)info;
	(void)size;
	q->answer = symbol_anywhere(q->name);
	return 1; /* once is enough */
}

void *symbol_anywhere_locked(const char *name)
{
	struct question q = { .name = name };

	dl_iterate_phdr(answer, &q);
	return q.answer;
}
