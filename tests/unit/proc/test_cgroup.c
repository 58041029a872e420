/* SPDX-License-Identifier: Apache-2.0 */
/* Which memory cgroup a process is in, and where its files are: v1, v2, hybrid, containers, damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/cgroup.h"

static const char v2_mounts[] =
	"24 30 0:22 / /proc rw,nosuid - proc proc rw\n"
	"35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
static const char v1_mounts[] =
	"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
	"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
/* A container without a cgroup namespace: its mount shows only its own part. */
static const char part_mounts[] =
	"35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro master:5 - cgroup cgroup rw,memory\n";

static void directory_is(const char *cgroup, const char *mounts, const char *want)
{
	struct cgroup_place p;
	char dir[1024] = "";

	assert_int_equal(cgroup_parse(cgroup, mounts, &p), 0);
	if (!want) {
		assert_int_equal(cgroup_directory(&p, dir, sizeof(dir)), -ENOENT);
		return;
	}
	assert_int_equal(cgroup_directory(&p, dir, sizeof(dir)), 0);
	assert_string_equal(dir, want);
}

static void places(void **state)
{
	directory_is("0::/system.slice/x.service\n", v2_mounts,
	             "/sys/fs/cgroup/system.slice/x.service");
	directory_is("0::/\n", v2_mounts, "/sys/fs/cgroup");
	directory_is("5:cpu,memory:/a\n0::/b\n", v1_mounts, "/sys/fs/cgroup/memory/a");
	directory_is("0::/b\n5:memory:/a\n", v1_mounts, "/sys/fs/cgroup/memory/a"); /* in any order */
	directory_is("3:cpu:/a\n0::/b\n", v1_mounts, "/sys/fs/cgroup/unified/b");
	directory_is("5:memory:/docker/abc/inner\n", part_mounts, "/sys/fs/cgroup/memory/inner");
	directory_is("5:memory:/docker/abc\n", part_mounts, "/sys/fs/cgroup/memory");
	directory_is("5:memory:/docker/abcd\n", part_mounts, NULL); /* not below it */
	directory_is("0::/../../elsewhere\n", v2_mounts, NULL);     /* outside of our namespace */
	directory_is("0::/a\n", "", NULL);
	directory_is("5:name=memory:/a\n0::/b\n", v2_mounts, "/sys/fs/cgroup/b");
	directory_is("4:memoryx:/x\n0::/b\n", v2_mounts, "/sys/fs/cgroup/b");
	directory_is("4:cpu,memory,io:/x:y\n", v1_mounts, "/sys/fs/cgroup/memory/x:y");
	directory_is("0::/a\n", "31 30 0:26 - cgroup2\n", NULL); /* a torn line */
}

static void damage(void **state)
{
	static const char *const bad[] = { "", "\n\n", "0:", "nonsense", "1:cpu:/\n" };
	struct cgroup_place p;
	char line[2048];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cgroup_parse(bad[i], v2_mounts, &p), -ENOENT);
	memset(line, 'x', sizeof(line));
	memcpy(line, "0::/", 4);
	line[sizeof(line) - 1] = '\0';
	assert_int_equal(cgroup_parse(line, v2_mounts, &p), -ENAMETOOLONG);
	/* Mount lines cut anywhere are passed over or understood, never more. */
	for (size_t n = 0; n < sizeof(v1_mounts); n++) {
		char cut[sizeof(v1_mounts)];

		memcpy(cut, v1_mounts, n);
		cut[n] = '\0';
		assert_int_equal(cgroup_parse("0::/b\n5:memory:/a\n", cut, &p), 0);
	}
}

static void this_process(void **state)
{
	struct cgroup_memory m;

	if (cgroup_memory(getpid(), &m) < 0)
		skip(); /* no memory controller here */
	assert_true(m.path[0] == '/');
	assert_true(!m.limit || m.used <= m.limit + (m.limit >> 2));
	assert_true(cgroup_contains(m.path, getpid()));
	assert_true(cgroup_contains("/", getpid()));
	assert_false(cgroup_contains("/there/is/no/such/group", getpid()));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places),
		cmocka_unit_test(damage),
		cmocka_unit_test(this_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
