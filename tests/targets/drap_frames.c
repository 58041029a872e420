/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that realign the stack.  Their CFA is found through a saved pointer (DRAP: r10, spilled, described by
 * a DWARF expression), the hardest rows a compiler writes.  Built with -mstackrealign.
 */
#include "truth.h"

#include <alloca.h>
#include <stdarg.h>

TRUTH(realigned);

NOINLINE static void *realigned(int depth, size_t extra, ...)
{
	__attribute__((aligned(64))) volatile char line[64];
	volatile char *room = alloca(extra);
	va_list ap;
	void *p;

	va_start(ap, extra);
	line[63] = (char)va_arg(ap, int);
	va_end(ap);
	CHECK(!((uintptr_t)line % 64));
	room[0] = (char)depth;
	p = depth ? realigned(depth - 1, extra + 24, depth) : BORN(realigned, malloc(88), 88);
	CHECK(room[0] == (char)depth);
	return p;
}

int main(void)
{
	for (int i = 0; i < 300; i++)
		ESCAPE(realigned(i % 10, (size_t)(8 + i), i));
	truth_print("drap_frames", "main");
	return 0;
}
