/* SPDX-License-Identifier: Apache-2.0 */
/* What commands that look at a profile take as operand. */
#ifndef SEEP_CLI_INPUT_H
#define SEEP_CLI_INPUT_H

#include <stddef.h>

struct profile;
struct read_options;
struct seep_error;

/*
 * Opens whatever `what` names: a file in any format of src/format, else what profile_open() takes (a ledger, a
 * snapshot, a pid, a process).  The profile has passed profile_check().  What a file lost is told on stderr, and so
 * is the progress of reading a large one when stderr is a terminal.
 */
struct seep_error *cli_open_profile(const char *command, const char *what,
                                    const struct read_options *opts, struct profile **ret_profile);

/* One profile of all that are named: several are merged. */
struct seep_error *cli_open_profiles(const char *command, char **names, size_t n,
                                     struct profile **ret_profile);

#endif
