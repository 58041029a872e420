/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden files: what a report or a picture looked like when somebody last looked at it.  They are in SEEP_GOLDEN_DIR; with
 * SEEP_GOLDEN_WRITE=1 in the environment they are written anew: look at the difference before committing.
 */
#ifndef SEEP_TESTS_GOLDEN_H
#define SEEP_TESTS_GOLDEN_H

#include <stdbool.h>

/* Prints what there is now and says false when it differs from the file. */
bool golden_same(const char *name, const char *have);

#endif
