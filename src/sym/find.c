/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One name, looked for in both symbol tables of a file.  No index is made: it is asked once for a file.
 */
#include "sym/find.h"

#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "sym/symfile.h"

static bool find_in_section(const struct symfile *f, Elf_Scn *scn, const GElf_Shdr *shdr,
                            const char *name, uint64_t *ret_vaddr)
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
		if (found && !strcmp(found, name) && symfile_is_code(f, sym.st_value)) {
			*ret_vaddr = sym.st_value;
			return true;
		}
	}
	return false;
}

bool sym_find_function(const char *path, pid_t pid, const char *name, uint64_t *ret_vaddr)
{
	_cleanup_buf_ struct buf seen = { 0 };
	struct symfile *f = NULL;
	struct seep_error *err;
	Elf_Scn *scn = NULL;
	bool found = false;
	int fd;

	if (pid)
		buf_printf(&seen, "/proc/%d/root", (int)pid);
	buf_puts(&seen, path);
	fd = seen.failed ? -1 : open(seen.data, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	err = symfile_open_fd(fd, path, &f);
	if (err) {
		seep_error_free(err);
		return false;
	}
	while (!found && (scn = elf_nextscn(f->elf, scn))) {
		GElf_Shdr shdr;

		if (!gelf_getshdr(scn, &shdr))
			break;
		if (shdr.sh_type == SHT_SYMTAB || shdr.sh_type == SHT_DYNSYM)
			found = find_in_section(f, scn, &shdr, name, ret_vaddr);
	}
	symfile_close(f);
	return found;
}
