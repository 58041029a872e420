/* SPDX-License-Identifier: Apache-2.0 */
/* Pointers with a tag in their top byte: decoded only when asked for (--pointer-mask=0x00ffffffffffffff). */
#include "leaktruth.h"

static uint64_t tagged[8];

NOINLINE static void make_lost(int i)
{
	void *p = leak_new(120);

	tagged[i] = (uint64_t)(uintptr_t)p | ((uint64_t)(0xa0 + i) << 56);
	LEAK(p, 120, DEFINITE);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 8; i++)
		make_lost(i);
	ESCAPE(tagged);
	leak_ready("check_tagged_pointer", argc, argv);
}
