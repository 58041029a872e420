/* SPDX-License-Identifier: Apache-2.0 */
/* A leak with a known stack, for valgrind: calloc in inner, outer, main. */
#include <stdlib.h>

void *inner(size_t n);
void *outer(size_t n);

__attribute__((noinline)) void *inner(size_t n)
{
	char *p = calloc(n, 3);

	if (p)
		p[0] = 1;
	return p;
}

__attribute__((noinline)) void *outer(size_t n)
{
	char *p = inner(n + 1);

	if (p)
		p[1] = 2;
	return p;
}

static void *volatile kept;

int main(int argc, char **argv)
{
	kept = outer((size_t)argc + 20);
	kept = NULL;
	return 0;
}
