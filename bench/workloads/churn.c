/* SPDX-License-Identifier: Apache-2.0 */
/*
 * churn [PAIRS [LIVE]]: the steady state of a program that allocates a lot.
 *
 * LIVE blocks (100,000) are filled in, then PAIRS times (2,000,000) a random one is freed and replaced by a
 * new one, of 16 to 303 bytes, from one of 256 stacks that are 8 to 24 frames deep.  Every allocation and
 * every free lands somewhere else in a heap that is larger than the caches: what a tracker adds per
 * event has nowhere to hide.  Deterministic; prints what it did as one line of JSON.
 */
#include "stacks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void *new_block(uint64_t *random, uint64_t *bytes)
{
	uint64_t r = stack_random(random);
	size_t size = 16 + (r >> 40) % 288;
	char *p = stack_malloc((unsigned int)(r & (STACKS - 1)), size);

	if (!p) {
		fputs("churn: out of memory\n", stderr);
		exit(1);
	}
	p[0] = (char)r;
	*bytes += size;
	return p;
}

int main(int argc, char **argv)
{
	unsigned long pairs = argc > 1 ? strtoul(argv[1], NULL, 0) : 2000000;
	unsigned long live = argc > 2 ? strtoul(argv[2], NULL, 0) : 100000;
	uint64_t random = 88172645463325252ull, bytes = 0;
	void **blocks;
	double start;

	if (!live || live > UINT32_MAX)
		return 2;
	blocks = calloc(live, sizeof(*blocks));
	if (!blocks)
		return 1;
	start = now();
	for (unsigned long i = 0; i < live; i++)
		blocks[i] = new_block(&random, &bytes);
	for (unsigned long i = 0; i < pairs; i++) {
		size_t victim = (uint64_t)(uint32_t)stack_random(&random) * live >> 32;

		free(blocks[victim]);
		blocks[victim] = new_block(&random, &bytes);
	}
	printf("{\"workload\": \"churn\", \"allocs\": %lu, \"frees\": %lu, \"bytes\": %" PRIu64
	       ", \"live\": %lu, \"seconds\": %.6f}\n",
	       live + pairs, pairs, bytes, live, now() - start);
	return 0;
}
