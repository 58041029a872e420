/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dropin_sample_cxx: a program over tcmalloc that shows tcmalloc's heap sample, as pages like /pprof/heap do.
 */
#include <gperftools/malloc_extension.h>

#include <string>

#include "truth.h"

TRUTH(keep_big);

NOINLINE static void *keep_big(size_t size)
{
	return BORN(keep_big, malloc(size), size);
}

int main()
{
	std::string sample = "before\n";

	for (int i = 0; i < 10; i++)
		ESCAPE(keep_big(1000000));
	MallocExtension::instance()->GetHeapSample(&sample);
	truth_write(sample.data(), sample.size());
	return 0;
}
