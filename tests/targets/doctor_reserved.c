/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses by the terabyte: 64 TB reserved without any access, as databases and runtimes do, and 4 TB of memory of which the
 * first, a middle and the last pages are used.  A block hangs on the very last word.
 */
#include "doctor_truth.h"

#include <sys/mman.h>

#define TIB (1ull << 40)

static char *map(uint64_t size, int access)
{
	char *p = mmap(NULL, size, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		_exit(1);
	return p;
}

int main(void)
{
	char *sparse, *block;

	map(64 * TIB, PROT_NONE);
	sparse = map(4 * TIB, PROT_READ | PROT_WRITE);
	memset(sparse, 1, 16 * MIB);
	memset(sparse + 2 * TIB, 1, 16 * MIB);
	memset(sparse + 4 * TIB - 16 * MIB, 1, 16 * MIB);
	block = malloc(3 * MIB / 100);
	memcpy(sparse + 4 * TIB - sizeof(block), &block, sizeof(block));
	block = NULL;
	do
		doctor_say("anonymous-mappings",
		           (struct doctor_truth[]){ { "anonymous", 48 * MIB }, { NULL, 0 } });
	while (doctor_wait());
	return 0;
}
