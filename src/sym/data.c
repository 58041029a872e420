/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data symbols by address, as symtab.c has functions: a sorted array over the symbol tables of the module's
 * files.  Of several names at one address the one is kept that a reader of the source would
 * use; data seldom nests, so a look-up only steps back over a few neighbours that end before it.
 */
#include "sym/data.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"
#include "sym/locate.h"
#include "sym/names.h"
#include "sym/sym.h"
#include "sym/symfile.h"

#include <stdlib.h>
#include <string.h>

#define MAX_BACK 16 /* neighbours looked at */
#define MAX_ENTRIES (8u << 20)
#define MAX_NAME 4096

struct entry {
	uint64_t lo, size; /* file addresses */
	const char *raw;   /* in the file */
	uint8_t rank;      /* lower is better */
};

struct data_symbols {
	struct symfile *main, *debug;
	struct names names;
	struct entry *entries;
	size_t n, cap;
	uint64_t bias;
};

static bool push(struct data_symbols *d, const struct entry *e)
{
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 256;
		struct entry *bigger = reallocarray(d->entries, cap, sizeof(*bigger));

		if (!bigger)
			return false;
		d->entries = bigger;
		d->cap = cap;
	}
	d->entries[d->n++] = *e;
	return true;
}

/* Data in memory: allocated, not code, not thread-local (whose values are offsets). */
static bool in_data_section(const struct symfile *f, unsigned int index)
{
	Elf_Scn *scn = index && index < SHN_LORESERVE ? elf_getscn(f->elf, index) : NULL;
	GElf_Shdr shdr;

	return scn && gelf_getshdr(scn, &shdr) && (shdr.sh_flags & SHF_ALLOC) &&
	       !(shdr.sh_flags & (SHF_EXECINSTR | SHF_TLS));
}

static bool add_section(struct data_symbols *d, const struct symfile *f, Elf_Scn *scn,
                        const GElf_Shdr *shdr)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n = data && shdr->sh_entsize ? data->d_size / shdr->sh_entsize : 0;

	for (size_t i = 1; i < n && i < INT32_MAX && d->n < MAX_ENTRIES; i++) {
		struct entry e;
		GElf_Sym sym;

		if (!gelf_getsym(data, (int)i, &sym))
			break;
		if (GELF_ST_TYPE(sym.st_info) != STT_OBJECT || !in_data_section(f, sym.st_shndx))
			continue;
		e = (struct entry){
			.lo = sym.st_value,
			.size = sym.st_size,
			.raw = elf_strptr(f->elf, shdr->sh_link, sym.st_name),
			.rank = (uint8_t)(2 * !sym.st_size +
			                  (GELF_ST_BIND(sym.st_info) == STB_LOCAL)),
		};
		if (!e.raw || !e.raw[0] || strnlen(e.raw, MAX_NAME) == MAX_NAME)
			continue;
		if (e.size > UINT64_MAX - e.lo)
			e.size = UINT64_MAX - e.lo;
		if (!push(d, &e))
			return false;
	}
	return true;
}

static bool add_file(struct data_symbols *d, const struct symfile *f)
{
	Elf_Scn *scn = NULL;

	while (f && (scn = elf_nextscn(f->elf, scn))) {
		GElf_Shdr shdr;

		if (!gelf_getshdr(scn, &shdr))
			break;
		if ((shdr.sh_type == SHT_SYMTAB || shdr.sh_type == SHT_DYNSYM) &&
		    !add_section(d, f, scn, &shdr))
			return false;
	}
	return true;
}

static int compare(const void *va, const void *vb)
{
	const struct entry *a = va, *b = vb;
	size_t x, y;

	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	x = strspn(a->raw, "_");
	y = strspn(b->raw, "_");
	if (x == y) {
		x = strlen(a->raw);
		y = strlen(b->raw);
	}
	if (x != y)
		return x < y ? -1 : 1;
	return strcmp(a->raw, b->raw);
}

static void sort(struct data_symbols *d)
{
	size_t kept = 0;

	qsort(d->entries, d->n, sizeof(*d->entries), compare);
	for (size_t i = 0; i < d->n; i++)
		if (!kept || d->entries[kept - 1].lo != d->entries[i].lo)
			d->entries[kept++] = d->entries[i];
	d->n = kept;
}

struct seep_error *data_symbols_open(const struct sym_options *opts, const struct prof_module *m,
                                     struct data_symbols **ret_data)
{
	_cleanup_data_symbols_ struct data_symbols *d = calloc(1, sizeof(*d));
	size_t id_len = locate_id_len(m);
	const uint8_t *id = m->build_id;
	struct warnings warnings = { 0 };
	struct locator loc;
	bool unverified, complete;

	if (!d)
		return &seep_error_nomem;
	d->bias = m->bias;
	d->names.no_demangle = opts->no_demangle;
	if (locate_is_file(m->path)) {
		locator_init(&loc, opts);
		d->main = locate_module(&loc, m, &warnings, &unverified);
		if (d->main && !id_len) {
			id = d->main->build_id;
			id_len = d->main->build_id_len;
		}
		if (!d->main || !d->main->has_symtab)
			d->debug = locate_debug(&loc, m->path, d->main, id, id_len, &warnings);
		locator_release(&loc);
		warnings_release(&warnings); /* the symbolizer says the same of the same files */
	}
	complete = add_file(d, d->main) && add_file(d, d->debug);
	if (!complete)
		return &seep_error_nomem;
	if (d->n)
		sort(d);
	*ret_data = d->n ? TAKE(d) : NULL;
	return NULL;
}

/* "cache.2345" is the compiler's way to tell two static variables `cache` of two functions apart. */
static const char *shown_name(struct data_symbols *d, const char *raw)
{
	const char *name = names_function(&d->names, raw), *dot = name ? strrchr(name, '.') : NULL;
	char *copy;
	size_t len;

	if (!dot || dot == name || !dot[1] || dot[1 + strspn(dot + 1, "0123456789")])
		return name ? name : raw;
	len = (size_t)(dot - name);
	copy = names_alloc(&d->names, len + 1);
	if (!copy)
		return name;
	memcpy(copy, name, len);
	return copy;
}

bool data_symbols_find(struct data_symbols *d, uint64_t addr, struct data_symbol *ret_symbol)
{
	size_t lo = 0, hi = d ? d->n : 0;
	uint64_t at = d ? addr - d->bias : 0;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (d->entries[mid].lo <= at)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (size_t back = 0; lo && back < MAX_BACK; back++) {
		const struct entry *e = &d->entries[--lo];

		if (at - e->lo >= (e->size ? e->size : 1))
			continue;
		*ret_symbol = (struct data_symbol){
			.name = shown_name(d, e->raw),
			.raw = e->raw,
			.start = e->lo + d->bias,
			.size = e->size,
		};
		return true;
	}
	return false;
}

void data_symbols_free(struct data_symbols *d)
{
	if (!d)
		return;
	names_release(&d->names);
	free(d->entries);
	symfile_close(d->debug);
	symfile_close(d->main);
	free(d);
}
