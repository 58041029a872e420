/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointers are behind the word that says how long the rest of the block is. */
#include "leaktruth.h"

static char *payloads[4];

NOINLINE static void make_payload(int i, size_t length)
{
	uint64_t *p = leak_new(length + 8);

	p[0] = length;
	payloads[i] = (char *)(p + 1);
	LEAK(p, length + 8, REACHABLE);
	LEAK_HEURISTIC(1, p, length + 8);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 4; i++)
		make_payload(i, 64 + 16 * (size_t)i);
	ESCAPE(payloads);
	leak_ready("check_heuristic_length64", argc, argv);
}
