/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointers are to the second base of objects that have two with virtual functions. */
#include "leaktruth.h"

namespace
{
struct First {
	long first[3];
	virtual ~First()
	{
		ESCAPE(first);
	}
	virtual long one()
	{
		return first[0];
	}
};
struct Second {
	long second[4];
	virtual ~Second()
	{
		ESCAPE(second);
	}
	virtual long two()
	{
		return second[0];
	}
};
struct Both : First, Second {
	long more[5];
	long one() override
	{
		return more[0];
	}
	long two() override
	{
		return more[1];
	}
};

Second *objects[6];

NOINLINE void make_object(int i)
{
	Both *b = new Both();

	objects[i] = b;
	LEAK(b, sizeof(Both), REACHABLE);
	LEAK_HEURISTIC(3, b, sizeof(Both));
}
} // namespace

int main(int argc, char **argv)
{
	leak_runtime = true;
	for (int i = 0; i < 6; i++)
		make_object(i);
	ESCAPE(objects);
	leak_ready("check_heuristic_multiple_inheritance", argc, argv);
}
