/* SPDX-License-Identifier: Apache-2.0 */
/*
 * debuginfod: debug files over the network, only when the user asked for it by
 * setting DEBUGINFOD_URLS.  libdebuginfod is loaded at that moment, so that seep
 * neither needs it nor pays for libcurl's start-up otherwise.
 */
#ifndef SEEP_SYM_DEBUGINFOD_H
#define SEEP_SYM_DEBUGINFOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct warnings;

/*
 * The debug file of a build-id as an open descriptor, or -1.  Says in a warning when the
 * library is missing or a server cannot be reached; "not there" is silent.
 */
int debuginfod_fetch(const uint8_t *id, size_t len, struct warnings *warn);

/* Has the user asked for it? */
bool debuginfod_wanted(void);

#endif
