/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF modules of an image, found from its own memory: nothing is opened, so deleted files, memfds,
 * other mount namespaces and the vdso are all the same.
 */
#ifndef SEEP_PROC_MODULES_H
#define SEEP_PROC_MODULES_H

#include <elf.h>

#include "proc/image.h"

/*
 * Fills img->modules from img->maps and img->at_phdr.  The array and each path are malloc'ed;
 * modules_free() releases them.
 */
struct seep_error *modules_find(struct image *img);
void modules_free(struct image_module *modules, size_t n);

/* An ELF header this program can use: 64-bit, little-endian, with program headers of the usual size. */
bool modules_ehdr_ok(const Elf64_Ehdr *eh);
/* The GNU build-id among notes; returns its length (at most 20 are copied), 0: none. */
uint8_t modules_build_id(const void *notes, size_t len, uint64_t align, uint8_t ret[20]);

#endif
