/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an ELF file in memory, made safe for libelf and libdw.
 *
 * See elfimage.c for what "safe" means.  One thread at a time.
 */
#ifndef SEEP_SYM_ELFIMAGE_H
#define SEEP_SYM_ELFIMAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct seep_error;

struct elfimage {
	char *base;    /* page-aligned; private, writable */
	size_t size;   /* what belongs to the file */
	size_t mapped; /* size and at least ELFIMAGE_PAD zero bytes behind it */
	/* .gnu_debugaltlink as it was: a name and, behind its NUL, a build-id; NULL: none */
	const char *alt;
	size_t alt_size;
};

#define ELFIMAGE_PAD 65536

/* From an open regular file (st: its fstat) or from memory; `path` is for messages. */
struct seep_error *elfimage_read(int fd, const struct stat *st, const char *path,
                                 struct elfimage *ret_image);
struct seep_error *elfimage_copy(const void *data, size_t size, const char *path,
                                 struct elfimage *ret_image);
void elfimage_release(struct elfimage *image); /* a zero image is fine */

#endif
