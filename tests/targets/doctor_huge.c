/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of 128 MiB in huge pages, of which one byte in 2 MiB is used: with small pages it would be 256 KiB.
 *
 * The cause is "none" where the kernel has not given huge pages: then there is nothing to be named.
 */
#include "doctor_truth.h"

#include <sys/mman.h>

#define HUGE (2 * MIB)
#define TABLE (128 * MIB)

/* AnonHugePages of the whole process. */
static uint64_t in_huge_pages(void)
{
	static char text[8192];
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	unsigned long long kb = 0;

	if (!f)
		_exit(1);
	while (fgets(text, sizeof(text), f))
		if (sscanf(text, "AnonHugePages: %llu", &kb) == 1)
			break;
	fclose(f);
	return kb * 1024;
}

int main(void)
{
	char *p = mmap(NULL, TABLE + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
	               0);
	char *table;

	if (p == MAP_FAILED)
		return 1;
	table = p + (HUGE - (uintptr_t)p % HUGE) % HUGE;
	if (madvise(table, TABLE, MADV_HUGEPAGE))
		return 1;
	for (size_t i = 0; i < TABLE; i += HUGE)
		table[i] = 1;
	doctor_say(in_huge_pages() >= TABLE ? "huge-pages" : "none",
	           (struct doctor_truth[]){ { "anonymous", TABLE }, { NULL, 0 } });
	while (doctor_wait())
		;
	return table[0] == 0;
}
