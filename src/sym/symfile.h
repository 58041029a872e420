/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One opened ELF file, and the warnings that opening and reading files produces.
 *
 * A symfile is only ever a regular ELF executable, shared object or separate
 * debug file; anything else is refused with an error.  It belongs to one thread.
 */
#ifndef SEEP_SYM_SYMFILE_H
#define SEEP_SYM_SYMFILE_H

#include "sym/elfimage.h"

#include <gelf.h>
#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct seep_error;

#define SYMFILE_MAX_EXEC 16
#define SYMFILE_MAX_BUILD_ID 64

struct symfile {
	char *path; /* for messages and for finding its debug file */
	struct elfimage image;
	Elf *elf;       /* over image */
	struct stat st; /* zero when from memory */
	uint8_t build_id[SYMFILE_MAX_BUILD_ID];
	size_t build_id_len;
	struct {
		uint64_t lo, hi;
	} exec[SYMFILE_MAX_EXEC]; /* executable segments, file addresses */
	unsigned int nexec;
	const char *alt_name; /* of a supplementary file (dwz); NULL none */
	const uint8_t *alt_id;
	size_t alt_id_len;
	bool has_dwarf;  /* .debug_info with content */
	bool has_symtab; /* .symtab with content */
};

/* Takes fd over in any case, and closes it before it returns.  `path` is copied. */
struct seep_error *symfile_open_fd(int fd, const char *path, struct symfile **ret_file);

/* The same from bytes, which are copied. */
struct seep_error *symfile_open_memory(const void *data, size_t size, const char *path,
                                       struct symfile **ret_file);

/* NULL is fine. */
void symfile_close(struct symfile *f);

/* Is `addr` code of this file? */
bool symfile_is_code(const struct symfile *f, uint64_t addr);

/* The raw content of the first section of that name, NULL when absent; valid until close. */
const void *symfile_section(const struct symfile *f, const char *name, size_t *ret_size);

/*
 * The ELF file inside .gnu_debugdata (xz), which holds the .symtab of a stripped
 * binary on some distributions.  *ret_file is NULL when there is none.
 */
struct seep_error *symfile_open_minidebug(const struct symfile *f, struct symfile **ret_file);

/* Lower-case hex of a build-id; `out` needs 2 * len + 1 bytes. */
void symfile_hex(const uint8_t *id, size_t len, char *out);

/* ---- warnings ---- */

struct warnings {
	char **list; /* NULL-terminated once anything was added */
	size_t n, cap;
};

/* Adds a line unless it is there already.  Out of memory loses the line. */
void warnings_add(struct warnings *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void warnings_move(struct warnings *to, struct warnings *from); /* empties `from` */
void warnings_release(struct warnings *w);

#endif
