/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointers are to the first elements of arrays of objects with destructors. */
#include "leaktruth.h"

namespace
{
struct Item {
	long value[5];
	~Item()
	{
		ESCAPE(value);
	}
};

Item *arrays[5];

NOINLINE void make_array(int i, size_t n)
{
	Item *a = new Item[n]();
	size_t size = sizeof(size_t) + n * sizeof(Item);
	void *block = reinterpret_cast<size_t *>(a) - 1;

	arrays[i] = a;
	LEAK(block, size, REACHABLE);
	LEAK_HEURISTIC(2, block, size);
}
} // namespace

int main(int argc, char **argv)
{
	leak_runtime = true;
	/* Odd and even numbers: half of the sizes are rounded up. */
	for (int i = 0; i < 5; i++)
		make_array(i, 1 + (size_t)i);
	ESCAPE(arrays);
	leak_ready("check_heuristic_newarray", argc, argv);
}
