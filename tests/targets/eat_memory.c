/* SPDX-License-Identifier: Apache-2.0 */
/* eat_memory [MEGABYTES]: allocates and touches memory until it has that much, or for ever, and so until it is killed. */
#include "truth.h"

NOINLINE static void *hoard_memory(size_t size)
{
	char *p = malloc(size);

	CHECK(p);
	memset(p, 1, size);
	ESCAPE(p);
	return p;
}

NOINLINE static void *modest(void)
{
	void *p = malloc(100);

	ESCAPE(p);
	return p;
}

int main(int argc, char **argv)
{
	unsigned long limit = argc > 1 ? strtoul(argv[1], NULL, 0) : 0;

	for (unsigned long i = 0; !limit || i < limit * 16; i++) {
		ESCAPE(hoard_memory(65536));
		ESCAPE(modest());
	}
	return 0;
}
