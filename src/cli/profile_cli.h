/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands that show profiles share: the words of their options, symbols, output and pictures.
 */
#ifndef SEEP_CLI_PROFILE_CLI_H
#define SEEP_CLI_PROFILE_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/group.h"
#include "cli/cli.h"

struct buf;
struct diff;
struct emit;
struct profile;
struct symbolizer;
struct view;

/* ---- words of options ---------------------------------------------------------- */

struct cli_word {
	const char *name;
	int value;
};

/* An error names the option and lists the words. */
struct seep_error *cli_find_word(const char *option, const char *name, const struct cli_word *words,
                                 size_t n, int *ret_value);
/* inuse, alloc, freed, peak, each also with -blocks; "blocks" alone is inuse-blocks. */
struct seep_error *cli_parse_measure(const char *name, struct measure *ret_measure);
/* Of threads only what is in use is known. */
struct seep_error *cli_check_by(enum group_by by, struct measure measure);
/* heap,mmap → a set of PROF_KIND_BIT */
struct seep_error *cli_parse_kinds(const char *text, unsigned int *ret_kinds);
/* 64K, or a share such as 1%; the one that is not given is left alone. */
struct seep_error *cli_parse_min(const char *text, uint64_t *ret_value, double *ret_ratio);

/* ---- symbols and output ----------------------------------------------------------- */

struct symbol_cli {
	const char *sysroot;
	bool symbols, inlines, debuginfod; /* on by default: symbol_cli_init() */
	struct cli_list debug_dirs;
};

void symbol_cli_init(struct symbol_cli *c);
#define SYMBOL_CLI_ROWS 5
size_t symbol_cli_options(struct symbol_cli *c, struct cli_option *rows);
/* Names for p's addresses, unless --no-symbols.  *ret_sym has the warnings; it may stay NULL. */
struct seep_error *symbol_cli_run(const struct symbol_cli *c, struct profile *p,
                                  struct symbolizer **ret_sym);
/* A symbolizer for a process that runs (0: none does) to be used again and again; NULL with --no-symbols. */
struct seep_error *symbol_cli_open(const struct symbol_cli *c, int pid, struct symbolizer **ret_sym);
void symbol_cli_release(struct symbol_cli *c);

/* What is shown of a profile. */
struct view_cli {
	const char *kinds; /* NULL: memory; with `by` kind, all */
	struct cli_list focus, ignore, hide;
	bool fold; /* the allocator's own frames away; on by default */
};

/* By kind the stacks of threads are of interest too, unless kinds were named. */
struct seep_error *view_cli_make(const struct view_cli *c, enum group_by by,
                                 const struct profile *p, struct view **ret_view);
void view_cli_release(struct view_cli *c);

/* Where a report goes and how it is laid out. */
struct output_cli {
	const char *path; /* NULL: standard output */
	bool json;
	uint64_t width; /* 0: the terminal's */
};

struct seep_error *output_cli_open(const struct output_cli *c, struct buf *out,
                                   struct emit **ret_emit);
/* What was emitted into `out`. */
struct seep_error *output_cli_write(const struct output_cli *c, const struct buf *out);

/* To a file, or with NULL to standard output, where a closed pipe is no error. */
struct seep_error *cli_write(const struct buf *out, const char *path);

/* ---- pictures ----------------------------------------------------------------------- */

struct picture_cli {
	const char *dot, *svg, *flame, *html; /* files */
	const char *nodefraction, *edgefraction;
	uint64_t nodecount;
	bool colorblind;
};

void picture_cli_init(struct picture_cli *c);
#define PICTURE_CLI_ROWS 8
size_t picture_cli_options(struct picture_cli *c, struct cli_option *rows);
bool picture_cli_wanted(const struct picture_cli *c);
/* Writes what was asked for.  `d` is NULL for one profile; warnings: the symbolizer's, or NULL. */
struct seep_error *picture_cli_write(const struct picture_cli *c, const struct view *v,
                                     struct diff *d, struct measure m, bool normalize, bool noise,
                                     const char *const *warnings);

#endif
