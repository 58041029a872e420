/* SPDX-License-Identifier: Apache-2.0 */
/* As heuristic_stdstring and heuristic_length64, with sizes that malloc rounds up: known only as usable sizes. */
#include "leaktruth.h"

struct rep {
	size_t length, capacity;
	long references;
};

static char *strings[16], *payloads[16];

NOINLINE static void make_string(int i, size_t capacity)
{
	size_t size = sizeof(struct rep) + capacity + 1;
	struct rep *r = leak_new(size);

	r->capacity = r->length = capacity;
	memset(r + 1, 'a', r->length);
	strings[i] = (char *)(r + 1);
	LEAK(r, size, REACHABLE);
	LEAK_HEURISTIC(0, r, size);
}

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
	for (int i = 0; i < 16; i++) {
		make_string(i, 30 + (size_t)i);
		make_payload(i, 60 + (size_t)i);
	}
	ESCAPE(strings);
	ESCAPE(payloads);
	leak_ready("check_heuristic_rounded", argc, argv);
}
