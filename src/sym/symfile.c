/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening ELF files that somebody else wrote.
 *
 * What the file is, and that libelf can do no harm with it, is the business of elfimage.c.
 * Here is what an ELF file means to the symbolizer: where its code is, which build it is,
 * and what it has to tell.
 */
#include "sym/symfile.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_MINIDEBUG (UINT64_C(128) << 20)

void symfile_hex(const uint8_t *id, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < len; i++) {
		out[2 * i] = digits[id[i] >> 4];
		out[2 * i + 1] = digits[id[i] & 15];
	}
	out[2 * len] = 0;
}

/* ---- opening ---------------------------------------------------------- */

static struct seep_error *look_at_sections(struct symfile *f)
{
	Elf_Scn *scn = NULL;
	size_t shstrndx;

	if (elf_getshdrstrndx(f->elf, &shstrndx) < 0)
		return NULL; /* no sections: program headers must do */
	while ((scn = elf_nextscn(f->elf, scn))) {
		GElf_Shdr shdr;
		const char *name;

		if (!gelf_getshdr(scn, &shdr))
			return seep_error_new(0, "%s has a damaged section table", f->path);
		if (shdr.sh_type == SHT_NOBITS || shdr.sh_type == SHT_NULL || !shdr.sh_size)
			continue;
		if (shdr.sh_type == SHT_SYMTAB)
			f->has_symtab = true;
		name = elf_strptr(f->elf, shstrndx, shdr.sh_name);
		if (name && !strcmp(name, ".debug_info"))
			f->has_dwarf = true;
	}
	return NULL;
}

/* .gnu_debugaltlink: a name, its NUL, a build-id. */
static void look_at_alt(struct symfile *f)
{
	const char *nul = f->image.alt ? memchr(f->image.alt, 0, f->image.alt_size) : NULL;
	size_t left = nul ? f->image.alt_size - (size_t)(nul + 1 - f->image.alt) : 0;

	if (!left || left > SYMFILE_MAX_BUILD_ID)
		return;
	f->alt_name = f->image.alt;
	f->alt_id = (const uint8_t *)nul + 1;
	f->alt_id_len = left;
}

static struct seep_error *look_at_segments(struct symfile *f)
{
	size_t n, i;

	if (elf_getphdrnum(f->elf, &n) < 0)
		return seep_error_new(0, "%s has a damaged program header table", f->path);
	for (i = 0; i < n && f->nexec < SYMFILE_MAX_EXEC; i++) {
		GElf_Phdr ph;

		if (!gelf_getphdr(f->elf, (int)i, &ph))
			break;
		if (ph.p_type != PT_LOAD || !(ph.p_flags & PF_X) ||
		    ph.p_vaddr + ph.p_memsz < ph.p_vaddr)
			continue;
		f->exec[f->nexec].lo = ph.p_vaddr;
		f->exec[f->nexec].hi = ph.p_vaddr + ph.p_memsz;
		f->nexec++;
	}
	return NULL;
}

static struct seep_error *look_at_elf(struct symfile *f)
{
	const void *id = NULL;
	struct seep_error *err;
	GElf_Ehdr eh;
	ssize_t len;

	if (!f->elf || elf_kind(f->elf) != ELF_K_ELF || !gelf_getehdr(f->elf, &eh))
		return seep_error_new(0, "%s is not an ELF file", f->path);
	if (eh.e_type != ET_EXEC && eh.e_type != ET_DYN)
		return seep_error_new(0, "%s is neither an executable nor a shared object", f->path);
	err = look_at_segments(f);
	if (!err)
		err = look_at_sections(f);
	if (err)
		return err;
	look_at_alt(f);
	len = dwelf_elf_gnu_build_id(f->elf, &id);
	if (len > 0 && len <= SYMFILE_MAX_BUILD_ID) {
		memcpy(f->build_id, id, (size_t)len);
		f->build_id_len = (size_t)len;
	}
	return NULL;
}

/* Takes the image over. */
static struct seep_error *open_image(struct elfimage *image, const struct stat *st,
                                     const char *path, struct symfile **ret_file)
{
	struct symfile *f = calloc(1, sizeof(*f));
	struct seep_error *err;

	if (!f) {
		elfimage_release(image);
		return &seep_error_nomem;
	}
	f->image = *image;
	if (st)
		f->st = *st;
	f->path = strdup(path);
	if (!f->path) {
		err = &seep_error_nomem;
	} else {
		f->elf = elf_memory(image->base, image->size);
		err = look_at_elf(f);
	}
	if (err) {
		symfile_close(f);
		return err;
	}
	*ret_file = f;
	return NULL;
}

struct seep_error *symfile_open_fd(int fd, const char *path, struct symfile **ret_file)
{
	_cleanup_close_ int owned = fd;
	struct elfimage image;
	struct seep_error *err;
	struct stat st;

	if (fstat(owned, &st) < 0)
		return seep_error_new(errno, "cannot look at %s", path);
	err = elfimage_read(owned, &st, path, &image);
	return err ? err : open_image(&image, &st, path, ret_file);
}

struct seep_error *symfile_open_memory(const void *data, size_t size, const char *path,
                                       struct symfile **ret_file)
{
	struct elfimage image;
	struct seep_error *err = elfimage_copy(data, size, path, &image);

	return err ? err : open_image(&image, NULL, path, ret_file);
}

void symfile_close(struct symfile *f)
{
	if (!f)
		return;
	elf_end(f->elf);
	elfimage_release(&f->image);
	free(f->path);
	free(f);
}

bool symfile_is_code(const struct symfile *f, uint64_t addr)
{
	unsigned int i;

	for (i = 0; i < f->nexec; i++)
		if (addr >= f->exec[i].lo && addr < f->exec[i].hi)
			return true;
	return false;
}

const void *symfile_section(const struct symfile *f, const char *name, size_t *ret_size)
{
	Elf_Scn *scn = NULL;
	size_t shstrndx;

	if (elf_getshdrstrndx(f->elf, &shstrndx) < 0)
		return NULL;
	while ((scn = elf_nextscn(f->elf, scn))) {
		const char *found;
		GElf_Shdr shdr;
		Elf_Data *data;

		if (!gelf_getshdr(scn, &shdr) || shdr.sh_type == SHT_NOBITS)
			continue;
		found = elf_strptr(f->elf, shstrndx, shdr.sh_name);
		if (!found || strcmp(found, name) != 0)
			continue;
		data = elf_rawdata(scn, NULL);
		if (!data || !data->d_buf)
			return NULL;
		*ret_size = data->d_size;
		return data->d_buf;
	}
	return NULL;
}

/* ---- MiniDebugInfo ---------------------------------------------------- */

static bool inflate_xz(const void *in, size_t size, char **ret_data, size_t *ret_size)
{
	_cleanup_free_ char *out = NULL;
	lzma_stream s = LZMA_STREAM_INIT;
	size_t cap = 0;
	lzma_ret r;

	if (lzma_stream_decoder(&s, MAX_MINIDEBUG, 0) != LZMA_OK)
		return false;
	s.next_in = in;
	s.avail_in = size;
	do {
		if (!s.avail_out) {
			size_t more = cap ? cap * 2 : 256 << 10;
			char *bigger = more > MAX_MINIDEBUG ? NULL : realloc(out, more);

			if (!bigger) {
				lzma_end(&s);
				return false;
			}
			out = bigger;
			s.next_out = (uint8_t *)out + cap;
			s.avail_out = more - cap;
			cap = more;
		}
		r = lzma_code(&s, LZMA_FINISH);
	} while (r == LZMA_OK);
	lzma_end(&s);
	if (r != LZMA_STREAM_END)
		return false;
	*ret_size = s.total_out;
	*ret_data = TAKE(out);
	return true;
}

struct seep_error *symfile_open_minidebug(const struct symfile *f, struct symfile **ret_file)
{
	size_t packed_size, size;
	const void *packed = symfile_section(f, ".gnu_debugdata", &packed_size);
	_cleanup_free_ char *data = NULL;
	struct seep_error *err;

	*ret_file = NULL;
	if (!packed)
		return NULL;
	if (!inflate_xz(packed, packed_size, &data, &size))
		return seep_error_new(0, "%s has a damaged .gnu_debugdata section", f->path);
	err = symfile_open_memory(data, size, f->path, ret_file);
	return err ? seep_error_wrap(err, ".gnu_debugdata of %s", f->path) : NULL;
}

/* ---- warnings --------------------------------------------------------- */

static void warnings_own(struct warnings *w, char *line)
{
	size_t i;

	for (i = 0; i < w->n; i++) {
		if (!strcmp(w->list[i], line)) {
			free(line);
			return;
		}
	}
	if (w->n + 2 > w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 8;
		char **bigger = realloc(w->list, cap * sizeof(*bigger));

		if (!bigger) {
			free(line);
			return;
		}
		w->list = bigger;
		w->cap = cap;
	}
	w->list[w->n++] = line;
	w->list[w->n] = NULL;
}

void warnings_add(struct warnings *w, const char *fmt, ...)
{
	char *line = NULL, *c;
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vasprintf(&line, fmt, ap);
	va_end(ap);
	if (r < 0)
		return;
	for (c = line; *c; c++) /* paths come from the target */
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	warnings_own(w, line);
}

void warnings_move(struct warnings *to, struct warnings *from)
{
	size_t i;

	for (i = 0; i < from->n; i++)
		warnings_own(to, from->list[i]);
	free(from->list);
	*from = (struct warnings){ 0 };
}

void warnings_release(struct warnings *w)
{
	size_t i;

	for (i = 0; i < w->n; i++)
		free(w->list[i]);
	free(w->list);
	*w = (struct warnings){ 0 };
}
