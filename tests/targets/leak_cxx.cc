/* SPDX-License-Identifier: Apache-2.0 */
/* A leak in C++: an object in a namespace, made in a method of a template, dropped by its owner. */
#include "truth.h"

#include <string>
#include <vector>

TRUTH(make);

namespace shop
{
template <typename T> struct Registry {
	NOINLINE static T *make(size_t n)
	{
		return static_cast<T *>(BORN(make, new T[n], n * sizeof(T)));
	}
};
struct Order {
	long id[5];
};
NOINLINE void place_order(size_t n)
{
	Order *order = Registry<Order>::make(n);

	ESCAPE(order);
}
} // namespace shop

int main()
{
	std::vector<std::string> names;

	for (int i = 0; i < 100; i++)
		names.push_back("a customer whose name needs the heap, number " + std::to_string(i));
	for (size_t i = 1; i <= 50; i++)
		shop::place_order(i);
	truth_print("leak_cxx", "main");
	return 0;
}
