/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profiles in other profilers' formats, made from a ledger of known events: what the lines say, what they say of a session that
 * began later, what sampling makes of them, what happens to files that cannot be written; and settings read from
 * strings of all kinds.  The tools that read the files are in tests/e2e/dropin.py.
 */
#include "tracker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "track/dropin.h"
#include "track/event.h"

#ifdef __clang__
#define WHOLE __attribute__((noinline))
#else
#define WHOLE __attribute__((noinline, noclone))
#endif

static const struct dropin_since ever = { .whole = true };

static uint64_t next_address;

static WHOLE uint64_t make(uint64_t size)
{
	struct origin o = ORIGIN_HERE();
	uint64_t addr = next_address += 4096;

	if (t_self->mode == M_SAMPLED)
		event_sampled(t_self, addr, size, &o);
	else
		event_heap(t_self, addr, size, &o, unwind_guess(t_self, &o));
	__asm__ volatile("" : : : "memory");
	return addr;
}

/* One site for all, also from a compiler that unrolls loops. */
static WHOLE uint64_t make_many(int n, uint64_t size, uint64_t *ret)
{
	uint64_t addr = 0;

	for (volatile int i = 0; i < n; i++) {
		addr = make(size);
		if (ret)
			ret[i] = addr;
	}
	return addr;
}

static void drop(uint64_t addr)
{
	assert_true(event_free(t_self, addr, LEDGER_HEAP));
}

static int up(void **state)
{
	next_address = 0x600000000000;
	return tracker_setup(state);
}

/* ---- what a profile says ------------------------------------------------------------------- */

struct line {
	uint64_t blocks, bytes, alloc_blocks, alloc_bytes;
	unsigned int frames;
};

struct text {
	struct line head, line[64];
	unsigned int nlines;
	char first[128];
};

static struct line values(const char *p)
{
	struct line l = { 0 };

	assert_int_equal(sscanf(p, " %" SCNu64 ": %" SCNu64 " [ %" SCNu64 ": %" SCNu64 "]",
	                        &l.blocks, &l.bytes, &l.alloc_blocks, &l.alloc_bytes),
	                 4);
	for (p = strchr(p, '@'); p && *p && *p != '\n'; p++)
		l.frames += p[0] == '0' && p[1] == 'x';
	return l;
}

/* Checks what holds of every profile: the header is the sum of the lines. */
static struct text taken(enum dropin_format format, const struct dropin_since *since, bool accum)
{
	struct dropin_profile what = { format, since, 1u << LEDGER_HEAP, accum };
	uint64_t len = 0, size = 0;
	char *profile = dropin_text(&what, &len, &size), *p;
	struct line sum = { 0 };
	struct text t = { 0 };

	assert_non_null(profile);
	assert_int_equal(strlen(profile), len);
	assert_non_null(strstr(profile, "\nMAPPED_LIBRARIES:\n"));
	*strstr(profile, "\nMAPPED_LIBRARIES:\n") = '\0';
	sscanf(profile, "%127[^\n]", t.first);
	p = format == DROPIN_JEMALLOC ? strstr(profile, "t*:") + 3 : strchr(profile, ':') + 1;
	t.head = values(p);
	for (p = strchr(p, '\n'); p && p[1]; p = strchr(p + 1, '\n')) {
		struct line *l = &t.line[t.nlines];

		if (format == DROPIN_JEMALLOC && p[1] == '@')
			continue;
		assert_true(t.nlines++ < 64);
		*l = values(format == DROPIN_JEMALLOC ? strstr(p, "t*:") + 3 : p);
		sum.blocks += l->blocks;
		sum.bytes += l->bytes;
		sum.alloc_blocks += l->alloc_blocks;
		sum.alloc_bytes += l->alloc_bytes;
		/* A reader that finds one of them alone divides by zero. */
		assert_true(!l->bytes || l->blocks);
	}
	t.head.frames = sum.frames = 0;
	assert_memory_equal(&t.head, &sum, sizeof(sum));
	sys_munmap(profile, size);
	return t;
}

static void check_line(const struct line *l, uint64_t blocks, uint64_t bytes, uint64_t alloc_blocks,
                       uint64_t alloc_bytes)
{
	assert_int_equal(l->blocks, blocks);
	assert_int_equal(l->bytes, bytes);
	assert_int_equal(l->alloc_blocks, alloc_blocks);
	assert_int_equal(l->alloc_bytes, alloc_bytes);
}

static void exact_profiles_say_what_happened(void **state)
{
	uint64_t block[10];
	struct text t;

	(void)state;
	t = taken(DROPIN_GPERFTOOLS, &ever, true);
	assert_int_equal(t.nlines, 0);
	assert_string_equal(t.first,
	                    "heap profile:      0:        0 [     0:        0] @ heapprofile");
	make_many(10, 100, block);
	make(0);
	for (int i = 0; i < 4; i++)
		drop(block[i]);
	t = taken(DROPIN_GPERFTOOLS, &ever, true);
	assert_int_equal(t.nlines, 2);
	check_line(&t.line[0], 6, 600, 10, 1000);
	check_line(&t.line[1], 1, 0, 1, 0);
	assert_true(t.line[0].frames > 2);
	/* jemalloc's readers divide by 1 - exp(-average), which for 100 is 1. */
	t = taken(DROPIN_JEMALLOC, &ever, false);
	assert_string_equal(t.first, "heap_v2/1");
	check_line(&t.line[0], 6, 600, 0, 0);
	t = taken(DROPIN_JEMALLOC, &ever, true);
	check_line(&t.line[0], 6, 600, 10, 1000);
}

static void only_the_kinds_asked_for(void **state)
{
	struct origin o = ORIGIN_HERE();
	struct dropin_profile what = { DROPIN_GPERFTOOLS, &ever, 1u << LEDGER_MMAP, true };
	uint64_t len, size;
	char *profile;

	(void)state;
	make(100);
	event_region(t_self, 0x7f0000000000, 8192, LEDGER_MMAP, &o);
	event_region(t_self, 0x7f1000000000, 65536, LEDGER_STACK, &o);
	assert_int_equal(taken(DROPIN_GPERFTOOLS, &ever, true).head.bytes, 100);
	profile = dropin_text(&what, &len, &size);
	assert_int_equal(values(strchr(profile, ':') + 1).bytes, 8192);
	sys_munmap(profile, size);
	assert_int_equal(dropin_in_use(1u << LEDGER_HEAP), 100);
	assert_int_equal(dropin_in_use(1u << LEDGER_HEAP | 1u << LEDGER_MMAP), 8292);
}

/* What was there before does not count, nor that it goes. */
static void sessions_begin_when_they_begin(void **state)
{
	struct dropin_since since = { 0 };
	uint64_t before = make(100), stays;
	struct text t;

	(void)state;
	stays = make(200);
	dropin_begin(&since);
	assert_int_equal(taken(DROPIN_GPERFTOOLS, &since, true).nlines, 0);
	drop(before);
	drop(make_many(20, 1000, NULL));
	t = taken(DROPIN_GPERFTOOLS, &since, true);
	check_line(&t.head, 19, 19000, 20, 20000);
	t = taken(DROPIN_GPERFTOOLS, &ever, true);
	check_line(&t.head, 20, 19200, 22, 20300);
	dropin_begin(&since);
	drop(stays);
	make(5);
	t = taken(DROPIN_GPERFTOOLS, &since, true);
	check_line(&t.head, 1, 5, 1, 5);
	dropin_forget(&since);
	assert_null(since.base);
}

/* Readers divide by the probability that a block of the average size is sampled. */
static void sampled_profiles_are_biased(void **state)
{
	const double period = 4096;
	struct text t;
	double p, bytes;

	(void)state;
	dropin_period(4096);
	assert_int_equal(t_self->mode, M_SAMPLED);
	make_many(1000, 1500, NULL);
	t = taken(DROPIN_GPERFTOOLS, &ever, true);
	assert_string_equal(strchr(t.first, '@'), "@ heap_v2/4096");
	/* Each was recorded, so that many samples are what a reader must see, to within rounding. */
	assert_true(t.head.blocks >= 999 && t.head.blocks <= 1001);
	p = -expm1(-1500 / period);
	bytes = (double)t.head.bytes / p;
	assert_true(fabs(bytes / (double)dropin_in_use(1u << LEDGER_HEAP) - 1) < 1e-4);
	t = taken(DROPIN_JEMALLOC, &ever, true);
	assert_string_equal(t.first, "heap_v2/4096");
	assert_int_equal(t.head.alloc_bytes, t.head.bytes);
	dropin_period(1);
	assert_int_equal(t_self->mode, M_FULL);
}

/* ---- while others go on ------------------------------------------------------------------------ */

static bool stop;

static void *churn(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;

	tracker_thread_begin();
	/* Blocks of one page fill its bucket and make it move. */
	for (uint64_t n = 0; !load_acquire(&stop); n++) {
		uint64_t page = 0x500000000000 + ((uint64_t)(uintptr_t)arg << 32) + n % 512 * 4096;
		struct origin o = ORIGIN_HERE();

		for (uint64_t k = 0; k < 64; k++)
			event_heap(t_self, page + 16 * k, 8 + random_next(&seed) % 8, &o,
			           unwind_guess(t_self, &o));
		for (uint64_t k = 0; k < 64; k++)
			assert_true(event_free(t_self, page + 16 * k, LEDGER_HEAP));
	}
	return NULL;
}

static void profiles_of_a_moving_target(void **state)
{
	struct dropin_since since = { 0 };
	pthread_t threads[3];

	(void)state;
	store_release(&stop, false);
	g.multi = g.careful = true;
	dropin_begin(&since);
	make_many(10, 1 << 20, NULL);
	for (uintptr_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
	for (int i = 0; i < 200; i++) {
		struct text whole = taken(DROPIN_GPERFTOOLS, &ever, true);
		struct text session = taken(DROPIN_JEMALLOC, &since, true);

		assert_in_range(whole.head.bytes, 10 << 20, (10 << 20) + 3 * 65 * 16);
		assert_in_range(session.head.bytes, 10 << 20, (10 << 20) + 3 * 65 * 16);
	}
	store_release(&stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(taken(DROPIN_GPERFTOOLS, &ever, true).head.bytes, 10 << 20);
	assert_int_equal(taken(DROPIN_GPERFTOOLS, &since, true).head.bytes, 10 << 20);
	dropin_forget(&since);
}

/* ---- files ---------------------------------------------------------------------------------------- */

static unsigned int files_in(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned int n = 0;

	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void files_are_whole_or_as_they_were(void **state)
{
	struct dropin_profile what = { DROPIN_GPERFTOOLS, &ever, 1u << LEDGER_HEAP, true };
	char dir[] = "/tmp/seep-dropin-XXXXXX", path[64], old[] = "what was there before";
	struct rlimit limit, small;
	struct dropin_totals total;
	struct stat st;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/p.heap", dir);
	make(100);
	assert_int_equal(dropin_write(&what, path, &total), 0);
	assert_int_equal(total.bytes, 100);
	assert_int_equal(total.stacks, 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0111, 0);

	/* Another one over it. */
	make(100);
	assert_int_equal(dropin_write(&what, path, &total), 0);
	assert_int_equal(total.bytes, 200);
	assert_int_equal(files_in(dir), 1);

	/* No room: what was there stays, and the signal of ulimit -f does not come. */
	fd = open(path, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, old, sizeof(old)), sizeof(old));
	close(fd);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = limit;
	small.rlim_cur = 512;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	uint64_t mask;
	assert_true(dropin_enter(&mask));
	assert_int_equal(dropin_write(&what, path, &total), -EFBIG);
	dropin_leave(mask);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, sizeof(old));
	assert_int_equal(files_in(dir), 1);

	assert_int_equal(dropin_write(&what, "/dev/full", &total), -ENOSPC);
	assert_int_equal(dropin_write(&what, "", &total), -ENOENT);
	assert_int_equal(dropin_write(&what, dir, &total), -EISDIR);
	assert_int_equal(dropin_write(&what, "/nonexistent/folder/x", &total), -ENOENT);
	unlink(path);
	assert_int_equal(rmdir(dir), 0);
}

/* ---- settings ------------------------------------------------------------------------------------- */

static void conf_is_read_as_jemalloc_reads_it(void **state)
{
	struct dropin_settings start = dropin;

	(void)state;
	jemalloc_options(
		"prof:true,prof_active:false,lg_prof_sample:12,prof_prefix:/tmp/a:b,lg_prof_interval:30");
	assert_true(dropin.prof && !dropin.prof_active);
	assert_int_equal(dropin.lg_sample, 12);
	assert_int_equal(dropin.lg_interval, 30);
	assert_string_equal(dropin.prefix, "/tmp/a:b");
	jemalloc_options("prof:false,lg_prof_interval:-1,prof_prefix:,prof_leak_error:true");
	assert_true(!dropin.prof && dropin.prof_leak && dropin.prof_leak_error);
	assert_int_equal(dropin.lg_interval, -1);
	assert_string_equal(dropin.prefix, "");
	dropin = start;
	/* What jemalloc calls invalid changes nothing. */
	jemalloc_options(
		"prof:1,prof:TRUE,prof:,prof,:true,,,lg_prof_sample:64,lg_prof_sample:x,lg_prof_sample:-1,"
		"lg_prof_sample:99999999999999999999999,proff:true,lg_prof_interval:64,prof_acti:false");
	assert_memory_equal(&dropin, &start, sizeof(start));
	dropin = start;
}

/* Any string at all: only what is meant changes, and nothing is read behind its end. */
static void hostile_settings(void **state)
{
	static const char *const pieces[] = { "prof",
		                              ":",
		                              ",",
		                              "true",
		                              "false",
		                              "prof_prefix",
		                              "lg_prof_sample",
		                              "-1",
		                              "63",
		                              "\xff",
		                              "%s",
		                              "prof_final",
		                              "/",
		                              "_",
		                              "18446744073709551616" };
	struct dropin_settings start = dropin;
	uint64_t seed = 3;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char *conf = NULL;
		size_t n = 0;
		FILE *f = open_memstream(&conf, &n);
		char *exact;

		for (unsigned int k = random_next(&seed) % 40; k--;)
			fputs(pieces[random_next(&seed) % (sizeof(pieces) / sizeof(pieces[0]))], f);
		fclose(f);
		exact = malloc(n + 1);
		memcpy(exact, conf, n + 1);
		jemalloc_options(exact);
		assert_true(dropin.lg_sample < 64 && dropin.lg_interval >= -1 &&
		            dropin.lg_interval < 64);
		assert_true(memchr(dropin.prefix, '\0', sizeof(dropin.prefix)) != NULL);
		free(exact);
		free(conf);
	}
	/* A prefix that does not fit is as if not there. */
	dropin = start;
	char *conf = malloc(20000);

	memset(conf, 'x', 20000);
	memcpy(conf, "prof_prefix:", 12);
	conf[19999] = '\0';
	jemalloc_options(conf);
	assert_string_equal(dropin.prefix, start.prefix);
	free(conf);
	dropin = start;
}

static void numbers(void **state)
{
	static const char *const bad[] = {
		"", "-1", "1k", " 1", "1 ", "0x10", "99999999999999999999999"
	};
	uint64_t v = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(dropin_number(bad[i], &v));
	assert_int_equal(v, 7);
	assert_true(dropin_number("0", &v) && v == 0);
	assert_true(dropin_number("104857600", &v) && v == 104857600);
}

static void variables_of_the_environment(void **state)
{
	char home[4096], none[8], cut[2];
	struct variable v[] = { { "PATH", home, sizeof(home), false },
		                { "SEEP_NO_SUCH_NAME", none, sizeof(none), false },
		                { "PATH", cut, sizeof(cut), false } };

	(void)state;
	none[0] = '\0';
	assert_non_null(getenv("PATH"));
	environ_read(v, 2);
	assert_true(v[0].set && !v[1].set);
	assert_string_equal(home, getenv("PATH"));
	/* One that does not fit is none. */
	cut[0] = '\0';
	environ_read(&v[2], 1);
	assert_false(v[2].set);
	assert_string_equal(cut, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(exact_profiles_say_what_happened, up,
		                                tracker_teardown),
		cmocka_unit_test_setup_teardown(only_the_kinds_asked_for, up, tracker_teardown),
		cmocka_unit_test_setup_teardown(sessions_begin_when_they_begin, up, tracker_teardown),
		cmocka_unit_test_setup_teardown(sampled_profiles_are_biased, up, tracker_teardown),
		cmocka_unit_test_setup_teardown(profiles_of_a_moving_target, up, tracker_teardown),
		cmocka_unit_test_setup_teardown(files_are_whole_or_as_they_were, up,
		                                tracker_teardown),
		cmocka_unit_test(conf_is_read_as_jemalloc_reads_it),
		cmocka_unit_test(hostile_settings),
		cmocka_unit_test(numbers),
		cmocka_unit_test(variables_of_the_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
