/* SPDX-License-Identifier: Apache-2.0 */
/* 64 MiB freed, and one block in use above them: malloc returns only what lies at the end. */
#include "doctor_truth.h"

#define N 16384

static char *blocks[N], *last;

int main(void)
{
	for (size_t i = 0; i < N; i++)
		blocks[i] = doctor_block(4000);
	last = doctor_block(4000);
	for (size_t i = 0; i < N; i++)
		free(blocks[i]);
	doctor_say("pinned-top",
	           (struct doctor_truth[]){ { "free_bins", doctor_pages_between(blocks[0], last) },
	                                    { NULL, 0 } });
	while (doctor_wait())
		;
	return last[0] == 0;
}
