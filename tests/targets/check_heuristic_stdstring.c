/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointers are to the characters of strings as libstdc++ once laid them out. */
#include "leaktruth.h"

struct rep {
	size_t length, capacity;
	long references;
};

static char *strings[4];

NOINLINE static void make_string(int i, size_t capacity)
{
	size_t size = sizeof(struct rep) + capacity + 1;
	struct rep *r = leak_new(size);

	r->length = capacity / 2;
	r->capacity = capacity;
	memset(r + 1, 'a', r->length);
	strings[i] = (char *)(r + 1);
	LEAK(r, size, REACHABLE);
	LEAK_HEURISTIC(0, r, size);
}

int main(int argc, char **argv)
{
	/* Sizes that malloc does not round: what is usable is what was asked for. */
	for (int i = 0; i < 4; i++)
		make_string(i, 31 + 16 * (size_t)i);
	ESCAPE(strings);
	leak_ready("check_heuristic_stdstring", argc, argv);
}
