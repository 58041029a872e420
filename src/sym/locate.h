/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the files are: a module of the profile → its ELF file, and an ELF file →
 * its separate debug file.  docs/SYMBOLS.md gives the search order.
 */
#ifndef SEEP_SYM_LOCATE_H
#define SEEP_SYM_LOCATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct prof_module;
struct seep_error;
struct sym_options;
struct symfile;
struct warnings;

struct locator {
	const struct sym_options *opts;
	int root_fd; /* the sysroot, or a live target's root; -1 none */
	int proc_fd; /* /proc/PID of a live target; -1 none */
};

void locator_init(struct locator *loc, const struct sym_options *opts);
void locator_release(struct locator *loc);

/* Does the module's path name a file at all ("[vdso]", "", "//anon" do not)? */
bool locate_is_file(const char *path);

/* Length of the recorded build-id; 0 when there is none or the profile is damaged. */
size_t locate_id_len(const struct prof_module *m);

/*
 * The module's own file, only when it is the one that was recorded; NULL otherwise, with a
 * warning where the user can do something.  *ret_unverified: nothing was recorded to check it
 * against.
 */
struct symfile *locate_module(const struct locator *loc, const struct prof_module *m,
                              struct warnings *warn, bool *ret_unverified);

/*
 * The debug file of build-id `id` (may be empty), of `main` (may be NULL when the module's own
 * file is gone) at `path`.  NULL: none found.
 */
struct symfile *locate_debug(const struct locator *loc, const char *path, const struct symfile *main,
                             const uint8_t *id, size_t id_len, struct warnings *warn);

/* The supplementary (dwz) file that `debug` names, of the right build-id; NULL: not found. */
struct symfile *locate_alt(const struct locator *loc, const struct symfile *debug);

/* A file of /proc/PID; NULL when it cannot be opened. */
FILE *locate_stream(int proc_fd, const char *name);

/*
 * A regular file for reading: in the target's root or sysroot when `in_root`, else ours.
 * A descriptor or -errno; never blocks on a FIFO or device.
 */
int locate_open(const struct locator *loc, const char *path, bool in_root);

#endif
