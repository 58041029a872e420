/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking up exported functions in another process: ELF header, program headers, dynamic section, hash table, symbol,
 * each read from where the one before says it is.  All of it may be nonsense; every loop is bounded and every
 * read either gives what was asked for or fails.
 */
#include "proc/dynsym.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/error.h"
#include "proc/modules.h"
#include "proc/procfs.h"

#define PHDRS 64u
#define DYNAMICS 256u
#define CHAIN_MAX 100000u

bool dynsym_memory(const struct dynsym *d, uint64_t address, void *buf, size_t len)
{
	struct iovec l = { buf, len }, r = { (void *)(uintptr_t)address, len };

	return process_vm_readv(d->pid, &l, 1, &r, 1, 0) == (ssize_t)len;
}

static void read_dynamic(const struct dynsym *d, struct dynsym_module *m, uint64_t at)
{
	Elf64_Dyn dyn[DYNAMICS];
	size_t n;

	memset(dyn, 0, sizeof(dyn));
	/* The section's end may be the mapping's end. */
	for (n = 0; n < DYNAMICS; n += 16)
		if (!dynsym_memory(d, at + n * sizeof(dyn[0]), &dyn[n], 16 * sizeof(dyn[0])))
			break;
	for (size_t i = 0; i < DYNAMICS && dyn[i].d_tag != DT_NULL; i++) {
		uint64_t v = dyn[i].d_un.d_val;
		/* glibc makes addresses of these, musl and the vdso leave them relative. */
		uint64_t address = v < m->bias ? v + m->bias : v;

		switch (dyn[i].d_tag) {
		case DT_SYMTAB:
			m->symtab = address;
			break;
		case DT_STRTAB:
			m->strtab = address;
			break;
		case DT_STRSZ:
			m->strsz = v;
			break;
		case DT_GNU_HASH:
			m->gnu_hash = address;
			break;
		case DT_HASH:
			m->hash = address;
			break;
		}
	}
}

/* A module whose header lies at the start of this mapping; false: there is none. */
static bool read_module(const struct dynsym *d, const struct image_map *map, uint64_t at_phdr,
                        struct dynsym_module *ret)
{
	struct dynsym_module m = { .path = map->path };
	uint64_t lo = UINT64_MAX, hi = 0, dynamic = 0;
	Elf64_Phdr ph[PHDRS];
	Elf64_Ehdr eh;
	bool code = false;

	if (!dynsym_memory(d, map->start, &eh, sizeof(eh)) || !modules_ehdr_ok(&eh) ||
	    eh.e_phnum > PHDRS ||
	    !dynsym_memory(d, map->start + eh.e_phoff, ph, eh.e_phnum * sizeof(ph[0])))
		return false;
	for (unsigned int i = 0; i < eh.e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD) {
			lo = ph[i].p_vaddr < lo ? ph[i].p_vaddr : lo;
			hi = ph[i].p_vaddr + ph[i].p_memsz > hi ? ph[i].p_vaddr + ph[i].p_memsz : hi;
		}
		m.interp |= ph[i].p_type == PT_INTERP;
	}
	if (lo >= hi)
		return false;
	m.bias = map->start - (lo & ~4095ull);
	m.start = map->start;
	m.end = m.bias + ((hi + 4095) & ~4095ull);
	for (unsigned int i = 0; i < eh.e_phnum; i++)
		if (ph[i].p_type == PT_DYNAMIC)
			dynamic = m.bias + ph[i].p_vaddr;
	m.executable = at_phdr >= m.start && at_phdr < m.end;
	/* A file that is only mapped to be read has no code among its mappings. */
	for (size_t i = 0; i < d->maps.n && !code; i++)
		code = d->maps.items[i].start >= m.start && d->maps.items[i].start < m.end &&
		       d->maps.items[i].flags & IMAGE_EXEC;
	if (!code)
		return false;
	if (dynamic)
		read_dynamic(d, &m, dynamic);
	*ret = m;
	return true;
}

struct seep_error *dynsym_read(pid_t pid, struct dynsym *ret)
{
	_cleanup_buf_ struct buf auxv = { 0 };
	struct dynsym d = { .pid = pid };
	struct procfs_auxv av = { 0 };
	struct seep_error *err = maps_read(pid, &d.maps);

	if (err)
		return err;
	if (!procfs_read(pid, "auxv", 8192, &auxv))
		procfs_parse_auxv(auxv.data, auxv.len, &av);
	d.modules = calloc(d.maps.n + 1, sizeof(*d.modules));
	if (!d.modules) {
		maps_release(&d.maps);
		return &seep_error_nomem;
	}
	for (size_t i = 0; i < d.maps.n; i++) {
		const struct image_map *map = &d.maps.items[i];

		if (map->flags & IMAGE_READ && map->offset == 0 && map->inode &&
		    read_module(&d, map, av.phdr, &d.modules[d.n]))
			d.n++;
	}
	*ret = d;
	return NULL;
}

void dynsym_release(struct dynsym *d)
{
	maps_release(&d->maps);
	free(d->modules);
	d->modules = NULL;
	d->n = 0;
}

/* ---- symbols ---------------------------------------------------------------------- */

static uint64_t match(const struct dynsym *d, const struct dynsym_module *m, uint32_t i,
                      const char *name)
{
	size_t len = strlen(name) + 1;
	char text[64];
	Elf64_Sym sym;

	if (len > sizeof(text) ||
	    !dynsym_memory(d, m->symtab + (uint64_t)i * sizeof(sym), &sym, sizeof(sym)) ||
	    sym.st_shndx == SHN_UNDEF || !sym.st_value || sym.st_name >= m->strsz ||
	    m->strsz - sym.st_name < len || !dynsym_memory(d, m->strtab + sym.st_name, text, len) ||
	    memcmp(text, name, len) != 0)
		return 0;
	return m->bias + sym.st_value;
}

static uint64_t find_gnu(const struct dynsym *d, const struct dynsym_module *m, const char *name)
{
	uint32_t head[4], i, h = 5381, link;
	uint64_t buckets, chain;

	for (const char *p = name; *p; p++)
		h = h * 33 + (uint8_t)*p;
	if (!dynsym_memory(d, m->gnu_hash, head, sizeof(head)) || !head[0])
		return 0;
	buckets = m->gnu_hash + 16 + (uint64_t)head[2] * 8;
	chain = buckets + (uint64_t)head[0] * 4;
	if (!dynsym_memory(d, buckets + (uint64_t)(h % head[0]) * 4, &i, sizeof(i)) || i < head[1])
		return 0;
	for (uint32_t guard = 0; guard < CHAIN_MAX; guard++, i++) {
		uint64_t address;

		if (!dynsym_memory(d, chain + (uint64_t)(i - head[1]) * 4, &link, sizeof(link)))
			return 0;
		address = (link | 1) == (h | 1) ? match(d, m, i, name) : 0;
		if (address || link & 1)
			return address;
	}
	return 0;
}

static uint64_t find_sysv(const struct dynsym *d, const struct dynsym_module *m, const char *name)
{
	uint32_t head[2], h = 0, i;

	for (const char *p = name; *p; p++) {
		h = (h << 4) + (uint8_t)*p;
		h = (h ^ (h >> 24 & 0xf0)) & 0x0fffffff;
	}
	if (!dynsym_memory(d, m->hash, head, sizeof(head)) || !head[0] ||
	    !dynsym_memory(d, m->hash + 8 + (uint64_t)(h % head[0]) * 4, &i, sizeof(i)))
		return 0;
	for (uint32_t guard = 0; i && guard < CHAIN_MAX; guard++) {
		uint64_t address = match(d, m, i, name);

		if (address ||
		    !dynsym_memory(d, m->hash + 8 + (uint64_t)head[0] * 4 + (uint64_t)i * 4, &i,
		                   sizeof(i)))
			return address;
	}
	return 0;
}

uint64_t dynsym_find(const struct dynsym *d, const struct dynsym_module *m, const char *name)
{
	if (!m->symtab || !m->strtab)
		return 0;
	if (m->gnu_hash)
		return find_gnu(d, m, name);
	return m->hash ? find_sysv(d, m, name) : 0;
}

const struct dynsym_module *dynsym_where(const struct dynsym *d, const char *name,
                                         uint64_t *ret_address)
{
	for (size_t i = 0; i < d->n; i++) {
		uint64_t address = &d->modules[i] == d->skip ? 0
		                                             : dynsym_find(d, &d->modules[i], name);

		if (address) {
			*ret_address = address;
			return &d->modules[i];
		}
	}
	return NULL;
}
