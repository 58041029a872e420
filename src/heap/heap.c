/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which allocators are in an image, and the walkers for them.
 */
#include "heap/heap.h"

#include <stdlib.h>

void heap_free(struct heap *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->nnotes; i++)
		free(h->notes[i]);
	free(h->notes);
	free(h->blocks);
	free(h->ranges);
	free(h->arenas);
	free(h);
}
