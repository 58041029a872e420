/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function's address by its name: the other way round from the rest of src/sym.
 */
#ifndef SEEP_SYM_FIND_H
#define SEEP_SYM_FIND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct seep_error;

/*
 * Whether the ELF file at `path` (as process pid sees it; pid 0: as we do) defines a function of exactly that
 * (mangled) name, in .symtab or .dynsym; *ret_vaddr is its address in the file's own terms.  A file that
 * cannot be read defines none.
 */
bool sym_find_function(const char *path, pid_t pid, const char *name, uint64_t *ret_vaddr);

/*
 * Calls each() for every function the ELF file defines, .symtab and .dynsym; false from it ends the round.
 * fd is taken over in any case; path is for messages.  The name lives as long as the call.
 */
struct seep_error *sym_each_function(int fd, const char *path,
                                     bool (*each)(void *arg, const char *name, uint64_t vaddr),
                                     void *arg);

#endif
