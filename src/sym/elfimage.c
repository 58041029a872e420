/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF bytes that libelf and libdw can do no harm with.
 *
 * libdw checks most offsets, but it reads strings and some fields past the end of a
 * section that a hostile file has cut short (a fuzzer finds that in seconds), and it opens
 * files that the DWARF names.  seep may run as root over anybody's program.  So libdw never
 * gets a file, only this picture of one:
 *
 *	[ the file, as mapped or read ][ sections we inflated ][ 64 KiB of zeros ]
 *	  ^ section headers patched                              ^ every string ends here
 *
 *  - Sections lie inside one allocation that ends in zeros, so that reading past a section
 *    reads other bytes of the same file or the zeros, and is harmless.
 *  - Compressed sections are inflated by us, behind the file, and become plain ones; libdw
 *    would put them in buffers of exactly their size.  Only sections that we use are
 *    inflated.  The old .zdebug_* form is hidden.
 *  - .gnu_debugaltlink is taken out and handed to our own search, so that libdw opens nothing.
 *  - The file is mapped only when it belongs to root or to us and nobody else may write to
 *    it; any other could be truncated while we read it, which is SIGBUS, so it is copied.
 */
#include "sym/elfimage.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define MAX_FILE (UINT64_C(32) << 30)
#define MAX_COPIED (UINT64_C(4) << 30)
#define MAX_INFLATED (UINT64_C(16) << 30) /* all sections together */
#define MAX_RATIO 1032                    /* zlib cannot pack better */
#define MAX_RATIO_ZSTD \
	(UINT64_C(1) << 17) /* blocks of one byte repeated: 128 KiB in three bytes and some */
#ifndef ELFCOMPRESS_ZSTD
#define ELFCOMPRESS_ZSTD 2
#endif

static bool safe_to_map(const struct stat *st)
{
	return (st->st_uid == 0 || st->st_uid == geteuid()) && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

/* ---- memory ----------------------------------------------------------- */

static size_t round_to_page(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (n + page - 1) & ~(page - 1);
}

static struct seep_error *reserve(struct elfimage *image, size_t size)
{
	size_t mapped = round_to_page(size) + ELFIMAGE_PAD;
	void *base = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
	                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return &seep_error_nomem;
	image->base = base;
	image->size = size;
	image->mapped = mapped;
	return NULL;
}

void elfimage_release(struct elfimage *image)
{
	if (image->base)
		munmap(image->base, image->mapped);
	*image = (struct elfimage){ 0 };
}

/* Where the bytes come from: an open file, or memory. */
struct source {
	int fd; /* -1: memory */
	bool map;
	const void *data;
	size_t size;
	const char *path;
};

/* The source's bytes, with room for `extra` more behind them. */
static struct seep_error *load(const struct source *from, size_t extra, struct elfimage *image)
{
	struct seep_error *err = reserve(image, from->size + extra);
	size_t got = 0;
	ssize_t n;

	if (err)
		return err;
	if (from->fd < 0) {
		if (from->data)
			memcpy(image->base, from->data, from->size);
		return NULL;
	}
	if (from->map && mmap(image->base, from->size, PROT_READ | PROT_WRITE,
	                      MAP_PRIVATE | MAP_FIXED, from->fd, 0) != MAP_FAILED)
		return NULL;
	while (got < from->size) {
		n = pread(from->fd, image->base + got, from->size - got, (off_t)got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			elfimage_release(image);
			return seep_error_new(errno, "cannot read %s", from->path);
		}
		if (n == 0)
			break; /* it became shorter: the rest is zero */
		got += (size_t)n;
	}
	return NULL;
}

/* ---- section headers -------------------------------------------------- */

/* The sections whose content the symbolizer uses. */
static bool is_used(const char *name)
{
	static const char *const used[] = { "info",     "abbrev",      "line", "str",
		                            "line_str", "str_offsets", "addr", "ranges",
		                            "rnglists", "types" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(used); i++)
		if (!strncmp(name, ".debug_", 7) && !strcmp(name + 7, used[i]))
			return true;
	return false;
}

/* Stores what is changed in a header into the image. */
static void put_header(struct elfimage *image, const GElf_Ehdr *eh, size_t index,
                       const GElf_Shdr *sh)
{
	size_t at = eh->e_shoff + index * eh->e_shentsize;
	Elf64_Shdr wide;
	Elf32_Shdr narrow;

	if (eh->e_ident[EI_CLASS] == ELFCLASS64) {
		if (at > image->size || image->size - at < sizeof(wide))
			return;
		memcpy(&wide, image->base + at, sizeof(wide));
		wide.sh_type = sh->sh_type;
		wide.sh_flags = sh->sh_flags;
		wide.sh_offset = sh->sh_offset;
		wide.sh_size = sh->sh_size;
		memcpy(image->base + at, &wide, sizeof(wide));
	} else {
		if (at > image->size || image->size - at < sizeof(narrow))
			return;
		memcpy(&narrow, image->base + at, sizeof(narrow));
		narrow.sh_type = sh->sh_type;
		narrow.sh_flags = (Elf32_Word)sh->sh_flags;
		narrow.sh_offset = (Elf32_Off)sh->sh_offset;
		narrow.sh_size = (Elf32_Word)sh->sh_size;
		memcpy(image->base + at, &narrow, sizeof(narrow));
	}
}

static bool is_inside(const struct elfimage *image, const GElf_Shdr *sh)
{
	return sh->sh_offset <= image->size && sh->sh_size <= image->size - sh->sh_offset;
}

/* Can and should we inflate this one? */
static bool wants_inflating(Elf_Scn *scn, const struct elfimage *image, const GElf_Shdr *sh,
                            const char *name, GElf_Chdr *chdr)
{
	uint64_t ratio;

	if (!is_used(name) || !is_inside(image, sh) || !gelf_getchdr(scn, chdr))
		return false;
	ratio = chdr->ch_type == ELFCOMPRESS_ZLIB   ? MAX_RATIO
	        : chdr->ch_type == ELFCOMPRESS_ZSTD ? MAX_RATIO_ZSTD
	                                            : 0;
	return ratio && chdr->ch_size / ratio <= sh->sh_size;
}

/* Exactly `size` bytes, or it is damaged. */
static bool unpack(uint32_t type, void *out, size_t size, const void *in, size_t packed)
{
	uLongf len = size;

	if (type == ELFCOMPRESS_ZSTD)
		return ZSTD_decompress(out, size, in, packed) == size;
	return uncompress(out, &len, in, packed) == Z_OK && len == size;
}

static void inflate_to(struct elfimage *image, size_t at, const GElf_Chdr *chdr, GElf_Shdr *sh,
                       int class)
{
	size_t head = class == ELFCLASS64 ? sizeof(Elf64_Chdr) : sizeof(Elf32_Chdr);

	if (sh->sh_size < head || !unpack(chdr->ch_type, image->base + at, chdr->ch_size,
	                                  image->base + sh->sh_offset + head, sh->sh_size - head)) {
		sh->sh_type = SHT_NULL;
		return;
	}
	sh->sh_flags &= ~(GElf_Xword)SHF_COMPRESSED;
	sh->sh_offset = at;
	sh->sh_size = chdr->ch_size;
}

/*
 * One pass over the sections.  With ret_inflated the room for what has to be inflated is
 * counted; without, everything is done.  The file may have been made to look different to the
 * second pass (headers that overlap data), so that checks all again.
 */
static struct seep_error *visit(struct elfimage *image, Elf *elf, size_t file_size,
                                const char *path, uint64_t *ret_inflated)
{
	bool counting = ret_inflated != NULL;
	uint64_t room = counting ? MAX_INFLATED : image->size - file_size;
	uint64_t at = 0;
	Elf_Scn *scn = NULL;
	size_t strings;
	GElf_Ehdr eh;

	if (!gelf_getehdr(elf, &eh) || elf_getshdrstrndx(elf, &strings) < 0)
		return NULL; /* whoever wants sections will see */
	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr sh, old;
		GElf_Chdr chdr;
		const char *name;

		if (!gelf_getshdr(scn, &sh) || !(name = elf_strptr(elf, strings, sh.sh_name)))
			continue;
		old = sh;
		if (sh.sh_type == SHT_NOBITS)
			continue;
		if (!strncmp(name, ".zdebug_", 8)) {
			sh.sh_type = SHT_NULL;
		} else if (!strcmp(name, ".gnu_debugaltlink")) {
			if (is_inside(image, &sh) && !counting) {
				image->alt = image->base + sh.sh_offset;
				image->alt_size = sh.sh_size;
			}
			sh.sh_type = SHT_NULL;
		} else if (sh.sh_flags & SHF_COMPRESSED) {
			if (!wants_inflating(scn, image, &sh, name, &chdr)) {
				sh.sh_type = SHT_NULL;
			} else {
				if (chdr.ch_size > room - at)
					return seep_error_new(
						0, "%s has absurdly large compressed sections",
						path);
				if (!counting)
					inflate_to(image, file_size + at, &chdr, &sh,
					           eh.e_ident[EI_CLASS]);
				at += chdr.ch_size;
			}
		}
		if (!counting && memcmp(&sh, &old, sizeof(sh)) != 0)
			put_header(image, &eh, elf_ndxscn(scn), &sh);
	}
	if (counting)
		*ret_inflated = at;
	return NULL;
}

static bool is_native(const struct elfimage *image)
{
	const unsigned char *id = (const unsigned char *)image->base;
	const int data = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;

	return image->size > EI_NIDENT && !memcmp(id, ELFMAG, SELFMAG) && id[EI_DATA] == data &&
	       (id[EI_CLASS] == ELFCLASS64 || id[EI_CLASS] == ELFCLASS32);
}

static struct seep_error *make(const struct source *from, struct elfimage *ret_image)
{
	struct elfimage image = { 0 };
	struct seep_error *err;
	uint64_t inflated = 0;
	Elf *elf;

	elf_version(EV_CURRENT);
	err = load(from, 0, &image);
	if (err)
		return err;
	if (!is_native(&image)) {
		elfimage_release(&image);
		return seep_error_new(0, "%s is not an ELF file of this machine's kind", from->path);
	}
	elf = elf_memory(image.base, image.size);
	err = visit(&image, elf, from->size, from->path, &inflated);
	elf_end(elf);
	if (!err && inflated) {
		elfimage_release(&image);
		err = load(from, inflated, &image);
	}
	if (err) {
		elfimage_release(&image);
		return err;
	}
	elf = elf_memory(image.base, image.size);
	err = visit(&image, elf, from->size, from->path, NULL);
	elf_end(elf);
	if (err)
		elfimage_release(&image);
	else
		*ret_image = image;
	return err;
}

struct seep_error *elfimage_read(int fd, const struct stat *st, const char *path,
                                 struct elfimage *ret_image)
{
	bool map = safe_to_map(st);
	uint64_t size = (uint64_t)st->st_size;

	if (!S_ISREG(st->st_mode) || size > (map ? MAX_FILE : MAX_COPIED))
		return seep_error_new(0, "%s is not a regular file of sensible size", path);
	return make(&(struct source){ .fd = fd, .map = map, .size = size, .path = path }, ret_image);
}

struct seep_error *elfimage_copy(const void *data, size_t size, const char *path,
                                 struct elfimage *ret_image)
{
	return make(&(struct source){ .fd = -1, .data = data, .size = size, .path = path },
	            ret_image);
}
