/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the formats share. */
#ifndef SEEP_TESTS_FORMAT_HELPERS_H
#define SEEP_TESTS_FORMAT_HELPERS_H

#include "format/format.h"
#include "profile/profile.h"

#include "base/buf.h"

struct file {
	char *data;
	size_t len;
};

/* A file of tests/data/fuzz/format; fails the test when it is not there. */
struct file sample(const char *name);
void file_free(struct file *f);

/* Reads it; an error fails the test.  Warnings are counted in *ret_warnings (may be NULL). */
struct profile *read_sample(const char *name, size_t *ret_warnings);
struct profile *read_bytes(const void *data, size_t len, const char *name, size_t *ret_warnings);

/* The site with these functions, leaf first ("a<b<main"; "?" unknown, "" no stack); fails when there is none. */
const struct prof_site *find_site(const struct profile *p, const char *stack);
/* Leaf-first names of a site, joined by '<'. */
char *stack_names(const struct profile *p, const struct prof_site *s);

#endif
