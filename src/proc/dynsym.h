/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded modules of a running process and the functions they export, read from its memory without stopping it: nothing
 * is opened, so namespaces, deleted files and memfds make no difference.
 */
#ifndef SEEP_PROC_DYNSYM_H
#define SEEP_PROC_DYNSYM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc/maps.h"

struct seep_error;

struct dynsym_module {
	const char *path; /* in dynsym.maps */
	uint64_t start, end, bias;
	uint64_t symtab, strtab, strsz, gnu_hash, hash; /* addresses; 0: none */
	bool executable;                                /* the program itself */
	bool interp;                                    /* it asks for a loader (PT_INTERP) */
};

struct dynsym {
	pid_t pid;
	struct maps maps;
	struct dynsym_module *modules; /* by address */
	size_t n;
	const struct dynsym_module *skip; /* dynsym_where() passes it over; NULL: none */
};

struct seep_error *dynsym_read(pid_t pid, struct dynsym *ret);
void dynsym_release(struct dynsym *d);
#define _cleanup_dynsym_ __attribute__((cleanup(dynsym_release)))

/* The address of a symbol that the module defines; 0: it does not. */
uint64_t dynsym_find(const struct dynsym *d, const struct dynsym_module *m, const char *name);
/* The first module that defines it, or NULL. */
const struct dynsym_module *dynsym_where(const struct dynsym *d, const char *name,
                                         uint64_t *ret_address);
bool dynsym_memory(const struct dynsym *d, uint64_t address, void *buf, size_t len);

#endif
