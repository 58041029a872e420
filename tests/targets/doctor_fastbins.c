/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 53 MiB freed into nine fastbins: the tcache takes the first seven of each size, and what is in a fastbin is not merged,
 * so nothing of it goes back.
 */
#include "doctor_truth.h"

#if __GLIBC_PREREQ(2, 33)
#define books mallinfo2
#else
#define books mallinfo
#endif
#define SIZES 9 /* chunks of 32 to 160 bytes */
#define EACH 64000

/* One after the other: a chunk of each size. */
static char *blocks[EACH][SIZES];

int main(void)
{
	uint64_t freed = 0;

	if (!mallopt(M_MXFAST, 160)) /* the most there is; 128 unless told */
		return 1;
	for (size_t i = 0; i < EACH; i++)
		for (size_t k = 0; k < SIZES; k++)
			blocks[i][k] = doctor_block(24 + 16 * k);
	for (size_t i = 0; i < EACH; i++)
		for (size_t k = 0; k < SIZES; k++) {
			freed += malloc_usable_size(blocks[i][k]) + 8;
			free(blocks[i][k]);
			blocks[i][k] = NULL;
		}
	/* malloc's own books: without fastbins (glibc 2.43 on) this is another cause. */
	doctor_say((uint64_t)books().fsmblks > freed / 2 ? "fastbins" : "heap-holes",
	           (struct doctor_truth[]){ { "cached", freed }, { NULL, 0 } });
	while (doctor_wait())
		;
	return 0;
}
