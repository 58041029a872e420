/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steady [LIVE]: the churn (churn.c) for as long as somebody reads.
 *
 * Says "ready", then for each line on stdin does that many pairs (a number) of a free and an allocation, and answers
 * with the nanoseconds of CPU time they took.  What tracks it may come and go between two lines.
 */
#include "stacks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void *new_block(uint64_t *random)
{
	uint64_t r = stack_random(random);
	char *p = stack_malloc((unsigned int)(r & (STACKS - 1)), 16 + (r >> 40) % 288);

	if (!p) {
		fputs("steady: out of memory\n", stderr);
		exit(1);
	}
	p[0] = (char)r;
	return p;
}

int main(int argc, char **argv)
{
	unsigned long live = argc > 1 ? strtoul(argv[1], NULL, 0) : 20000;
	uint64_t random = 88172645463325252ull;
	char line[64];
	void **blocks;

	if (!live || live > UINT32_MAX)
		return 2;
	blocks = calloc(live, sizeof(*blocks));
	if (!blocks)
		return 1;
	for (unsigned long i = 0; i < live; i++)
		blocks[i] = new_block(&random);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		unsigned long pairs = strtoul(line, NULL, 0);
		uint64_t begin = cpu_ns();

		for (unsigned long i = 0; i < pairs; i++) {
			size_t victim = (uint64_t)(uint32_t)stack_random(&random) * live >> 32;

			free(blocks[victim]);
			blocks[victim] = new_block(&random);
		}
		printf("%" PRIu64 "\n", cpu_ns() - begin);
		fflush(stdout);
	}
	return 0;
}
