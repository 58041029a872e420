/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The symbolizer: addresses of a profile's modules → functions, files, lines.
 *
 * It works from outside the target, at report time, on any machine that has the
 * files: module path (through /proc/PID/root when the target is alive and lives
 * in other namespaces), checked against the recorded build-id; .gnu_debuglink;
 * /usr/lib/debug/.build-id; debuginfod when the user has set DEBUGINFOD_URLS;
 * perf maps (/tmp/perf-PID.map) for code that belongs to no file.  Inlined
 * functions become lines of their own.  C++ and Rust names are demangled.
 *
 * ELF and DWARF read here are hostile: everything goes through libelf/libdw and
 * is bounds-checked on top.
 */
#ifndef SEEP_SYM_SYM_H
#define SEEP_SYM_SYM_H

#include <stdbool.h>

struct profile;
struct seep_error;
struct symbolizer;

struct sym_options {
	const char *const *debug_dirs; /* NULL-terminated, searched before the standard ones; may be NULL */
	const char *sysroot;           /* put before module paths; NULL none */
	int pid;                       /* > 0: a live target, for /proc/PID/root and perf maps */
	bool no_debuginfod;
	bool no_inlines;
	bool no_demangle;
	void (*progress)(void *arg, unsigned int done, unsigned int total); /* NULL none */
	void *progress_arg;
};

struct seep_error *symbolizer_new(const struct sym_options *opts, struct symbolizer **ret_sym);
void symbolizer_free(struct symbolizer *s);

/*
 * Fills p->symbols and every frame's `symbol`.  Frames already symbolized are left alone.
 * What cannot be resolved gets a symbol with function NULL; it is no error.
 */
struct seep_error *symbolizer_run(struct symbolizer *s, struct profile *p);

/*
 * What the user should know, one line each ("libfoo.so changed since the recording (build-id
 * 12ab… then, 98fe… now): its symbols are left out"); valid until symbolizer_free().
 */
const char *const *symbolizer_warnings(const struct symbolizer *s); /* NULL-terminated */

#endif
