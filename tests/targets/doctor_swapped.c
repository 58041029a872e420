/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 96 MiB freed under a block in use, and then paged out: it is not resident, but the swap holds it.
 *
 * The class is what of it is still resident, swap_free what the kernel says was swapped of it.
 */
#include "doctor_truth.h"

#include <fcntl.h>
#include <sys/mman.h>

#define N 24576

static char *blocks[N], *last;

/* Pages of [from, to) that are in swap (bit 62) or resident (bit 63), by pagemap. */
static uint64_t count(const char *from, const char *to, int bit)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t pages = 0;

	if (fd < 0)
		_exit(1);
	for (const char *p = from; p < to; p += PAGE) {
		uint64_t entry;

		if (pread(fd, &entry, sizeof(entry),
		          (off_t)((uintptr_t)p / PAGE * sizeof(entry))) != sizeof(entry))
			_exit(1);
		pages += entry >> bit & 1;
	}
	close(fd);
	return pages * PAGE;
}

int main(void)
{
	char *from, *to;

	for (size_t i = 0; i < N; i++)
		blocks[i] = doctor_block(4000);
	last = doctor_block(4000);
	from = blocks[0] - 16 + 48;
	for (size_t i = 0; i < N; i++)
		free(blocks[i]);
	from += (PAGE - (uintptr_t)from % PAGE) % PAGE;
	to = from + doctor_pages_between(blocks[0], last);
	if (madvise(from, (size_t)(to - from), MADV_PAGEOUT))
		return 1;
	doctor_say("free-swapped", (struct doctor_truth[]){ { "free_bins", count(from, to, 63) },
	                                                    { "swap_free", count(from, to, 62) },
	                                                    { NULL, 0 } });
	while (doctor_wait())
		;
	return last[0] == 0;
}
