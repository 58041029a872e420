/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image over a child that waits and does not run: mappings from /proc, bytes by process_vm_readv(), residency from
 * pagemap, threads' thread pointers through ptrace.  For the heap's tests, which need nothing else and must not
 * depend on how src/proc stops processes.
 */
#ifndef TESTS_HEAP_LIVE_IMAGE_H
#define TESTS_HEAP_LIVE_IMAGE_H

#include "proc/image.h"

struct image *live_image_new(pid_t pid); /* NULL: cannot look into it; image_free() lets it go on */
/* Pages read that were not resident before: must stay 0 where nothing was swapped. */
uint64_t live_image_brought_in(const struct image *img);

#endif
