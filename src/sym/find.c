/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names looked for in both symbol tables of a file.  No index is made: it is asked once for a file.
 */
#include "sym/find.h"

#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "sym/symfile.h"

/* false: each() has had enough. */
static bool each_in_section(const struct symfile *f, Elf_Scn *scn, const GElf_Shdr *shdr,
                            bool (*each)(void *, const char *, uint64_t), void *arg)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n = data && shdr->sh_entsize ? data->d_size / shdr->sh_entsize : 0;

	for (size_t i = 1; i < n && i < INT32_MAX; i++) {
		const char *found;
		GElf_Sym sym;

		if (!gelf_getsym(data, (int)i, &sym))
			break;
		if (GELF_ST_TYPE(sym.st_info) != STT_FUNC || sym.st_shndx == SHN_UNDEF)
			continue;
		found = elf_strptr(f->elf, shdr->sh_link, sym.st_name);
		if (found && symfile_is_code(f, sym.st_value) && !each(arg, found, sym.st_value))
			return false;
	}
	return true;
}

struct seep_error *sym_each_function(int fd, const char *path,
                                     bool (*each)(void *, const char *, uint64_t), void *arg)
{
	struct symfile *f = NULL;
	struct seep_error *err = symfile_open_fd(fd, path, &f);
	Elf_Scn *scn = NULL;
	bool more = true;

	if (err)
		return err;
	while (more && (scn = elf_nextscn(f->elf, scn))) {
		GElf_Shdr shdr;

		if (!gelf_getshdr(scn, &shdr))
			break;
		if (shdr.sh_type == SHT_SYMTAB || shdr.sh_type == SHT_DYNSYM)
			more = each_in_section(f, scn, &shdr, each, arg);
	}
	symfile_close(f);
	return NULL;
}

struct wanted {
	const char *name;
	uint64_t vaddr;
	bool found;
};

static bool is_wanted(void *arg, const char *name, uint64_t vaddr)
{
	struct wanted *w = arg;

	if (strcmp(name, w->name) != 0)
		return true;
	w->vaddr = vaddr;
	w->found = true;
	return false;
}

bool sym_find_function(const char *path, pid_t pid, const char *name, uint64_t *ret_vaddr)
{
	_cleanup_buf_ struct buf seen = { 0 };
	struct wanted w = { .name = name };
	int fd;

	if (pid)
		buf_printf(&seen, "/proc/%d/root", (int)pid);
	buf_puts(&seen, path);
	fd = seen.failed ? -1 : open(seen.data, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	seep_error_free(sym_each_function(fd, path, is_wanted, &w));
	if (w.found)
		*ret_vaddr = w.vaddr;
	return w.found;
}
