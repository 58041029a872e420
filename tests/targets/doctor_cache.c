/* SPDX-License-Identifier: Apache-2.0 */
/* A cache: a table that holds everything, 32 MiB more of it at each line. */
#include "doctor_truth.h"

#define N 8192

static void **table;

int main(void)
{
	size_t n = 0;
	uint64_t held = 0;

	table = doctor_block(64 * N * sizeof(*table));
	do {
		for (size_t i = 0; i < N && n < 64 * N; i++) {
			table[n] = doctor_block(4000);
			held += malloc_usable_size(table[n++]);
		}
		doctor_say("reachable-growth",
		           (struct doctor_truth[]){ { "reachable", held },
		                                    { "mapped_reachable", malloc_usable_size(table) },
		                                    { NULL, 0 } });
	} while (doctor_wait());
	return 0;
}
