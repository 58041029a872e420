/* SPDX-License-Identifier: Apache-2.0 */
/* 48 MiB in blocks of 1000 bytes, two of three forgotten: a leak beside what is in use. */
#include "doctor_truth.h"

#define N 48000

static void **kept;

int main(void)
{
	uint64_t lost = 0, held = 0;

	kept = calloc(N, sizeof(*kept));
	if (!kept)
		return 1;
	for (size_t i = 0; i < N; i++) {
		void *p = doctor_block(1000);

		if (i % 3) {
			lost += malloc_usable_size(p);
		} else {
			kept[i] = p;
			held += malloc_usable_size(p);
		}
	}
	doctor_say("leak", (struct doctor_truth[]){
				   { "leaked", lost }, { "reachable", held }, { NULL, 0 } });
	while (doctor_wait())
		;
	return 0;
}
