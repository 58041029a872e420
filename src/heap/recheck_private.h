/* SPDX-License-Identifier: Apache-2.0 */
/* The two halves of recheck.h: chunks, and threads. */
#ifndef SEEP_HEAP_RECHECK_PRIVATE_H
#define SEEP_HEAP_RECHECK_PRIVATE_H

#include "heap/recheck.h"

/* glibc: can a thread be in the middle of malloc without holding a lock? */
enum recheck_refusal recheck_threads(const struct image *img, const struct heap_range *code,
                                     pid_t *ret_tid);
/* Can any thread be inside this code, locks or no locks? */
enum recheck_refusal recheck_every_thread(const struct image *img, const struct heap_range *code,
                                          pid_t *ret_tid);

#endif
