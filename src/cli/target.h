/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which process a user means: a pid, or a name that only one process has.
 */
#ifndef SEEP_CLI_TARGET_H
#define SEEP_CLI_TARGET_H

#include <sys/types.h>

struct seep_error;

/*
 * By number, by the name the kernel has for the process (comm), or by the file name of its
 * executable.  Not seep itself.  Errors say which processes have the name when it is not unique.
 */
struct seep_error *target_find(const char *what, pid_t *ret_pid);

#endif
