/* SPDX-License-Identifier: Apache-2.0 */
/* A C++ library for dlopen_cxx.c: with it libstdc++ comes into a C program, late and out of the others' sight. */
#include "truth.h"

#include <map>
#include <stdexcept>
#include <string>

TRUTH(cxx_make);

NOINLINE static char *cxx_make(size_t size)
{
	return static_cast<char *>(BORN(cxx_make, ::operator new(size), size));
}

extern "C" int plugin_cxx_work(int n);
extern "C" void plugin_cxx_print(void);

/* Keeps every fourth block; throws and catches, as libraries do. */
extern "C" int plugin_cxx_work(int n)
{
	std::map<std::string, int> names;
	int thrown = 0;

	for (int i = 0; i < n; i++) {
		char *p = cxx_make(80);

		names["a name that is too long for the short string: " + std::to_string(i)] = i;
		if (i % 4) {
			DIED(cxx_make, 80);
			::operator delete(p);
		}
		try {
			names.at("no such name");
		} catch (const std::out_of_range &) {
			thrown++;
		}
	}
	return thrown;
}

extern "C" void plugin_cxx_print(void)
{
	truth_print("dlopen_cxx", "main");
}
