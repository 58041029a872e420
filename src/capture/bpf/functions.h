/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions by which a program gets and gives back memory, wherever they are: in libc, in an
 * allocator's library, or in the executable.
 */
#ifndef SEEP_CAPTURE_BPF_FUNCTIONS_H
#define SEEP_CAPTURE_BPF_FUNCTIONS_H

#include "capture/bpf/space.h"

/* How arguments and result are to be read. */
enum function_shape {
	SHAPE_SIZE1, /* p = f(size, ...) */
	SHAPE_SIZE2, /* p = f(alignment, size) */
	SHAPE_CALLOC,
	SHAPE_POSIX_MEMALIGN,
	SHAPE_REALLOC, /* p = f(old, size, ...) */
	SHAPE_REALLOCARRAY,
	SHAPE_FREE, /* f(p, ...) */
	SHAPE_MMAP,
	SHAPE_MUNMAP,
	SHAPE_MREMAP,
	SHAPE_LOADER, /* called by the loader when a library came or went */
	SHAPE_NSHAPES
};

struct function {
	struct space_module *module;
	uint64_t offset; /* in the module's file */
	enum function_shape shape;
	char name[48];
};

struct functions {
	struct function *items; /* no two with one offset of one file */
	size_t n;
	struct space_module *allocator; /* whose malloc the program most likely uses; NULL: none was found */
	size_t nallocators;
};

/* Looks through all modules. */
struct seep_error *functions_find(struct space *s, struct functions *ret_functions);
void functions_release(struct functions *f);

#endif
