/* SPDX-License-Identifier: Apache-2.0 */
/* mimalloc that keeps most of what was freed. */
#include "doctor_allocator.h"

void mi_process_info(size_t *, size_t *, size_t *, size_t *, size_t *, size_t *, size_t *, size_t *);
long mi_option_get(int);
int mi_version(void);

static void say_figures(void)
{
	size_t v[8] = { 0 };

	mi_process_info(&v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]);
	say("{\"commit\": %zu, \"peak_rss\": %zu, \"delay\": %ld, \"version\": %d}\n", v[5], v[4],
	    mi_option_get(15), mi_version());
}

int main(int argc, char **argv)
{
	static const struct shape shapes[] = {
		{ "retention", BLOCK, 500, false },
		{ "threads", BLOCK, 500, true },
	};

	return doctor_main(argc, argv, shapes, sizeof(shapes) / sizeof(shapes[0]), say_figures);
}
