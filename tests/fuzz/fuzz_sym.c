/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF and DWARF of unknown origin through the symbolizer's module opener.
 *
 * The input is an ELF file, put into a memfd so that it takes the way of a real file: opened,
 * its symbol tables, its MiniDebugInfo and its DWARF read, and a spread of addresses of its code
 * looked up.  Two bytes at the end of the input move the addresses.
 */
#include "base/error.h"
#include "sym/lines.h"
#include "sym/names.h"
#include "sym/symfile.h"
#include "sym/symtab.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define QUERIES 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up(struct symfile *f, uint64_t shift)
{
	struct lines_query q[QUERIES] = { 0 };
	struct warnings warn = { 0 };
	struct symfile *mini = NULL;
	struct lines *lines = NULL;
	struct symtab symtab = { 0 };
	struct names names = { 0 };
	size_t i;

	for (i = 0; i < QUERIES; i++)
		q[i].addr = f->nexec ? f->exec[0].lo + shift +
		                               i * ((f->exec[0].hi - f->exec[0].lo) / QUERIES)
		                     : i;
	for (i = 1; i < QUERIES; i++) /* the sum may wrap; the look-up wants order */
		if (q[i].addr < q[i - 1].addr)
			q[i].addr = q[i - 1].addr;
	seep_error_free(lines_open(f, NULL, &names, &warn, &lines));
	if (lines)
		seep_error_free(lines_resolve(lines, q, QUERIES, NULL, NULL));
	lines_close(lines);
	seep_error_free(symfile_open_minidebug(f, &mini));
	if (symtab_add(&symtab, f) && (!mini || symtab_add(&symtab, mini)))
		symtab_finish(&symtab);
	for (i = 0; i < QUERIES; i++)
		names_function(&names, symtab_find(&symtab, q[i].addr));
	symtab_release(&symtab);
	names_release(&names);
	warnings_release(&warn);
	symfile_close(mini);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);
	struct seep_error *err;
	struct symfile *f;
	uint64_t shift = size >= 2 ? (uint64_t)(data[size - 1] | data[size - 2] << 8) : 0;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	err = symfile_open_fd(fd, "fuzzed", &f);
	if (err) {
		seep_error_free(err);
		return 0;
	}
	look_up(f, shift);
	symfile_close(f);
	return 0;
}
