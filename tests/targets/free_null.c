/* SPDX-License-Identifier: Apache-2.0 */
/* free(NULL) is nothing: it is neither a free nor a loss. */
#include "truth.h"

TRUTH(make_one);

NOINLINE static void *make_one(void)
{
	return BORN(make_one, malloc(10), 10);
}

int main(void)
{
	void *volatile nothing = NULL;
	void *p = make_one();

	for (int i = 0; i < 1000; i++)
		free(nothing);
	DIED(make_one, 10);
	free(p);
	truth_print("free_null", "main");
	return 0;
}
