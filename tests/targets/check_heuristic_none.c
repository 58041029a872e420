/* SPDX-License-Identifier: Apache-2.0 */
/* Nearly what the heuristics look for, but not quite: possibly lost. */
#include "leaktruth.h"

static char *middles[6];

NOINLINE static uint64_t *make_possible(int i, size_t offset)
{
	uint64_t *p = leak_new(104);

	middles[i] = (char *)p + offset;
	LEAK(p, 104, POSSIBLE);
	return p;
}

int main(int argc, char **argv)
{
	uint64_t *p;

	p = make_possible(0, 24); /* a capacity that does not reach the end, by far */
	p[1] = 40;
	p = make_possible(1, 24); /* a capacity beyond the end */
	p[1] = 1000;
	p = make_possible(2, 8); /* a length of something else */
	p[0] = 50;
	p = make_possible(
		3,
		8); /* no number of elements that makes 96 bytes, nor what malloc rounds up to them */
	p[0] = 60;
	p = make_possible(4, 16); /* the right length, but the pointer is not behind it */
	p[0] = 96;
	p = make_possible(5, 48); /* words that are no vtables */
	p[0] = (uintptr_t)&middles;
	p[6] = (uintptr_t)&middles;
	p = NULL;
	ESCAPE(middles);
	ESCAPE(p);
	leak_ready("check_heuristic_none", argc, argv);
}
