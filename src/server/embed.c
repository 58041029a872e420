/* SPDX-License-Identifier: Apache-2.0 */
#include "server/embed.h"

#include <string.h>

const struct embedded *embedded_find(const char *path)
{
	for (size_t i = 0; i < embedded_nfiles; i++)
		if (!strcmp(embedded_files[i].path, path))
			return &embedded_files[i];
	return NULL;
}
