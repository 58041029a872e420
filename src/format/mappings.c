/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/PID/maps lines ↔ modules.
 *
 *     55e808b2a000-55e808b2b000 r--p 00000000 08:01 123  /srv/app     ┐
 *     55e808b2b000-55e808b2c000 r-xp 00001000 08:01 123  /srv/app     ├ one module
 *     55e808b2c000-55e808b2d000 rw-p 00002000 08:01 123  /srv/app     ┘
 *
 * A line maps a range of a *file* into memory; a symbol table speaks of the addresses the linker gave.
 * Only the program headers connect the two: linkers differ in whether offset and address agree, and an
 * executable that is not position-independent was not moved at all.  So the file is looked at where it still
 * lies, and its absence costs an assumption that holds for GNU ld's output.
 *
 * In the other direction a module is written as the kernel would have mapped it, segment by segment, when
 * its file is there with the recorded build-id; else as one range.
 */
#include "format/mappings.h"

#include "format/text.h"

#include "base/cleanup.h"
#include "base/cursor.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ull
#define MAX_HEADERS 128
#define MAX_NOTES 65536

/* ---- program headers -------------------------------------------------------------- */

struct loads {
	Elf64_Phdr items[MAX_HEADERS];
	size_t n;
	uint8_t build_id[20];
	size_t build_id_len;
};

static bool read_at(int fd, void *to, size_t n, uint64_t at)
{
	return at < INT64_MAX && pread(fd, to, n, (off_t)at) == (ssize_t)n;
}

static void find_build_id(int fd, const Elf64_Phdr *ph, struct loads *l)
{
	_cleanup_free_ uint8_t *notes = NULL;
	struct cursor c;

	if (ph->p_filesz > MAX_NOTES || l->build_id_len)
		return;
	notes = malloc(ph->p_filesz + 1);
	if (!notes || !read_at(fd, notes, ph->p_filesz, ph->p_offset))
		return;
	c = cursor_make(notes, ph->p_filesz);
	while (cursor_left(&c) >= 12) {
		uint32_t name_size = cursor_u32(&c), size = cursor_u32(&c), type = cursor_u32(&c);
		const uint8_t *name = cursor_bytes(&c, ((size_t)name_size + 3) & ~3ul),
			      *desc = name ? cursor_bytes(&c, ((size_t)size + 3) & ~3ul) : NULL;

		if (!desc)
			return;
		if (type == NT_GNU_BUILD_ID && name_size == 4 && !memcmp(name, "GNU", 4) && size &&
		    size <= sizeof(l->build_id)) {
			memcpy(l->build_id, desc, size);
			l->build_id_len = size;
		}
	}
}

/* The PT_LOADs of a 64-bit ELF file of this machine's byte order; false: there is none such. */
static bool read_loads(const char *path, struct loads *l)
{
	_cleanup_close_ int fd = -1;
	Elf64_Ehdr eh;
	struct stat st;

	l->n = l->build_id_len = 0;
	if (path[0] != '/')
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !read_at(fd, &eh, sizeof(eh), 0))
		return false;
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_ident[EI_DATA] != ELFDATA2LSB || eh.e_phentsize != sizeof(Elf64_Phdr))
		return false;
	for (size_t i = 0; i < eh.e_phnum && l->n < MAX_HEADERS; i++) {
		Elf64_Phdr ph;

		if (!read_at(fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph)))
			return false;
		if (ph.p_type == PT_LOAD && ph.p_filesz)
			l->items[l->n++] = ph;
		else if (ph.p_type == PT_NOTE)
			find_build_id(fd, &ph, l);
	}
	return l->n > 0;
}

/* Where GNU ld and lld put executables that stay where they are. */
static bool is_fixed_address(uint64_t start)
{
	return start == 0x400000 || start == 0x200000 || start == 0x10000;
}

static uint64_t bias_of(const struct loads *l, uint64_t start, uint64_t offset)
{
	for (size_t i = 0; i < l->n; i++) {
		const Elf64_Phdr *ph = &l->items[i];
		uint64_t from = ph->p_offset & ~(PAGE - 1);

		if (offset >= from && offset < ph->p_offset + ph->p_filesz)
			return start - (ph->p_vaddr - ph->p_offset + offset);
	}
	return start - offset;
}

uint64_t mapping_bias(const char *path, uint64_t start, uint64_t offset)
{
	struct loads l;

	if (read_loads(path, &l))
		return bias_of(&l, start, offset);
	return is_fixed_address(start - offset) ? 0 : start - offset;
}

/* ---- reading ----------------------------------------------------------------------- */

bool mappings_line(struct builder *b, struct mappings *m, char *line)
{
	uint64_t start, end, offset, major, minor, inode;
	char *p = line, *path;

	text_blanks(&p);
	if (!text_hex(&p, &start) || !text_take(&p, "-") || !text_hex(&p, &end) || *p != ' ')
		return false;
	p += 1;
	if (strlen(p) < 5 || p[4] != ' ')
		return false;
	p += 5;
	text_blanks(&p);
	if (!text_hex(&p, &offset) || *p++ != ' ')
		return false;
	text_blanks(&p);
	if (!text_hex(&p, &major) || !text_take(&p, ":") || !text_hex(&p, &minor))
		return false;
	text_blanks(&p);
	if (!text_u64(&p, &inode))
		return false;
	text_blanks(&p);
	path = p;
	if (end <= start)
		return false;
	if (!path[0] || (path[0] == '[' && strcmp(path, "[vdso]") != 0) || !strncmp(path, "//", 2))
		return true;
	if (text_ends(path, " (deleted)"))
		path[strlen(path) - strlen(" (deleted)")] = 0;
	if (m->n == m->cap) {
		size_t cap = m->cap ? m->cap * 2 : 64;
		struct mapping *items = reallocarray(m->items, cap, sizeof(*items));

		if (!items) {
			b->failed = true;
			return true;
		}
		m->items = items;
		m->cap = cap;
	}
	m->items[m->n] = (struct mapping){ start, end, offset, strdup(path) };
	if (!m->items[m->n].path)
		b->failed = true;
	else
		m->n++;
	return true;
}

void mappings_release(struct mappings *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->items[i].path);
	free(m->items);
	*m = (struct mappings){ 0 };
}

static int by_start(const void *a, const void *b)
{
	const struct mapping *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Does y go on with the module that x belongs to?  A library that is there twice begins anew at 0. */
static bool same_module(const struct mapping *x, const struct mapping *y)
{
	return !strcmp(x->path, y->path) && y->offset >= x->offset &&
	       !(y->offset == 0 && x->offset > 0);
}

struct range {
	uint64_t start, end;
	uint32_t module;
};

static uint32_t find_range(const struct range *r, size_t n, uint64_t pc)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r[mid].start <= pc)
			low = mid + 1;
		else
			high = mid;
	}
	return low && pc < r[low - 1].end ? r[low - 1].module : PROF_NO_MODULE;
}

void mappings_apply(struct builder *b, struct mappings *m)
{
	_cleanup_free_ struct range *ranges = calloc(m->n + 1, sizeof(*ranges));

	if (!ranges) {
		b->failed = true;
		return;
	}
	if (m->n)
		qsort(m->items, m->n, sizeof(*m->items), by_start);
	for (size_t i = 0, n; i < m->n; i += n) {
		struct prof_module mod = { .path = m->items[i].path, .start = m->items[i].start };
		uint32_t id;

		for (n = 1; i + n < m->n && same_module(&m->items[i + n - 1], &m->items[i + n]);)
			n++;
		mod.end = m->items[i + n - 1].end;
		mod.bias = mapping_bias(mod.path, mod.start, m->items[i].offset);
		id = builder_mapped(b, &mod);
		for (size_t k = i; k < i + n; k++)
			ranges[k] = (struct range){ m->items[k].start, m->items[k].end, id };
	}
	for (size_t i = 1; i < b->p->nframes; i++) {
		struct prof_frame *f = &b->p->frames[i];

		if (f->module == PROF_NO_MODULE && f->pc)
			f->module = find_range(ranges, m->n, f->pc);
	}
}

/* ---- writing ------------------------------------------------------------------------ */

static void put_mapping(struct buf *out, const struct prof_module *m, uint64_t start, uint64_t end,
                        uint64_t offset, uint32_t flags)
{
	buf_printf(out, "%08llx-%08llx %c%c%cp %08llx %02x:%02x %llu", (unsigned long long)start,
	           (unsigned long long)end, flags & PF_R ? 'r' : '-', flags & PF_W ? 'w' : '-',
	           flags & PF_X ? 'x' : '-', (unsigned long long)offset,
	           (unsigned int)(m->dev >> 8 & 0xfff), (unsigned int)(m->dev & 0xff),
	           (unsigned long long)m->inode);
	buf_puts(out, "                    ");
	buf_puts(out, m->path);
	buf_putc(out, '\n');
}

/* The file at its path is the one that was mapped, and its segments fill the module's range. */
static bool loads_match(const struct loads *l, const struct prof_module *m)
{
	if (m->build_id_len && (l->build_id_len != m->build_id_len ||
	                        memcmp(l->build_id, m->build_id, m->build_id_len) != 0))
		return false;
	for (size_t i = 0; i < l->n; i++) {
		uint64_t start = (l->items[i].p_vaddr & ~(PAGE - 1)) + m->bias;

		if (start < m->start || start >= m->end)
			return false;
	}
	return true;
}

void mappings_write(struct buf *out, const struct profile *p)
{
	buf_puts(out, "\nMAPPED_LIBRARIES:\n");
	for (size_t i = 0; i < p->nmodules; i++) {
		const struct prof_module *m = &p->modules[i];
		struct loads l;

		if (m->start >= m->end || !m->path[0] || strchr(m->path, '\n'))
			continue;
		if (!read_loads(m->path, &l) || !loads_match(&l, m)) {
			put_mapping(out, m, m->start, m->end, 0, PF_R | PF_X);
			continue;
		}
		for (size_t k = 0; k < l.n; k++) {
			const Elf64_Phdr *ph = &l.items[k];
			uint64_t start = (ph->p_vaddr & ~(PAGE - 1)) + m->bias,
				 end = ((ph->p_vaddr + ph->p_filesz + PAGE - 1) & ~(PAGE - 1)) +
			               m->bias;

			put_mapping(out, m, start, end, ph->p_offset & ~(PAGE - 1), ph->p_flags);
		}
	}
}
