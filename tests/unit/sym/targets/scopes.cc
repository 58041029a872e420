// SPDX-License-Identifier: Apache-2.0
// Names that need demangling: a template's member, a lambda, an unnamed namespace.
namespace garden {

template <typename T> struct Bed {
	T rows;
	__attribute__((noinline)) T grow(unsigned long by)
	{
		__asm__ volatile("seep_mark_template: nop" : "+r"(rows)); // line of template
		return rows + T(by);
	}
};

namespace {

struct Seed {
	int depth;
	__attribute__((always_inline)) int sow(int x)
	{
		__asm__ volatile("seep_mark_copy: nop" : "+r"(x)); // line of copy
		return x + depth;
	}
};

__attribute__((noinline)) int hidden(int x)
{
	__asm__ volatile("seep_mark_hidden: nop" : "+r"(x)); // line of hidden
	return Seed{x}.sow(x);
}

} // namespace

} // namespace garden

int main(int argc, char **)
{
	garden::Bed<int> bed{argc};
	auto water = [&](int x) __attribute__((noinline))
	{
		__asm__ volatile("seep_mark_lambda: nop" : "+r"(x)); // line of lambda
		return x + bed.rows;
	};
	return bed.grow(3) + garden::hidden(argc) + water(2) == 1234567;
}
