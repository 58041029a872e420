/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's account of memory: what is read, what is unknown, what is nonsense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "proc/memory.h"

static struct memory_maps parse(const char *text)
{
	struct memory_maps m;

	assert_null(memory_maps_parse(strdup(text), &m));
	return m;
}

static void status(void **state)
{
	struct memory_status s;

	(void)state;
	memory_status_parse(
		"Name:\ta\\nVmRSS: 1 kB\nUmask:\t0022\nVmPeak:\t 90000 kB\nVmSize:\t   80000 kB\n"
		"VmHWM:\t    5000 kB\nVmRSS:\t    4000 kB\nRssAnon:\t    1000 kB\n"
		"RssFile:\t    3000 kB\nVmPTE:\t      52 kB\nVmSwap:\t       0 kB\n"
		"Threads:\t17\n",
		&s);
	assert_string_equal(s.name, "a\\nVmRSS: 1 kB");
	assert_int_equal(s.size, 80000 * 1024);
	assert_int_equal(s.peak, 5000 * 1024);
	assert_int_equal(s.rss, 4000 * 1024);
	assert_int_equal(s.rss_anon, 1000 * 1024);
	assert_int_equal(s.swap, 0);
	assert_int_equal(s.page_tables, 52 * 1024);
	assert_int_equal(s.threads, 17);
	assert_true(s.rss_shmem == MEMORY_UNKNOWN); /* not said is not 0 */
	assert_true(s.hugetlb == MEMORY_UNKNOWN);

	memory_status_parse("VmRSS:\t99999999999999999999999 kB\nVmSwap: kB\nThreads", &s);
	assert_true(s.rss == MEMORY_UNKNOWN && s.swap == MEMORY_UNKNOWN &&
	            s.threads == MEMORY_UNKNOWN);
	memory_status_parse("", &s);
	assert_true(s.rss == MEMORY_UNKNOWN);
	assert_string_equal(s.name, "");
}

static void smaps(void **state)
{
	struct memory_maps m = parse(
		"00400000-00402000 r-xp 00000000 fe:00 247134                     /usr/bin/Rss: 1 kB\n"
		"Size:                  8 kB\nRss:                   8 kB\nPss:                   2 kB\n"
		"Private_Clean:         4 kB\nPrivate_Dirty:         0 kB\nAnonymous:             0 kB\n"
		"VmFlags: rd ex mr mw me \n"
		"7f0000000000-7f0000100000 rw-s 00000000 00:01 77 /dev/zero (deleted)\n"
		"Rss:                 100 kB\nShared_Hugetlb:        4 kB\nPrivate_Hugetlb:       8 kB\n"
		"LazyFree:             12 kB\nAnonHugePages:      2048 kB\n");
	struct memory_map sum;

	(void)state;
	assert_int_equal(m.n, 2);
	assert_int_equal(m.dropped, 0);
	assert_string_equal(m.items[0].path, "/usr/bin/Rss: 1 kB");
	assert_int_equal(m.items[0].inode, 247134);
	assert_int_equal(m.items[0].rss, 8 * 1024);
	assert_int_equal(m.items[0].anonymous, 0);
	assert_true(m.items[0].lazy_free == MEMORY_UNKNOWN);
	assert_false(m.items[0].writable);
	assert_true(m.items[1].shared && m.items[1].writable);
	assert_int_equal(m.items[1].hugetlb, 12 * 1024);
	assert_ptr_equal(memory_map_of(&m, 0x7f00000fffff), &m.items[1]);
	assert_null(memory_map_of(&m, 0x402000));
	memory_maps_sum(&m, &sum);
	assert_int_equal(sum.rss, 108 * 1024);
	assert_int_equal(sum.pss, 2 * 1024);
	assert_int_equal(sum.hugetlb, 12 * 1024);
	assert_int_equal(sum.lazy_free, 12 * 1024);
	memory_maps_release(&m);
}

static void nonsense(void **state)
{
	struct memory_maps m = parse("Rss: 4 kB\n"                        /* of no mapping */
	                             "2000-1000 rw-p 00000000 00:00 0 \n" /* ends before it begins */
	                             "Rss: 4 kB\n"
	                             "3000-4000 rw-p 00000000 00:00 0 \n"
	                             "Rss: x kB\n"
	                             "3800-5000 rw-p 00000000 00:00 0 \n" /* overlaps */
	                             "Rss: 4 kB\n"
	                             "12345678901234567-5000 rw-p 0 0:0 0\n"
	                             "6000-7000 rw\n");

	(void)state;
	assert_int_equal(m.n, 1);
	assert_int_equal(m.dropped, 4);
	assert_true(m.items[0].rss == MEMORY_UNKNOWN);
	memory_maps_release(&m);
	m = parse("");
	assert_int_equal(m.n, 0);
	memory_maps_release(&m);
}

static void ourselves(void **state)
{
	struct memory_maps m;
	struct memory_map rollup, sum;
	struct memory_status s;
	struct seep_error *err = memory_maps_read(getpid(), &m);

	(void)state;
	if (err) {
		print_message("%s\n", err->message);
		seep_error_free(err);
		skip();
	}
	memory_maps_sum(&m, &sum);
	assert_true(m.n > 5 && m.dropped == 0);
	assert_int_equal(memory_status_read(getpid(), &s), 0);
	/* they are read one after the other, and reading takes memory */
	assert_true(sum.rss + (4 << 20) > s.rss && s.rss + (4 << 20) > sum.rss);
	if (memory_rollup_read(getpid(), &rollup) == 0)
		assert_true(rollup.rss + (4 << 20) > sum.rss && rollup.pss <= rollup.rss);
	assert_true(memory_status_read(1 << 22, &s) < 0);
	assert_int_equal(memory_available_parse("MemTotal: 5 kB\nMemAvailable:   12 kB\n"),
	                 12 * 1024);
	assert_true(memory_available_parse("MemTotal: 5 kB\n") == MEMORY_UNKNOWN);
	memory_maps_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status),
		cmocka_unit_test(smaps),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(ourselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
