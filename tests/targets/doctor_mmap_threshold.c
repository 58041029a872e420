/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Freeing one block of 31 MiB raises mmap_threshold, so that blocks of 256 KiB come from the heap from then on; freed, they stay
 * there, each between two small ones.  With the first threshold each would have been a mapping, and gone.
 */
#include "doctor_truth.h"

#define N 200
#define LARGE (256 * 1024)

static char *large[N], *small[N];

int main(void)
{
	uint64_t free_pages = 0;

	free(doctor_block(31 * MIB));
	for (size_t i = 0; i < N; i++) {
		large[i] = doctor_block(LARGE);
		small[i] = doctor_block(1000);
	}
	for (size_t i = 0; i < N; i++) {
		free_pages += doctor_pages_between(large[i], small[i]);
		free(large[i]);
	}
	doctor_say("mmap-threshold",
	           (struct doctor_truth[]){ { "free_bins", free_pages }, { NULL, 0 } });
	while (doctor_wait())
		;
	return 0;
}
