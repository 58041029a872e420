/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sorted array of function symbols.
 *
 * Several names often share one address (malloc, __libc_malloc, __GI___libc_malloc);
 * one is kept, the one a reader of the program's source would use: a function before
 * a label, sized before unsized, exported before local, with the fewest leading
 * underscores, then the shortest.
 *
 * Symbols may nest (a label with a size inside a function).  Each entry knows the
 * entry around it, so that an address behind the inner one is still found in the
 * outer one.
 *
 *	outer  [-----------------------]        enclosing = none
 *	inner      [------]                     enclosing = outer
 *	address               ^  last start at or below it is inner; not inside; try outer
 */
#include "sym/symtab.h"

#include "sym/symfile.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define MAX_CLIMB 64     /* levels of nesting followed */
#define MAX_UNSIZED 4096 /* what the last symbol without a size may cover */

struct symtab_entry {
	uint64_t lo, hi; /* hi == lo: no size in the file; symtab_finish() gives it one */
	const char *name;
	uint32_t enclosing;
	uint8_t rank; /* lower is better */
};

static bool push(struct symtab *t, const struct symtab_entry *e)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 1024;
		struct symtab_entry *bigger = realloc(t->entries, cap * sizeof(*bigger));

		if (!bigger)
			return false;
		t->entries = bigger;
		t->cap = cap;
	}
	t->entries[t->n++] = *e;
	return true;
}

static uint64_t code_end(const struct symfile *f, uint64_t addr)
{
	unsigned int i;

	for (i = 0; i < f->nexec; i++)
		if (addr >= f->exec[i].lo && addr < f->exec[i].hi)
			return f->exec[i].hi;
	return addr;
}

static uint8_t rank_of(const GElf_Sym *sym)
{
	uint8_t rank = 0;

	if (GELF_ST_TYPE(sym->st_info) == STT_NOTYPE)
		rank += 4;
	if (!sym->st_size)
		rank += 2;
	if (GELF_ST_BIND(sym->st_info) == STB_LOCAL)
		rank += 1;
	return rank;
}

/* Symbols of debug sections have values that look like addresses; only code counts. */
static bool in_code_section(const struct symfile *f, unsigned int index)
{
	Elf_Scn *scn = index < SHN_LORESERVE ? elf_getscn(f->elf, index) : NULL;
	GElf_Shdr shdr;

	return index >= SHN_LORESERVE ||
	       (scn && gelf_getshdr(scn, &shdr) && (shdr.sh_flags & SHF_EXECINSTR));
}

static bool add_section(struct symtab *t, const struct symfile *f, Elf_Scn *scn,
                        const GElf_Shdr *shdr)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n, i;

	if (!data || !shdr->sh_entsize)
		return true;
	n = data->d_size / shdr->sh_entsize;
	for (i = 1; i < n && i < INT32_MAX; i++) {
		struct symtab_entry e = { .enclosing = NONE };
		uint64_t end;
		GElf_Sym sym;
		int type;

		if (!gelf_getsym(data, (int)i, &sym))
			break;
		type = GELF_ST_TYPE(sym.st_info);
		if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE)
			continue;
		if (sym.st_shndx == SHN_UNDEF || sym.st_shndx == SHN_ABS)
			continue;
		end = code_end(f, sym.st_value);
		if (end == sym.st_value || !in_code_section(f, sym.st_shndx))
			continue;
		e.name = elf_strptr(f->elf, shdr->sh_link, sym.st_name);
		/* '$' and ".L": marks for the assembler and the disassembler */
		if (!e.name || !e.name[0] || e.name[0] == '$' || !strncmp(e.name, ".L", 2))
			continue;
		e.lo = sym.st_value;
		e.hi = sym.st_size > end - e.lo ? end : e.lo + sym.st_size;
		e.rank = rank_of(&sym);
		if (!push(t, &e))
			return false;
	}
	return true;
}

bool symtab_add(struct symtab *t, const struct symfile *f)
{
	Elf_Scn *scn = NULL;

	while ((scn = elf_nextscn(f->elf, scn))) {
		GElf_Shdr shdr;

		if (!gelf_getshdr(scn, &shdr))
			break;
		if (shdr.sh_type != SHT_SYMTAB && shdr.sh_type != SHT_DYNSYM)
			continue;
		if (!add_section(t, f, scn, &shdr))
			return false;
	}
	return true;
}

static size_t underscores(const char *s)
{
	return strspn(s, "_");
}

static int compare(const void *va, const void *vb)
{
	const struct symtab_entry *a = va, *b = vb;
	size_t x, y;

	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	if (a->name == b->name)
		return 0;
	x = underscores(a->name);
	y = underscores(b->name);
	if (x == y) {
		x = strlen(a->name);
		y = strlen(b->name);
	}
	if (x != y)
		return x < y ? -1 : 1;
	return strcmp(a->name, b->name);
}

/* Gives entries their enclosing one and a size; labels inside a sized function go. */
static void nest(struct symtab *t)
{
	size_t i, kept = 0;

	for (i = 0; i < t->n; i++) {
		struct symtab_entry e = t->entries[i];
		uint32_t up = kept ? (uint32_t)(kept - 1) : NONE;

		while (up != NONE && t->entries[up].hi <= e.lo)
			up = t->entries[up].enclosing;
		if (up != NONE && e.hi == e.lo)
			continue;
		e.enclosing = up;
		t->entries[kept++] = e;
	}
	t->n = kept;
	for (i = 0; i < kept; i++) {
		struct symtab_entry *e = &t->entries[i];

		if (e->hi == e->lo) /* assembler code: up to the next symbol */
			e->hi = i + 1 < kept ? t->entries[i + 1].lo : e->lo + MAX_UNSIZED;
	}
}

void symtab_finish(struct symtab *t)
{
	size_t i, kept = 0;

	if (!t->n)
		return;
	if (t->n >= NONE)
		t->n = NONE - 1;
	qsort(t->entries, t->n, sizeof(*t->entries), compare);
	for (i = 0; i < t->n; i++) {
		struct symtab_entry *last = kept ? &t->entries[kept - 1] : NULL;

		if (last && last->lo == t->entries[i].lo) {
			if (t->entries[i].hi > last->hi)
				last->hi = t->entries[i].hi;
			continue;
		}
		t->entries[kept++] = t->entries[i];
	}
	t->n = kept;
	nest(t);
}

const char *symtab_find(const struct symtab *t, uint64_t addr)
{
	size_t lo = 0, hi = t->n;
	unsigned int climb = 0;
	uint32_t i;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (t->entries[mid].lo <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return NULL;
	for (i = (uint32_t)(lo - 1); i != NONE && climb++ < MAX_CLIMB; i = t->entries[i].enclosing)
		if (addr < t->entries[i].hi)
			return t->entries[i].name;
	return NULL;
}

void symtab_release(struct symtab *t)
{
	free(t->entries);
	*t = (struct symtab){ 0 };
}
