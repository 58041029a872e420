/* SPDX-License-Identifier: Apache-2.0 */
/* What `seep run` and `seep snap` share: naming snapshots, and putting symbols into them. */
#ifndef SEEP_CLI_SNAPSHOT_NAME_H
#define SEEP_CLI_SNAPSHOT_NAME_H

#include <stdbool.h>

struct profile;
struct seep_error;

/*
 * Where p's snapshot goes.  out NULL: seep.PID.NAME.seep in the current directory, or with a number before
 * the suffix when that exists; an existing directory, or any path that ends with '/': so named in it;
 * else out itself.  malloc'ed; NULL: out of memory.
 */
char *snapshot_name(const char *out, const struct profile *p);
bool snapshot_out_is_dir(const char *out);

/* Symbolizes p, with progress on a terminal; warnings go to stderr in the command's name (NULL: nowhere). */
struct seep_error *cli_symbolize(const char *command, struct profile *p);

#endif
