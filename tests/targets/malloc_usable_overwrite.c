/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that write all that malloc_usable_size() grants: a tracker must not keep anything of its own there. */
#include "truth.h"

#include <malloc.h>

TRUTH(make_block);

NOINLINE static void *make_block(size_t size)
{
	return BORN(make_block, malloc(size), size);
}

int main(void)
{
	void *blocks[1000];

	for (size_t i = 0; i < 1000; i++) {
		blocks[i] = make_block(1 + i * 3);
		CHECK(blocks[i]);
		memset(blocks[i], 0xff, malloc_usable_size(blocks[i]));
	}
	for (size_t i = 0; i < 1000; i += 2) {
		DIED(make_block, 1 + i * 3);
		free(blocks[i]);
	}
	truth_print("malloc_usable_overwrite", "main");
	return 0;
}
