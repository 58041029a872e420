/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names as people see them: demangled, bounded, free of control bytes.
 *
 * A pool belongs to one module and one thread.  Raw names are keyed by their
 * address (string tables are stable while the file is open), so a name that ten
 * thousand inlined copies share is demangled once.  Everything handed out lives
 * until names_release().
 */
#ifndef SEEP_SYM_NAMES_H
#define SEEP_SYM_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#define NAMES_MAX_RAW (64u << 10)  /* longer raw names are not demangled */
#define NAMES_MAX_SHOWN (8u << 10) /* what is longer is cut and ends in "..." */

struct names_entry;
struct names_chunk;

struct names {
	bool no_demangle;
	struct names_entry *table; /* open addressing, power of two */
	size_t cap, used;
	struct names_chunk *chunks;
	size_t text; /* bytes of names handed out */
};

void names_release(struct names *n);

/* The name to show for `raw`; NULL when raw is NULL or empty, or out of memory. */
const char *names_function(struct names *n, const char *raw);

/*
 * The path to show for a DWARF file name: below `dir` when it is relative and `dir` absolute (the
 * compiler's working directory; may be NULL), with "/./" and "//" made "/".  NULL as above.  The
 * key is `raw` alone: one file name belongs to one unit.
 */
const char *names_file(struct names *n, const char *raw, const char *dir);

/* "SCOPE::NAME" (NAME alone when scope is NULL), made once for a key, which is any address. */
const char *names_scoped(struct names *n, const void *key, const char *scope, const char *name);

/* Bump allocation with the pool's lifetime, zeroed; NULL: out of memory. */
void *names_alloc(struct names *n, size_t size);

/* Is this a name only a demangler can read (C++, Rust)? */
bool names_is_mangled(const char *raw);

/*
 * Demangles one bounded name into out (NUL-terminated, cut at size - 1).  False: not a
 * mangled name, or one too deep or too long; out is then undefined.
 */
bool names_demangle(const char *raw, char *out, size_t size);

#endif
