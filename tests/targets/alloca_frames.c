/* SPDX-License-Identifier: Apache-2.0 */
/* Frames whose size is known only at run time (alloca): their CFA hangs on rbp, not on rsp. */
#include "truth.h"

#include <alloca.h>

TRUTH(variable_frame);

NOINLINE static void *variable_frame(int depth, size_t extra)
{
	volatile char *room = alloca(extra);
	void *p;

	room[extra - 1] = (char)depth;
	p = depth ? variable_frame(depth - 1, extra + (size_t)depth * 16)
	          : BORN(variable_frame, malloc(72), 72);
	CHECK(room[extra - 1] == (char)depth);
	return p;
}

int main(void)
{
	for (size_t i = 1; i <= 400; i++)
		ESCAPE(variable_frame((int)(i % 20), i * 7));
	truth_print("alloca_frames", "main");
	return 0;
}
