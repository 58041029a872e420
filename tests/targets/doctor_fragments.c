/* SPDX-License-Identifier: Apache-2.0 */
/* Small blocks, of which one stays on each page: everything is free and nothing can be returned. */
#include "doctor_truth.h"

#define N 300000
#define KEEP 16

static char *blocks[N];

int main(void)
{
	uint64_t held = 0, freed = 0;

	for (size_t i = 0; i < N; i++)
		blocks[i] = doctor_block(200);
	for (size_t i = 0; i < N; i++) {
		if (i % KEEP) {
			freed += malloc_usable_size(blocks[i]) + 8;
			free(blocks[i]);
			blocks[i] = NULL;
		} else {
			held += malloc_usable_size(blocks[i]);
		}
	}
	doctor_say("fragmentation", (struct doctor_truth[]){ { "pinned", freed },
	                                                     { "reachable", held },
	                                                     { NULL, 0 } });
	while (doctor_wait())
		;
	return 0;
}
