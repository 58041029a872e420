/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Function names by address from ELF symbol tables: what is left when there is
 * no DWARF.  Fill it with symtab_add() from one or more files of the same module,
 * then symtab_finish() once, then look up.  Names point into the files.
 */
#ifndef SEEP_SYM_SYMTAB_H
#define SEEP_SYM_SYMTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symfile;
struct symtab_entry;

struct symtab {
	struct symtab_entry *entries;
	size_t n, cap;
};

/* Adds the functions of f's .symtab and .dynsym.  False: out of memory. */
bool symtab_add(struct symtab *t, const struct symfile *f);
void symtab_finish(struct symtab *t);
const char *symtab_find(const struct symtab *t, uint64_t addr); /* NULL unknown */
void symtab_release(struct symtab *t);

#endif
