/* SPDX-License-Identifier: Apache-2.0 */
/*
 * million_sites [SITES [BLOCKS [hold]]]: BLOCKS (1,000,000) blocks live at once over SITES (50,000) different
 * stacks, for the reader's speed.  Sixteen functions call each other, four bits of a number choosing the
 * next, so that each number is a stack of its own.  Ends by _exit: the ledger is read as a dead one's.  With `hold` it
 * says "ready" first, and then turns blocks over until standard input ends.
 */
#include "truth.h"

#include <poll.h>

typedef void *hop_function(unsigned int path, unsigned int left, size_t size);

static hop_function *const hops[16];

#define HOP(n)                                                                              \
	NOINLINE static void *hop_##n(unsigned int path, unsigned int left, size_t size)    \
	{                                                                                   \
		void *p = left ? hops[path & 15](path >> 4, left - 1, size) : malloc(size); \
		__asm__ volatile("# keeps hop " #n " from being folded into another"        \
		                 :                                                          \
		                 :                                                          \
		                 : "memory");                                               \
		return p;                                                                   \
	}
HOP(0)
HOP(1)
HOP(2)
HOP(3)
HOP(4)
HOP(5)
HOP(6)
HOP(7)
HOP(8)
HOP(9)
HOP(10)
HOP(11)
HOP(12)
HOP(13)
HOP(14)
HOP(15)

static hop_function *const hops[16] = { hop_0, hop_1, hop_2,  hop_3,  hop_4,  hop_5,  hop_6,  hop_7,
	                                hop_8, hop_9, hop_10, hop_11, hop_12, hop_13, hop_14, hop_15 };

/* Frees and allocates, a thousand blocks every ten milliseconds, until standard input ends. */
static void hold(char **blocks, unsigned long n, unsigned int sites)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

	puts("ready");
	fflush(stdout);
	for (unsigned long i = 0; poll(&input, 1, 10) == 0;) {
		for (unsigned int k = 0; k < 1000; k++, i++) {
			unsigned int path = (unsigned int)(i % n % sites);

			free(blocks[i % n]);
			blocks[i % n] = hop_0(path, 5 + path % 8, 16 + i % 48);
		}
	}
}

int main(int argc, char **argv)
{
	char **kept = NULL;
	unsigned int sites = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 0) : 50000;
	unsigned long blocks = argc > 2 ? strtoul(argv[2], NULL, 0) : 1000000;

	CHECK(sites && sites <= 1u << 20);
	if (argc > 3) {
		kept = calloc(blocks, sizeof(*kept));
		CHECK(kept);
	}
	for (unsigned long i = 0; i < blocks; i++) {
		unsigned int path = (unsigned int)(i % sites);
		char *p = hop_0(path, 5 + path % 8, 16 + i % 48);

		CHECK(p);
		p[0] = 1;
		if (kept)
			kept[i] = p;
	}
	if (kept)
		hold(kept, blocks, sites);
	_exit(0);
}
