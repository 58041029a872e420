/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain of inlined functions.  The label marks an address inside the innermost one; the
 * comments mark the lines the test expects there.
 */
int outer(int x);

static inline __attribute__((always_inline)) int innermost(int x)
{
	int y = x * 3;

	__asm__ volatile("seep_mark: nop" : "+r"(y)); /* line of innermost */
	return y;
}

static inline __attribute__((always_inline)) int middle(int x)
{
	return innermost(x + 1) ^ 7; /* line of middle */
}

__attribute__((noinline)) int outer(int x)
{
	return middle(x) + 2; /* line of outer */
}

int main(int argc, char **argv)
{
	(void)argv;
	return outer(argc) == 1234567;
}
