/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions thrown through many frames that own memory: stacks, destructors and the tracker must agree. */
#include "truth.h"

#include <stdexcept>
#include <string>

TRUTH(make_guarded);

NOINLINE static char *make_guarded(size_t size)
{
	return static_cast<char *>(BORN(make_guarded, new char[size], size));
}

namespace
{
struct Guard {
	char *block;
	size_t size;
	explicit Guard(size_t n) : block(make_guarded(n)), size(n) {}
	Guard(const Guard &) = delete;
	Guard &operator=(const Guard &) = delete;
	~Guard()
	{
		DIED(make_guarded, size);
		delete[] block;
	}
};
} // namespace

NOINLINE static void throw_deep(int depth)
{
	Guard guard(static_cast<size_t>(depth) * 10 + 1);

	if (!depth)
		throw std::runtime_error(
			std::string("a message too long for the short string, number ") +
			std::to_string(depth));
	throw_deep(depth - 1);
	ESCAPE(guard.block);
}

NOINLINE static void rethrow(int depth)
{
	Guard guard(500);

	try {
		throw_deep(depth);
	} catch (const std::exception &) {
		Guard in_handler(250);

		throw;
	}
}

int main()
{
	int caught = 0;

	for (int i = 0; i < 500; i++) {
		try {
			rethrow(i % 25);
		} catch (const std::runtime_error &e) {
			caught += e.what()[0] == 'a';
		}
	}
	CHECK(caught == 500);
	for (int i = 0; i < 5; i++)
		ESCAPE(make_guarded(1000));
	truth_print("cxx_exceptions", "main");
	return 0;
}
