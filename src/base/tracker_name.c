/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tracker_name.h"

#include <string.h>

bool module_is_tracker(const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;

	if (!strncmp(base, "memfd:", 6))
		base += 6;
	return !strncmp(base, "libseep.so", 10) || !strncmp(base, "libseep-musl.so", 15);
}
