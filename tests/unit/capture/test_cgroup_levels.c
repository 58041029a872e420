/* SPDX-License-Identifier: Apache-2.0 */
/* How full a memory cgroup is: v1 and v2, several levels, mounts of containers; in a tree of plain files. */
#include "capture/cgroup_levels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/cgroup.h"

static char base[64];

static int make_base(void **state)
{
	(void)state;
	snprintf(base, sizeof(base), "/tmp/seep-cgroup-XXXXXX");
	return mkdtemp(base) ? 0 : -1;
}

static int remove_base(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", base);
	return system(command) ? -1 : 0;
}

static void put(const char *dir, const char *file, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s%s", base, dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s%s/%s", base, dir, file);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* The group `path` of a hierarchy whose part below `root` is mounted at the base. */
static void open_levels(struct cgroup_levels *c, const char *root, const char *path, bool v2)
{
	struct cgroup_place p = { .v2 = v2 };

	snprintf(p.path, sizeof(p.path), "%s", path);
	snprintf(p.mount, sizeof(p.mount), "%s", base);
	snprintf(p.root, sizeof(p.root), "%s", root);
	cgroup_levels_open(c, &p);
}

static void must_be(const struct cgroup_levels *c, uint64_t used, uint64_t limit)
{
	uint64_t u = 1, l = 1;

	cgroup_levels_read(c, &u, &l);
	assert_int_equal(l, limit);
	assert_int_equal(u, used);
}

static void version_two(void **state)
{
	struct cgroup_levels c = { 0 };

	(void)state;
	/* The root has no limit, the slice above is fuller than the service in it. */
	put("", "cgroup.procs", "");
	put("/a", "memory.current", "900000\n");
	put("/a", "memory.max", "1000000\n");
	put("/a", "memory.stat", "anon 1\nactive_file 0\ninactive_file 0\n");
	put("/a/b", "memory.current", "400000\n");
	put("/a/b", "memory.max", "800000\n");
	open_levels(&c, "/", "/a/b", true);
	assert_int_equal(c.nlevels, 2);
	must_be(&c, 900000, 1000000);
	/* What the kernel can take back at once is not used. */
	put("/a", "memory.stat", "anon 5\nfile 700000\ninactive_file 500000\nactive_file 100000\n");
	must_be(&c, 400000, 800000);
	put("/a/b", "memory.current", "790000\n");
	must_be(&c, 790000, 800000);
	put("/a/b", "memory.max", "max\n");
	must_be(&c, 300000, 1000000);
	put("/a", "memory.max", "max\n");
	must_be(&c, 0, 0);
	cgroup_levels_release(&c);
	assert_int_equal(c.nlevels, 0);
	must_be(&c, 0, 0);
}

static void version_one(void **state)
{
	struct cgroup_levels c = { 0 };

	(void)state;
	put("", "memory.usage_in_bytes", "5000000\n");
	put("", "memory.limit_in_bytes", "9223372036854771712\n"); /* unlimited */
	put("/g", "memory.usage_in_bytes", "960000\n");
	put("/g", "memory.limit_in_bytes", "1000000\n");
	put("/g", "memory.stat",
	    "inactive_file 1\nactive_file 1\ntotal_inactive_file 30000\ntotal_active_file 10000\n");
	open_levels(&c, "/", "/g", false);
	assert_int_equal(c.nlevels, 2);
	must_be(&c, 920000, 1000000);
	cgroup_levels_release(&c);
}

static void as_containers_see_it(void **state)
{
	struct cgroup_levels c = { 0 };

	(void)state;
	put("", "memory.current", "1000\n");
	put("", "memory.max", "5000\n");
	put("/own", "memory.current", "10\n");
	put("/own", "memory.max", "20\n");
	/* The mount's root is the container's group: its path is cut. */
	open_levels(&c, "/docker/0123", "/docker/0123/own", true);
	assert_int_equal(c.nlevels, 2);
	must_be(&c, 10, 20);
	cgroup_levels_release(&c);
	open_levels(&c, "/docker/0123", "/docker/0123", true);
	assert_int_equal(c.nlevels, 1);
	must_be(&c, 1000, 5000);
	cgroup_levels_release(&c);
	/* What cannot be found here: the mount point's limit holds all the same. */
	open_levels(&c, "/docker/0123", "/docker/01234/own", true);
	assert_int_equal(c.nlevels, 1);
	cgroup_levels_release(&c);
	open_levels(&c, "/", "/../../elsewhere", true);
	assert_int_equal(c.nlevels, 1);
	cgroup_levels_release(&c);
}

static void odd_values(void **state)
{
	static const char *const texts[] = { "",       "\n",  "-5\n",
		                             "x\n",    "0\n", "99999999999999999999999\n",
		                             "12abc\n" };
	struct cgroup_levels c = { 0 };
	uint64_t used, limit;

	(void)state;
	put("/o", "memory.current", "10\n");
	put("/o", "memory.max", "20\n");
	put("/o", "memory.stat", "");
	open_levels(&c, "/", "/o", true);
	assert_int_equal(c.nlevels, 1);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		put("/o", "memory.max", texts[i]);
		put("/o", "memory.stat", texts[i]);
		cgroup_levels_read(&c, &used, &limit);
		assert_true(limit == 0 || limit == 12);
		put("/o", "memory.max", "20\n");
		put("/o", "memory.current", texts[i]);
		cgroup_levels_read(&c, &used, &limit);
		put("/o", "memory.current", "10\n");
	}
	must_be(&c, 10, 20);
	cgroup_levels_release(&c);
}

/* Deeper than there is room for levels: the nearest ones count. */
static void deep(void **state)
{
	struct cgroup_levels c = { 0 };
	char dir[256] = "";

	(void)state;
	for (int i = 0; i < 40; i++) {
		strcat(dir, "/d");
		put(dir, "memory.current", "10\n");
		put(dir, "memory.max", "20\n");
	}
	open_levels(&c, "/", dir, true);
	assert_int_equal(c.nlevels, CGROUP_LEVELS);
	must_be(&c, 10, 20);
	cgroup_levels_release(&c);
}

static void our_own(void **state)
{
	struct cgroup_levels c = { 0 };
	uint64_t used, limit;

	(void)state;
	/* Wherever this runs: it finds a group or none, twice the same, and a process that is gone keeps what was known. */
	if (cgroup_levels_find(&c, getpid())) {
		unsigned int n = c.nlevels;

		assert_true(cgroup_levels_find(&c, getpid()));
		assert_int_equal(c.nlevels, n);
		cgroup_levels_read(&c, &used, &limit);
		assert_true(cgroup_levels_find(&c, 0x7ffffff0));
	}
	cgroup_levels_release(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(version_two, make_base, remove_base),
		cmocka_unit_test_setup_teardown(version_one, make_base, remove_base),
		cmocka_unit_test_setup_teardown(as_containers_see_it, make_base, remove_base),
		cmocka_unit_test_setup_teardown(odd_values, make_base, remove_base),
		cmocka_unit_test_setup_teardown(deep, make_base, remove_base),
		cmocka_unit_test(our_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
