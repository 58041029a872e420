/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger as a file: its geometry, who may use its directory, what happens when there is no room
 * for it.  A full file system must cost records, never the target: no SIGBUS.
 */
#include "tracker.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/error.h"
#include "capture/capture.h"
#include "profile/profile.h"

static void sections_are_whole_pages_side_by_side(void **state)
{
	const struct ledger_header *h = g.hdr;
	uint64_t at = sizeof(*h), sum = at, rounding = 0;
	struct stat st;

	(void)state;
	assert_int_equal(h->magic, LEDGER_MAGIC);
	for (unsigned int i = 0; i < LEDGER_NSECTIONS; i++) {
		assert_int_equal(h->section[i].offset % 4096, 0);
		assert_true(h->section[i].size > 0);
		/* Ordered, disjoint, and no gap but up to the next page. */
		assert_true(h->section[i].offset >= at && h->section[i].offset - at < 4096);
		rounding += h->section[i].offset - at;
		at = h->section[i].offset + h->section[i].size;
		sum += h->section[i].size;
	}
	/* MARKS is behind all others, and no entry of section[]: its place is newer. */
	assert_int_equal(h->marks.offset % 4096, 0);
	assert_true(h->marks.offset >= at && h->marks.offset - at < 4096);
	rounding += h->marks.offset - at;
	at = h->marks.offset + h->marks.size;
	sum += h->marks.size;
	rounding += h->file_size - at;
	assert_int_equal(h->file_size, sum + rounding);
	assert_true(rounding < 4096 * (LEDGER_NSECTIONS + 1));
	assert_int_equal(h->file_size % 4096, 0);
	assert_int_equal(stat(g.ledger_path, &st), 0);
	assert_int_equal(st.st_size, h->file_size);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void sections_hold_what_the_header_promises(void **state)
{
	const struct ledger_header *h = g.hdr;
	uint64_t sites = h->max_sites, shards = h->nshards;

	(void)state;
	assert_true(sites >= 1 && sites <= 1u << 24); /* a record has 24 bits for it */
	assert_true(shards >= 2);
	assert_int_equal(h->section[LEDGER_SITES].size, sites * sizeof(struct ledger_site));
	assert_int_equal(h->section[LEDGER_COUNTERS].size,
	                 sites * shards * sizeof(struct ledger_counters));
	assert_int_equal(h->section[LEDGER_TAILS].size, sites * shards * sizeof(struct ledger_tail));
	assert_int_equal(h->section[LEDGER_CLASSES].size,
	                 shards * LEDGER_SIZE_CLASSES * sizeof(struct ledger_class));
	assert_int_equal(h->section[LEDGER_PEAK].size, 2 * sites * sizeof(struct ledger_peak));
	assert_int_equal(h->section[LEDGER_ROOT].size, LEDGER_ROOT_SLOTS * sizeof(uint64_t));
	assert_int_equal(h->section[LEDGER_THREADS].size,
	                 LEDGER_MAX_THREADS * sizeof(struct ledger_thread));
	assert_int_equal(h->section[LEDGER_DIR].size % (LEDGER_DIR_SLOTS * sizeof(uint64_t)), 0);
	assert_int_equal(g.max_dirs * LEDGER_DIR_SLOTS * sizeof(uint64_t),
	                 h->section[LEDGER_DIR].size);
	assert_int_equal(g.max_buckets * sizeof(struct ledger_block),
	                 h->section[LEDGER_BUCKETS].size);
	/* As much smaller as the others where address space is short. */
	assert_int_equal(h->marks.size,
	                 LEDGER_MAX_MARKS * sites / (1 << 19) * sizeof(struct ledger_mark));
	/* A DIR word has 48 bits for a slot, a node's key 16 for a module. */
	assert_true(g.max_buckets < 1ull << 48);
	assert_true(g.max_modules < 1u << 16);
}

static void an_empty_ledger_takes_little_room(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(g.ledger_path, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 < 256 << 10);
}

static void it_says_whose_it_is(void **state)
{
	struct profile *p = tracker_read();

	(void)state;
	assert_int_equal(p->pid, getpid());
	assert_int_equal(p->ppid, getppid());
	assert_non_null(strstr(p->exe, "test_track_ledger_file"));
	assert_non_null(strstr(p->command, "test_track_ledger_file"));
	assert_true(p->live);
	assert_false(p->sampled);
	profile_free(p);
	ledger_finish(LEDGER_EXITED);
	p = tracker_read();
	assert_false(p->killed);
	profile_free(p);
}

/* One program after another in the same process: each has a file of its own, the earlier says that it went on. */
static void programs_of_one_process_are_numbered(void **state)
{
	char first[sizeof(g.ledger_path)];
	uint8_t *old = g.ledger;
	uint64_t size = g.ledger_size;
	struct ledger_header *h = g.hdr;

	(void)state;
	strcpy(first, g.ledger_path);
	assert_int_equal(h->exec_seq, 0);
	assert_true(ledger_create(false));
	assert_string_not_equal(g.ledger_path, first);
	assert_int_equal(g.hdr->exec_seq, 1);
	assert_int_equal(h->state, LEDGER_EXECED);
	assert_true(h->end_mono_ns >= h->start_mono_ns);
	sys_munmap(old, size);
	assert_int_equal(unlink(first), 0);
}

static void storage_is_given_inside_the_ledger_only(void **state)
{
	uint8_t *end = g.ledger + g.ledger_size;

	(void)state;
	assert_true(ledger_ensure(end - 4096, 4096));
	end[-1] = 1;
	assert_false(ledger_ensure(end - 4096, 4097));
	assert_false(ledger_ensure(end, 1));
	assert_false(ledger_ensure(g.ledger - 1, 1));
	assert_false(ledger_ensure(end - 1, UINT64_MAX - 8192));
}

static void a_section_grows_to_its_size_and_not_beyond(void **state)
{
	struct growing gr = { .base = (uint8_t *)g.nodes, .size = 100 * 4096 + 100, .step = 8192 };

	(void)state;
	for (uint64_t n = 1; n <= gr.size; n += 1000) {
		assert_true(growing_need(&gr, n));
		assert_true(gr.ready >= n && gr.ready <= gr.size);
		gr.base[n - 1] = 1;
	}
	assert_true(growing_need(&gr, gr.size));
	gr.base[gr.size - 1] = 1;
	assert_false(growing_need(&gr, gr.size + 1));
	assert_int_equal(tracker_losses(), 0);
}

/* ---- who may prepare the directory -------------------------------------------------------- */

static void a_link_is_no_directory(void **state)
{
	struct tracker old = g;
	char link[320];

	(void)state;
	snprintf(link, sizeof(link), "%s.link", g.ledger_path);
	assert_int_equal(symlink("/tmp", link), 0);
	assert_true(strlen(link) < sizeof(opt.dir));
	strcpy(opt.dir, link);
	assert_false(ledger_create(false));
	assert_int_equal(unlink(link), 0);
	strcpy(opt.dir, "/nonexistent/folder");
	assert_false(ledger_create(false));
	strcpy(opt.dir, "/dev/null");
	assert_false(ledger_create(false));
	g = old;
}

/* ---- no room ---------------------------------------------------------------------------------- */

/* With a limited address space everything is smaller, not absent. */
static void a_small_address_space_gets_a_smaller_ledger(void **state)
{
	struct tracker old = g;
	struct rlimit before, limit;
	uint64_t full = g.ledger_size;
	bool made;

	(void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip(); /* their shadow is larger than any limit */
#endif
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	limit = before;
	limit.rlim_cur = full + (4ull << 30); /* the old one is still mapped */
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	made = ledger_create(false);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_true(made);
	assert_true(g.ledger_size < 4ull << 30);
	sections_are_whole_pages_side_by_side(state);
	sections_hold_what_the_header_promises(state);
	sys_munmap(g.ledger, g.ledger_size);
	assert_int_equal(unlink(g.ledger_path), 0);
	g = old;
}

static char mounted[64];

static int unmount(void **state)
{
	if (mounted[0]) {
		umount2(mounted, MNT_DETACH);
		rmdir(mounted);
		mounted[0] = '\0';
	}
	return 0;
}

static bool mount_tmpfs(const char *size)
{
	strcpy(mounted, "/tmp/seep-test-full-XXXXXX");
	assert_non_null(mkdtemp(mounted));
	if (mount("seep-test", mounted, "tmpfs", 0, size) == 0)
		return true;
	print_message("cannot mount a tmpfs: %s\n", strerror(errno));
	rmdir(mounted);
	mounted[0] = '\0';
	return false;
}

/* A file system that holds the first pages, and soon no more. */
static void a_full_file_system_costs_records_only(void **state)
{
	unsigned int kept = 0, lost_blocks = 0, found = 0;
	struct ledger_block b;
	struct statfs fs;
	struct profile *p;
	char dir[80];

	(void)state;
	tracker_down();
	if (!mount_tmpfs("size=2m")) {
		tracker_up();
		skip();
	}
	snprintf(dir, sizeof(dir), "%s/ledgers", mounted);
	tracker_up_in(dir);
	for (unsigned int i = 0; i < 200000; i++) {
		uint64_t pcs[2] = { 0x1000 + 16 * (i % 5000), 0x8000 };
		bool is_new;
		uint32_t site = site_intern(t_self, pcs, 2, LEDGER_HEAP, 0, &is_new);

		if (live_add(0x100000000 + 32ull * i, LEDGER_BLOCK_VALID, (uint64_t)site << 40 | i))
			kept++;
		else
			lost_blocks++;
	}
	assert_int_equal(statfs(mounted, &fs), 0);
	assert_int_equal(fs.f_bavail, 0);
	assert_true(kept > 10000 && lost_blocks > 10000);
	assert_int_equal(g.hdr->losses[LOSS_LIVE_FULL], lost_blocks);
	assert_true(g.hdr->losses[LOSS_NO_SPACE] > 0);
	/* What was recorded is all there, for the tracker and for a reader. */
	p = tracker_read();
	assert_int_equal(p->nblocks, kept);
	profile_free(p);
	for (unsigned int i = 0; i < 200000; i++) {
		if (live_take(0x100000000 + 32ull * i, LEDGER_HEAP, &b)) {
			assert_int_equal(LEDGER_BLOCK_SIZE(b.body), i);
			found++;
		}
	}
	assert_int_equal(found, kept);
	tracker_down();
	unmount(NULL);
	tracker_up();
}

/* Not even the first pages: no ledger, no file left behind, and the caller is told. */
static void no_room_at_all_means_no_ledger(void **state)
{
	struct tracker old = g;
	char full[80];
	FILE *f;

	(void)state;
	if (!mount_tmpfs("size=64k"))
		skip();
	snprintf(full, sizeof(full), "%s/full", mounted);
	f = fopen(full, "w");
	assert_non_null(f);
	for (unsigned int i = 0; i < 1 << 17; i++)
		fputc('x', f);
	fclose(f);
	strcpy(opt.dir, mounted);
	assert_false(ledger_create(false));
	assert_int_not_equal(access(g.ledger_path, F_OK), 0);
	assert_null(g.hdr);
	g = old;
	unmount(NULL);
}

static int after_mounts(void **state)
{
	unmount(state);
	return tracker_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, tracker_setup, after_mounts)
		T(sections_are_whole_pages_side_by_side),
		T(sections_hold_what_the_header_promises),
		T(an_empty_ledger_takes_little_room),
		T(it_says_whose_it_is),
		T(programs_of_one_process_are_numbered),
		T(storage_is_given_inside_the_ledger_only),
		T(a_section_grows_to_its_size_and_not_beyond),
		T(a_link_is_no_directory),
		T(a_small_address_space_gets_a_smaller_ledger),
		T(a_full_file_system_costs_records_only),
		T(no_room_at_all_means_no_ledger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
