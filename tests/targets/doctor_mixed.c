/* SPDX-License-Identifier: Apache-2.0 */
/* Three causes at once: 48 MiB of holes, 16 MiB leaked, 12 MiB mapped. */
#include "doctor_truth.h"

#include <sys/mman.h>

#define N 12000
#define KEEP 100
#define LOST 4000

static char *blocks[N];

int main(void)
{
	uint64_t free_pages = 0, lost = 0;
	char *p;

	for (size_t i = 0; i < N; i++)
		blocks[i] = doctor_block(4000);
	for (int i = 0; i < LOST; i++) {
		void *gone = doctor_block(4000);

		lost += malloc_usable_size(gone);
	}
	for (size_t i = 0; i < N; i++)
		if (i % KEEP)
			free(blocks[i]);
	for (size_t i = 0; i + KEEP < N; i += KEEP)
		free_pages += doctor_pages_between(blocks[i + 1], blocks[i + KEEP]);
	/* behind the last one kept: up to what was lost, which follows */
	free_pages += (uint64_t)(KEEP - 1) * 4016 / PAGE * PAGE - PAGE;
	p = mmap(NULL, 12 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return 1;
	memset(p, 1, 12 * MIB);
	doctor_say("heap-holes", (struct doctor_truth[]){ { "free_bins", free_pages },
	                                                  { "leaked", lost },
	                                                  { "anonymous", 12 * MIB },
	                                                  { NULL, 0 } });
	while (doctor_wait())
		;
	return 0;
}
