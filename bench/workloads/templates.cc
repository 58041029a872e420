/* SPDX-License-Identifier: Apache-2.0 */
/* Not run, only compiled: as many standard headers and templates as keep a compiler's heap busy for a second. */
#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N> struct Shape {
	std::map<std::string, std::vector<std::tuple<int, double, std::string>>> parts;
	std::unordered_map<int, std::variant<int, std::string, std::shared_ptr<Shape<N - 1>>>> links;
	long sum() const
	{
		long total = N;
		for (const auto &[name, list] : parts)
			total += std::accumulate(
				list.begin(), list.end(), 0L, [](long a, const auto &t) {
					return a + std::get<0>(t) +
				               static_cast<long>(std::get<2>(t).size());
				});
		return total;
	}
};
template <> struct Shape<0> {
	long sum() const
	{
		return 0;
	}
};

template <int... N> long all(std::integer_sequence<int, N...>)
{
	return (Shape<N + 1>().sum() + ...);
}

int main()
{
	std::regex word("([a-z]+)-([0-9]+)");
	std::smatch match;
	std::string text = "abc-123";
	std::set<std::string> found;

	if (std::regex_match(text, match, word))
		found.insert(match[1]);
	return static_cast<int>(all(std::make_integer_sequence<int, 12>()) +
	                        static_cast<long>(found.size()));
}
