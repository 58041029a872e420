/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 64 MiB, of which one block in a hundred stays: the rest is whole free pages between blocks in use.
 *
 * With RAISED, a large block was freed first: then mmap_threshold is high and free chunks are large, but none of these was
 * a large block, and the cause is the same.
 */
#include "doctor_truth.h"

#define N 16000
#define KEEP 100

static char *blocks[N];

int main(void)
{
	uint64_t free_pages = 0, held = 0;

#ifdef RAISED
	free(doctor_block(31 * MIB));
#endif
	for (size_t i = 0; i < N; i++)
		blocks[i] = doctor_block(4000);
	for (size_t i = 0; i < N; i++)
		if (i % KEEP)
			free(blocks[i]);
	for (size_t i = 0; i < N; i += KEEP) {
		held += malloc_usable_size(blocks[i]);
		if (i + KEEP < N)
			free_pages += doctor_pages_between(blocks[i + 1], blocks[i + KEEP]);
	}
	doctor_say("heap-holes", (struct doctor_truth[]){ { "free_bins", free_pages },
	                                                  { "reachable", held },
	                                                  { NULL, 0 } });
	while (doctor_wait())
		;
	return 0;
}
