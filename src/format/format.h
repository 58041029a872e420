/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File formats: one table, a row each; every row is a file of its own.  docs/FORMATS.md says what each
 * of them holds and what it loses.
 *
 * A reader turns a file into a profile (profile/profile.h), a writer a profile into bytes.  Nothing
 * here symbolizes: a profile that shall be written with names has been symbolized before; a profile
 * read from a format that carries names has its symbols filled in, one from a format that carries
 * addresses has its modules, so that src/sym can do the rest.
 *
 * Input is hostile: readers check counts against what is there and bound memory by the input's size.
 * A damaged or truncated file yields what was readable and a warning that says where it broke; only
 * when nothing was readable it is an error.  Values a format cannot hold are left 0.
 */
#ifndef SEEP_FORMAT_FORMAT_H
#define SEEP_FORMAT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct profile;
struct prof_site;
struct seep_error;
struct stream;

/* What a file of a format can hold of a profile. */
enum format_values {
	FORMAT_INUSE_BYTES = 1,
	FORMAT_INUSE_BLOCKS = 2,
	FORMAT_ALLOC_BYTES = 4,
	FORMAT_ALLOC_BLOCKS = 8,
	FORMAT_PEAK_BYTES = 16,
	FORMAT_PEAK_BLOCKS = 32,
};

#define FORMAT_PROBE_BYTES 65536

/* What a reader gets.  Made by format_read_file() and format_read_memory(). */
struct format_input {
	const char *path; /* for messages */
	struct stream *stream;
	char **warnings; /* what was lost, and where: format_warn() */
	size_t nwarnings, nsuppressed;
};

struct format_output {
	/* Formats with one value for each stack (folded, speedscope) write this one: a FORMAT_* bit;
	 * 0: bytes in use. */
	unsigned int value;
	/* Which kinds of memory (set of PROF_KIND_BIT); 0: PROF_MEMORY, heap and mappings. */
	unsigned int kinds;
};

struct format {
	const char *name;     /* "pprof" */
	const char *title;    /* "pprof protobuf (gzip)" */
	const char *suffixes; /* ".pb.gz .pprof", separated by blanks, most typical first; "" none */
	unsigned int values;  /* FORMAT_* bits */
	bool one_value;       /* a file holds one of them: format_output.value */
	bool names; /* of functions, so that what is written should have been symbolized */
	/* 0: not this format; 1..100: how sure, from the first bytes, at most FORMAT_PROBE_BYTES */
	int (*probe)(const uint8_t *head, size_t len);
	struct seep_error *(*read)(struct format_input *in,
	                           struct profile **ret_profile); /* NULL: cannot */
	struct seep_error *(*write)(const struct profile *p, const struct format_output *o,
	                            struct buf *out); /* NULL: cannot */
};

extern const struct format *const formats[]; /* ends with NULL */

const struct format *format_by_name(const char *name);
/* By the longest matching suffix of the path, among those that can be written; NULL none. */
const struct format *format_by_suffix(const char *path);
/* By content, which may be a file's beginning only; NULL none.  Also sees through gzip and zstd. */
const struct format *format_probe(const void *data, size_t len);
/* Likewise, of a regular file; NULL also when it is none or cannot be read. */
const struct format *format_probe_file(const char *path);

/*
 * Reads any file in any known format (not ledgers and snapshots: capture/capture.h has those); the
 * profile has passed profile_check().  `progress` is told bytes of the file, NULL none.  Compressed
 * files are expanded, with a bound.  *ret_warnings is a NULL-terminated array of malloc'ed strings, to be
 * freed with format_free_warnings(), or NULL when there are none; ret_warnings may be NULL.
 */
struct seep_error *format_read_file(const char *path, void (*progress)(void *, uint64_t, uint64_t),
                                    void *progress_arg, struct profile **ret_profile,
                                    char ***ret_warnings);
/* The same from memory; `path` is for messages.  `format` NULL: by content. */
struct seep_error *format_read_memory(const void *data, size_t len, const char *path,
                                      const struct format *format, struct profile **ret_profile,
                                      char ***ret_warnings);
void format_free_warnings(char **warnings);

/* Writes p, which has passed profile_check(); out is appended to. */
struct seep_error *format_write(const struct format *f, const struct profile *p,
                                const struct format_output *o, struct buf *out);

#endif
