/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers of the symbolizer's tests: small profiles, files of the built targets, a directory
 * of the test's own.  Every failure stops the test.
 */
#ifndef SEEP_TEST_SYMTEST_H
#define SEEP_TEST_SYMTEST_H

#include "profile/profile.h"
#include "sym/sym.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* needs those above */
#include <cmocka.h>

/* Set by symtest_init() from the arguments TARGETDIR SOURCEDIR [clang] [rust]. */
extern const char *target_dir, *source_dir;
extern bool have_clang, have_rust;
void symtest_init(int argc, char **argv);

/* cmocka set-up and tear-down: a fresh directory, removed again; no descriptor may be left open. */
int symtest_setup(void **state);
int symtest_teardown(void **state);

/* Paths; valid until the end of the test. */
const char *target(const char *name);
const char *in_dir(const char *name); /* in the test's own directory */

void copy_file(const char *from, const char *to);
void write_file(const char *path, const void *data, size_t size);
void *read_file(const char *path, size_t *ret_size); /* free() it */

uint64_t mark_of(const char *path, const char *symbol); /* a symbol's value in an unstripped file */
uint32_t line_of(const char *source, const char *what); /* of the comment "line of WHAT" */

/* A profile of one module; its build-id and file times are those of `identity`, none when NULL. */
struct profile *profile_of(const char *path, const char *identity, uint64_t bias);
void add_frame(struct profile *p, uint64_t pc, uint32_t module);

/* Runs; *ret_sym (may be NULL: freed) for looking at warnings. */
void symbolize(struct profile *p, const struct sym_options *opts, struct symbolizer **ret_sym);
const struct prof_symbol *symbol_of(const struct profile *p, size_t frame);
bool warned(const struct symbolizer *s, const char *text); /* some warning contains it */
size_t count_warnings(const struct symbolizer *s);

/* The three lines of targets/inlined.c at frame 1. */
void expect_chain(const struct profile *p);

#endif
