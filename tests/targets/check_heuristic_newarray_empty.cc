/* SPDX-License-Identifier: Apache-2.0 */
/* new T[0]: a block with nothing but the number of elements; the only pointer is to its end. */
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

Item *empty[3];

NOINLINE void make_empty(int i, size_t n)
{
	Item *a = new Item[n]();
	void *block = reinterpret_cast<size_t *>(a) - 1;

	empty[i] = a;
	LEAK(block, sizeof(size_t), REACHABLE);
	LEAK_HEURISTIC(2, block, sizeof(size_t));
}
} // namespace

int main(int argc, char **argv)
{
	leak_runtime = true;
	for (int i = 0; i < 3; i++)
		make_empty(i, 0);
	ESCAPE(empty);
	leak_ready("check_heuristic_newarray_empty", argc, argv);
}
