/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding ELF modules in memory.
 *
 * A loaded module begins with its ELF header, in a mapping of the file's offset 0.  What merely has an
 * ELF file mapped to read it (a debugger, a symbolizer) shows the same bytes; a loaded one differs in
 * that every executable segment lies in an executable mapping of the same file, at the place the
 * header says.  Remapped text (huge pages) is anonymous by now, and counts as well.
 *
 * The executable is found by AT_PHDR even where no file is behind it any more (packers).
 */
#include "proc/modules.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/cursor.h"
#include "base/error.h"

#define PHDRS_MAX 512
#define NOTES_MAX (64u << 10)
#define SPAN_MAX (1ull << 40) /* no module is longer; also keeps sums from wrapping */

bool modules_ehdr_ok(const Elf64_Ehdr *eh)
{
	return memcmp(eh->e_ident, ELFMAG, SELFMAG) == 0 && eh->e_ident[EI_CLASS] == ELFCLASS64 &&
	       eh->e_ident[EI_DATA] == ELFDATA2LSB && eh->e_phentsize == sizeof(Elf64_Phdr) &&
	       eh->e_phnum > 0;
}

uint8_t modules_build_id(const void *notes, size_t len, uint64_t align, uint8_t ret[20])
{
	struct cursor c = cursor_make(notes, len);
	size_t pad = align == 8 ? 7 : 3;

	while (cursor_left(&c) >= 12) {
		uint32_t namesz = cursor_u32(&c), descsz = cursor_u32(&c), type = cursor_u32(&c);
		const uint8_t *name = cursor_bytes(&c, ((size_t)namesz + pad) & ~pad), *desc;
		uint8_t n;

		if (!name || namesz > len)
			return 0;
		desc = cursor_bytes(&c, descsz);
		if (!desc)
			return 0;
		if (type == NT_GNU_BUILD_ID && namesz == 4 && memcmp(name, "GNU", 4) == 0 && descsz) {
			n = descsz < 20 ? (uint8_t)descsz : 20;
			memcpy(ret, desc, n);
			return n;
		}
		if (!cursor_bytes(&c, (((size_t)descsz + pad) & ~pad) - descsz))
			return 0;
	}
	return 0;
}

static bool same_file(const struct image_map *a, const struct image_map *b)
{
	if (a->inode || b->inode)
		return a->inode == b->inode && a->dev == b->dev;
	return strcmp(a->path, b->path) == 0;
}

struct elf {
	const struct image_map *map; /* of its header */
	Elf64_Ehdr eh;
	Elf64_Phdr ph[PHDRS_MAX];
	size_t nph;
};

/* Reads header and program headers at `at`; false: no ELF file there. */
static bool read_elf(const struct image *img, const struct image_map *map, uint64_t at,
                     struct elf *e)
{
	e->map = map;
	if (!image_read_all(img, at, &e->eh, sizeof(e->eh)) || !modules_ehdr_ok(&e->eh) ||
	    (e->eh.e_type != ET_DYN && e->eh.e_type != ET_EXEC))
		return false;
	e->nph = e->eh.e_phnum < PHDRS_MAX ? e->eh.e_phnum : PHDRS_MAX;
	if (e->eh.e_phoff > SPAN_MAX)
		return false;
	return image_read_all(img, at + e->eh.e_phoff, e->ph, e->nph * sizeof(e->ph[0]));
}

/* Is it loaded here, rather than mapped to be read?  Fills in the module's range. */
static bool loaded(const struct image *img, const struct elf *e, uint64_t at, struct image_module *m)
{
	uint64_t lo = UINT64_MAX, hi = 0, page = ~(img->page_size - 1), first = UINT64_MAX;
	bool exec = false, trusted = strcmp(e->map->path, "[vdso]") == 0;

	for (size_t i = 0; i < e->nph; i++) {
		const Elf64_Phdr *p = &e->ph[i];

		if (p->p_type != PT_LOAD || !p->p_memsz)
			continue;
		if (p->p_memsz > SPAN_MAX || p->p_vaddr > UINT64_MAX - SPAN_MAX)
			return false;
		if (p->p_vaddr < lo)
			lo = p->p_vaddr;
		if (p->p_vaddr + p->p_memsz > hi)
			hi = p->p_vaddr + p->p_memsz;
		/* The segment that holds the header tells where the rest is. */
		if (p->p_offset < img->page_size && first == UINT64_MAX)
			first = (p->p_vaddr & page) - (p->p_offset & page);
	}
	if (first == UINT64_MAX || hi - lo > SPAN_MAX)
		return false;
	m->bias = at - first;
	m->start = m->bias + (lo & page);
	m->end = (m->bias + hi + img->page_size - 1) & page;
	if (m->end <= m->start)
		return false;
	for (size_t i = 0; i < e->nph && !trusted; i++) {
		const Elf64_Phdr *p = &e->ph[i];
		const struct image_map *map;

		if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || !p->p_memsz)
			continue;
		map = image_map_of(img, m->bias + p->p_vaddr);
		if (!map || !(map->flags & IMAGE_EXEC))
			return false;
		if (map->path[0] && !same_file(map, e->map))
			return false;
		exec = true;
	}
	return exec || trusted;
}

static void details(const struct image *img, const struct elf *e, struct image_module *m)
{
	for (size_t i = 0; i < e->nph; i++) {
		const Elf64_Phdr *p = &e->ph[i];
		uint64_t at = m->bias + p->p_vaddr;
		_cleanup_free_ void *notes = NULL;
		size_t len;

		switch (p->p_type) {
		case PT_TLS:
			if (p->p_memsz <= SPAN_MAX) {
				m->tls_offset_vaddr = p->p_vaddr;
				m->tls_memsz = p->p_memsz;
			}
			break;
		case PT_GNU_EH_FRAME:
			if (at >= m->start && at < m->end)
				m->eh_frame_hdr = at;
			break;
		case PT_NOTE:
			if (m->build_id_len)
				break;
			len = p->p_filesz < NOTES_MAX ? (size_t)p->p_filesz : NOTES_MAX;
			notes = malloc(len + 1);
			if (notes)
				m->build_id_len = modules_build_id(notes,
				                                   image_read(img, at, notes, len),
				                                   p->p_align, m->build_id);
			break;
		}
	}
}

static char *module_path(const char *path)
{
	static const char deleted[] = " (deleted)";
	size_t n = strlen(path), d = sizeof(deleted) - 1;

	if (n > d && strcmp(path + n - d, deleted) == 0)
		n -= d;
	return strndup(path, n);
}

static struct seep_error *add(struct image *img, const struct elf *e, const struct image_module *m,
                              const char *path, size_t *cap)
{
	struct image_module *slot;

	if (img->nmodules == *cap) {
		size_t more = *cap ? *cap * 2 : 32;
		void *p = realloc(img->modules, more * sizeof(*img->modules));

		if (!p)
			return &seep_error_nomem;
		img->modules = p;
		*cap = more;
	}
	slot = &img->modules[img->nmodules];
	*slot = *m;
	slot->path = module_path(path);
	if (!slot->path)
		return &seep_error_nomem;
	details(img, e, slot);
	img->nmodules++;
	return NULL;
}

static int by_start(const void *a, const void *b)
{
	uint64_t x = ((const struct image_module *)a)->start,
		 y = ((const struct image_module *)b)->start;

	return (x > y) - (x < y);
}

struct seep_error *modules_find(struct image *img)
{
	_cleanup_free_ struct elf *e = malloc(sizeof(*e));
	struct seep_error *err;
	size_t cap = 0, kept = 0;

	if (!e)
		return &seep_error_nomem;
	for (size_t i = 0; i < img->nmaps; i++) {
		const struct image_map *map = &img->maps[i];
		bool vdso = strcmp(map->path, "[vdso]") == 0, phdr;
		struct image_module m = { 0 };
		const char *path = map->path;

		phdr = img->at_phdr >= map->start && img->at_phdr < map->end;
		if (!(map->flags & IMAGE_READ) || (map->flags & IMAGE_ABSENT))
			continue;
		/* A file from its beginning, the vdso, or wherever the kernel put the program. */
		if (!vdso && !phdr && (map->path[0] != '/' || map->offset))
			continue;
		if (!read_elf(img, map, map->start, e) || !loaded(img, e, map->start, &m))
			continue;
		if (phdr && !path[0])
			path = img->exe;
		err = add(img, e, &m, path, &cap);
		if (err)
			return err;
	}
	if (img->nmodules)
		qsort(img->modules, img->nmodules, sizeof(*img->modules), by_start);
	/* Ranges that run into the one before are a hostile header's: look-ups want them apart. */
	for (size_t i = 0; i < img->nmodules; i++) {
		if (kept && img->modules[i].start < img->modules[kept - 1].end)
			free((char *)img->modules[i].path);
		else
			img->modules[kept++] = img->modules[i];
	}
	img->nmodules = kept;
	return NULL;
}

void modules_free(struct image_module *modules, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free((char *)modules[i].path);
	free(modules);
}
