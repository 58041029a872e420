/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which functions and modules are the allocator's own, and which belong to the
 * language's runtime: tables of names, so that a report can leave out the first
 * and look past the second for the line a person would change.
 */
#ifndef SEEP_ANALYSIS_NAMES_H
#define SEEP_ANALYSIS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The plain qualified name of a demangled function, without return type, template
 * arguments and parameters: "void std::vector<int>::push_back(int&&)" gives
 * "std::vector::push_back".  Cut to size - 1 bytes.  Returns buf.
 */
char *name_plain(const char *function, char *buf, size_t size);

/* malloc and its kin, operator new, std::allocator…: the machinery of allocation itself. */
bool name_is_allocator(const char *function); /* NULL: false */
bool module_is_allocator(const char *path);   /* the tracker, libjemalloc.so… */

/* libc, libstdc++, std::…, xmalloc, PyObject_Malloc…: in the program's service, not where to look first. */
bool name_is_runtime(const char *function);
bool module_is_runtime(const char *path);
bool file_is_runtime(
	const char *path); /* a header of the system, inlined; an interpreter's allocator; NULL: false */

const char *path_base(const char *path); /* after the last slash */

#endif
