/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sides of a difference, from what the command was given:
 *
 *     BEFORE AFTER                 two operands
 *     --series PROFILE|DIR...      all of them, in the order of their time; a directory stands for its snapshots
 *     --series PID --snaps=DIR     the snapshots of that process, and how it is now
 *     --since 10m DIR              the newest snapshot in it, and the newest that is at least so much older
 *     --since 10m PID --snaps=DIR  how the process is now, and likewise
 */
#ifndef SEEP_CLI_DIFF_INPUT_H
#define SEEP_CLI_DIFF_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/profile_cli.h"

struct profile;
struct seep_error;
struct symbolizer;

struct diff_input_options {
	bool series, since_given;
	uint64_t since_ns;
	const char *snaps; /* a directory, or NULL */
	struct symbol_cli symbols;
};

struct diff_inputs {
	struct profile **profiles; /* in the order of time as far as that is asked for or known */
	struct symbolizer **symbolizers;
	const char **warnings; /* NULL-terminated, each once */
	size_t n, nwarnings, cap;
	uint64_t age_ns; /* with --since: how much older the first is */
};

/* Opens and symbolizes; release it in any case. */
struct seep_error *diff_inputs_open(const struct diff_input_options *o, char **names, size_t n,
                                    struct diff_inputs *ret_inputs);
void diff_inputs_release(struct diff_inputs *in);

#endif
