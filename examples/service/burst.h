/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A burst of work: many threads allocate a lot and free nearly all of it.  What stays is little, but it
 * is scattered, and so the allocator cannot give the pages between back: memory is held, not leaked.
 */
#ifndef SERVICE_BURST_H
#define SERVICE_BURST_H

#include <stddef.h>

struct burst_result {
	size_t allocated, kept; /* bytes */
	unsigned int threads;
};

struct burst_result burst_run(void); /* frees what the last burst kept first */
void burst_clear(void);

#endif
