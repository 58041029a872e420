/* SPDX-License-Identifier: Apache-2.0 */
#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"

static char *read_file(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	struct buf b = { 0 };
	char chunk[4096];
	size_t n;

	while (f && (n = fread(chunk, 1, sizeof(chunk), f)))
		buf_add(&b, chunk, n);
	return buf_steal(&b);
}

bool golden_same(const char *name, const char *have)
{
	const char *dir = getenv("SEEP_GOLDEN_DIR");
	_cleanup_free_ char *want = NULL;
	char path[1024];

	assert_non_null(dir);
	assert_non_null(have);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (getenv("SEEP_GOLDEN_WRITE")) {
		FILE *f = fopen(path, "we");

		assert_non_null(f);
		fputs(have, f);
		fclose(f);
	}
	want = read_file(path);
	if (!strcmp(have, want))
		return true;
	print_error("%s differs; it is now:\n%s", path, have);
	return false;
}
