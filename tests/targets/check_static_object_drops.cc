/* SPDX-License-Identifier: Apache-2.0 */
/* An object with static storage drops a block in its destructor, as a careless cache does. */
#include "leaktruth.h"

namespace
{
struct Cache {
	void *entry = nullptr;
	~Cache()
	{
		entry = nullptr;
		ESCAPE(&entry);
		leak_scrub();
	}
};

Cache cache;

NOINLINE void make_entry()
{
	cache.entry = leak_new(760);
	LEAK_AT(cache.entry, 760, REACHABLE, REACHABLE, REACHABLE, DEFINITE);
}
} // namespace

int main(int argc, char **argv)
{
	leak_runtime = true;
	make_entry();
	leak_ready("check_static_object_drops", argc, argv);
}
