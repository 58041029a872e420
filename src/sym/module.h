/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All addresses of one module, from finding its files to finished symbols.
 * A job touches nothing outside itself, so jobs of different modules may run in
 * different threads.
 */
#ifndef SEEP_SYM_MODULE_H
#define SEEP_SYM_MODULE_H

#include "sym/symfile.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct locator;
struct perfmap;
struct prof_module;
struct prof_symbol;
struct seep_error;

struct module_job {
	const struct prof_module *module; /* NULL: addresses that belong to none */
	const uint64_t *pcs;              /* distinct, ascending */
	size_t n;
	size_t nframes;              /* frames behind them, for judging what matters */
	struct prof_symbol *symbols; /* n of them, zero before; filled by module_run() */

	struct warnings warnings; /* the caller moves or releases them */
	struct seep_error *err;   /* out of memory; symbols may be half filled */
	bool is_missing;          /* neither its file nor a debug file is here */
	bool is_unverified;       /* nothing recorded to check the file against */
	bool has_no_lines;        /* file found, no DWARF anywhere */
};

/* `done` may be NULL; it is called now and then with the number of addresses finished since. */
void module_run(struct module_job *job, const struct locator *loc, const struct perfmap *perf,
                void (*done)(void *arg, size_t n), void *done_arg);

#endif
