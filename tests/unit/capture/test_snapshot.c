/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: nothing is lost, nothing damaged is believed, old versions stay readable. */
#include "capture/capture.h"
#include "capture/snapshot.h"
#include "sample_profile.h"

#include "base/error.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[96];
static const char *data_dir;

static unsigned int files_in_dir(void)
{
	DIR *d = opendir(dir);
	unsigned int n = 0;
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static struct profile *must_read(const char *file)
{
	struct profile *p = NULL;
	struct seep_error *err = snapshot_read(file, &p);

	if (err)
		fail_msg("%s", err->message);
	return p;
}

static void must_write(const struct profile *p)
{
	struct seep_error *err = snapshot_write(p, path);

	if (err)
		fail_msg("%s", err->message);
}

static void must_fail(const char *words)
{
	struct profile *p = NULL;
	struct seep_error *err = snapshot_read(path, &p);

	assert_null(p);
	assert_non_null(err);
	if (!strstr(err->message, words))
		fail_msg("'%s' does not say '%s'", err->message, words);
	seep_error_free(err);
}

static uint8_t *slurp(const char *file, size_t *ret_n)
{
	FILE *f = fopen(file, "r");
	uint8_t *data = malloc(1 << 20);

	assert_non_null(f);
	assert_non_null(data);
	*ret_n = fread(data, 1, 1 << 20, f);
	fclose(f);
	return data;
}

static void spill(const void *data, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static void loses_nothing(void **state)
{
	struct profile *p = sample_profile(), *q;
	const char *what;
	struct stat st;

	p->nmerged = 3;
	must_write(p);
	q = must_read(path);
	what = profile_difference(p, q);
	if (what)
		fail_msg("%s differs", what);
	assert_string_equal(q->source, path);
	assert_string_equal(q->format, "seep snapshot");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(files_in_dir(), 1);
	profile_free(p);
	profile_free(q);
}

static void holds_an_empty_profile(void **state)
{
	struct profile *p = profile_new(), *q;

	must_write(p);
	q = must_read(path);
	assert_null(profile_difference(p, q));
	profile_free(p);
	profile_free(q);
}

/* What no lifetimes are known of has none afterwards either, and neither has what only has zeros. */
static void holds_sites_without_lifetimes(void **state)
{
	struct profile *p = sample_profile(), *q, *zeros;

	for (size_t i = 0; i < PROF_LIFE_BUCKETS; i++) {
		free(p->lifetimes[i]);
		p->lifetimes[i] = NULL;
	}
	must_write(p);
	q = must_read(path);
	assert_null(profile_difference(p, q));
	for (size_t i = 0; i < PROF_LIFE_BUCKETS; i++)
		assert_null(q->lifetimes[i]);
	assert_int_equal(q->nsites, 4);
	p->lifetimes[PROF_LIFE_BUCKETS - 1] = calloc(p->nsites, sizeof(uint64_t));
	assert_non_null(p->lifetimes[PROF_LIFE_BUCKETS - 1]);
	must_write(p);
	zeros = must_read(path);
	assert_null(profile_difference(zeros, q));
	p->lifetimes[PROF_LIFE_BUCKETS - 1][3] = 1;
	must_write(p);
	profile_free(q);
	q = must_read(path);
	assert_null(profile_difference(p, q));
	profile_free(p);
	profile_free(q);
	profile_free(zeros);
}

/* The largest weights lie in sections of their own, which earlier snapshots lack and earlier readers skip. */
static void holds_largest_weights(void **state)
{
	struct profile *p = sample_profile(), *q;

	for (size_t i = 0; i < p->nsites; i++) {
		p->sites[i].alloc.max_weight = (double)i * 1000 + 0.1;
		p->sites[i].freed.max_weight = (double)i * 900 + 0.2;
		p->sites[i].inuse.max_weight = (double)i * 800 + 0.3;
		p->sites[i].peak.max_weight = (double)i * 700 + 0.4;
	}
	p->cells[2].inuse.max_weight = 1e9 / 7;
	must_write(p);
	q = must_read(path);
	assert_null(profile_difference(p, q));
	profile_free(q);
	q = must_read(path);
	q->sites[3].peak.max_weight = 1;
	assert_non_null(profile_difference(p, q));
	profile_free(p);
	profile_free(q);
}

static void refuses_weights_that_belong_to_nothing(void **state)
{
	/* each: id, length, number of records, columns of zeros; behind the sections of a sound snapshot */
	static const uint8_t sites_only[] = { SNAP_SITE_WEIGHTS, 17, 4 },
			     cells_only[] = { SNAP_CELL_WEIGHTS, 4, 3 },
			     too_few_sites[] = { SNAP_SITE_WEIGHTS, 13, 3 },
			     too_few_cells[] = { SNAP_CELL_WEIGHTS, 3, 2 };
	static const struct {
		const uint8_t *first, *second;
		bool fine;
	} cases[] = {
		{ sites_only, cells_only, true },     { cells_only, sites_only, true },
		{ sites_only, NULL, false },          { NULL, cells_only, false },
		{ too_few_sites, cells_only, false }, { sites_only, too_few_cells, false },
		{ sites_only, sites_only, false },
	};
	char file[512];
	uint8_t *data;
	size_t n;

	snprintf(file, sizeof(file), "%s/fuzz/snapshot/sections", data_dir);
	data = slurp(file, &n);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const uint8_t *parts[] = { cases[i].first, cases[i].second };
		size_t at = n - 1; /* over SNAP_END */
		struct profile *p = NULL;
		struct seep_error *err;

		assert_int_equal(data[n - 1], SNAP_END);
		for (unsigned int k = 0; k < 2; k++) {
			if (!parts[k])
				continue;
			memcpy(data + at, parts[k], 3);
			memset(data + at + 3, 0, parts[k][1] - 1u);
			at += 2u + parts[k][1];
		}
		data[at++] = SNAP_END;
		err = snapshot_decode(data + 1, at - 1, "x", &p);
		assert_int_equal(err == NULL, cases[i].fine);
		seep_error_free(err);
		profile_free(p);
		data[n - 1] = SNAP_END;
	}
	free(data);
}

/* Resident memory and events lie in sections of their own too, each on its own. */
static void holds_what_happened_over_time(void **state)
{
	for (unsigned int which = 0; which < 4; which++) {
		struct profile *p = sample_profile(), *q;

		if (which & 1) {
			assert_true(profile_add_rss(p, 5000000000, 1ull << 40));
			assert_true(profile_add_rss(p, 1, 4096));
			assert_true(profile_add_rss(p, 5000000000, 0));
		}
		if (which & 2) {
			assert_true(profile_add_event(p, 77, PROF_EVENT_KILLED, "by the kernel"));
			assert_true(profile_add_event(p, 7, PROF_EVENT_SNAPSHOT, NULL));
			assert_true(profile_add_event(p, 77, PROF_EVENT_LOAD, ""));
		}
		must_write(p);
		q = must_read(path);
		assert_null(profile_difference(p, q));
		assert_int_equal(q->nrss, which & 1 ? 3 : 0);
		assert_int_equal(q->nevents, which & 2 ? 3 : 0);
		if (which == 3) {
			assert_int_equal(q->rss[0].bytes, 4096);
			assert_int_equal(q->rss[2].bytes, 0);
			assert_int_equal(q->events[1].kind, PROF_EVENT_KILLED);
			assert_string_equal(q->events[1].text, "by the kernel");
			assert_null(q->events[0].text);
		}
		profile_free(p);
		profile_free(q);
	}
}

/* Sections of hand-made bytes behind those of a sound snapshot; what they must read as. */
static void judges_times_and_kinds(void **state)
{
	/* id, length, number of records, then the columns; a time is a zigzag difference */
	static const struct {
		uint8_t bytes[16], n;
		bool fine;
		size_t nrss, nevents;
	} cases[] = {
		{ { SNAP_RSS, 5, 2, 20, 2, 8, 8 }, 7, true, 2, 0 },
		{ { SNAP_RSS, 5, 2, 20, 1, 8, 8 }, 7, false, 0, 0 }, /* 10, then 9 */
		{ { SNAP_RSS, 5, 9, 20, 2, 8, 8 }, 7, false, 0, 0 },
		{ { SNAP_EVENTS, 6, 1, 20, PROF_EVENT_EXEC, 2, 'x', 0 }, 8, false, 0, 0 },
		{ { SNAP_EVENTS, 5, 1, 20, PROF_EVENT_EXEC, 2, 'x' }, 7, true, 0, 1 },
		/* a kind of a later seep, with a text, beside one that is known */
		{ { SNAP_EVENTS, 8, 2, 20, 2, 200, 1, 2, 'x', 0 }, 10, false, 0, 0 },
		{ { SNAP_EVENTS, 9, 2, 20, 2, 200, 1, 1, 2, 'x', 0 }, 11, true, 0, 1 },
		{ { SNAP_EVENTS, 8, 2, 20, 1, 0, 1, 2, 'x', 0 }, 10, false, 0, 0 }, /* back in time */
	};
	char file[512];
	uint8_t *data;
	size_t n;

	snprintf(file, sizeof(file), "%s/fuzz/snapshot/sections", data_dir);
	data = slurp(file, &n);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct profile *p = NULL;
		struct seep_error *err;

		assert_int_equal(cases[i].bytes[1] + 2, cases[i].n);
		memcpy(data + n - 1, cases[i].bytes, cases[i].n);
		data[n - 1 + cases[i].n] = SNAP_END;
		err = snapshot_decode(data + 1, n + cases[i].n - 1, "x", &p);
		if ((err == NULL) != cases[i].fine)
			fail_msg("case %zu: %s", i, err ? err->message : "was accepted");
		if (p) {
			assert_int_equal(p->nrss, cases[i].nrss);
			assert_int_equal(p->nevents, cases[i].nevents);
		}
		seep_error_free(err);
		profile_free(p);
	}
	free(data);
}

/* Version 1, as it was written when it was made. */
static void reads_version_1(void **state)
{
	struct profile *p = sample_profile(), *q;
	char file[512];

	snprintf(file, sizeof(file), "%s/snapshot-v1.seep", data_dir);
	q = must_read(file);
	p->detached = false; /* it did not say so yet */
	assert_null(profile_difference(p, q));
	profile_free(p);
	profile_free(q);
}

/* The head of a large file is read without the rest of it. */
static void peeks_at_the_head(void **state)
{
	struct profile *p = sample_profile(), *head = NULL;
	struct seep_error *err;
	uint64_t number = 1;
	uint8_t *data;
	size_t n;

	/* more than one block of zstd's */
	free(p->blocks);
	p->nblocks = 50000;
	p->blocks = calloc(p->nblocks, sizeof(*p->blocks));
	assert_non_null(p->blocks);
	for (size_t i = 0; i < p->nblocks; i++) {
		number = number * 6364136223846793005u + 1442695040888963407u;
		p->blocks[i] = (struct prof_block){ .address = number, .size = 8, .weight = 1 };
	}
	must_write(p);
	data = slurp(path, &n);
	assert_true(n > 300000);
	/* damage at the end: a reader of all of it refuses, one of the head does not come that far */
	data[n - 1] ^= 1;
	spill(data, n);
	must_fail("check sum");
	err = snapshot_peek(path, &head);
	if (err)
		fail_msg("%s", err->message);
	assert_int_equal(head->pid, p->pid);
	assert_int_equal(head->exec_seq, p->exec_seq);
	assert_int_equal(head->start_real_ns, p->start_real_ns);
	assert_int_equal(head->duration_ns, p->duration_ns);
	assert_string_equal(head->exe, p->exe);
	assert_string_equal(head->source, path);
	assert_int_equal(head->nsites, 0);
	profile_free(head);
	/* of any part of a file, and of none */
	for (size_t i = 0; i < n; i += i < n - 2000 ? 997 : 1) {
		struct profile *q = NULL;

		data[n - 1 - i] ^= 0x55;
		spill(data, n);
		err = snapshot_peek(path, &q);
		assert_true((err != NULL) == (q == NULL));
		seep_error_free(err);
		profile_free(q);
	}
	assert_non_null(err); /* all of it is damaged now */
	free(data);
	profile_free(p);
}

static void refuses_truncation_anywhere(void **state)
{
	struct profile *p = sample_profile();
	uint8_t *data;
	size_t n;

	must_write(p);
	data = slurp(path, &n);
	for (size_t i = 0; i < n; i++) {
		struct profile *q = NULL;
		struct seep_error *err;

		spill(data, i);
		err = snapshot_read(path, &q);
		assert_non_null(err);
		assert_null(q);
		seep_error_free(err);
	}
	free(data);
	profile_free(p);
}

static void notices_every_flipped_bit(void **state)
{
	struct profile *p = sample_profile();
	uint8_t *data;
	size_t n;

	must_write(p);
	data = slurp(path, &n);
	for (size_t i = 0; i < n * 8; i += 7) {
		struct profile *q = NULL;
		struct seep_error *err;

		data[i / 8] ^= (uint8_t)(1u << i % 8);
		spill(data, n);
		err = snapshot_read(path, &q);
		assert_non_null(err);
		seep_error_free(err);
		data[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	free(data);
	profile_free(p);
}

/* Damage behind a right check sum, as an attacker would make it: an error or a sound profile. */
static void survives_any_sections(void **state)
{
	struct profile *p = NULL;
	char file[512];
	uint8_t *data;
	size_t n;

	snprintf(file, sizeof(file), "%s/fuzz/snapshot/sections", data_dir);
	data = slurp(file, &n);
	assert_null(snapshot_decode(data + 1, n - 1, "x", &p));
	profile_free(p);
	for (size_t i = 1; i < n; i++) {
		for (unsigned int k = 0; k < 3; k++) {
			struct seep_error *err;
			uint8_t good = data[i];

			p = NULL;
			data[i] = (uint8_t)(k == 0 ? good ^ 0x80 : k == 1 ? 0xff : 0);
			err = snapshot_decode(data + 1, n - 1, "x", &p);
			assert_true((err != NULL) == (p == NULL));
			seep_error_free(err);
			profile_free(p);
			data[i] = good;
		}
		/* And cut there. */
		p = NULL;
		seep_error_free(snapshot_decode(data + 1, i - 1, "x", &p));
		assert_null(p);
	}
	free(data);
}

static void says_what_is_wrong(void **state)
{
	struct profile *p = sample_profile();
	struct snapshot_header h;
	uint8_t *data;
	size_t n;

	must_write(p);
	data = slurp(path, &n);
	memcpy(&h, data, sizeof(h));
	spill("hello", 5);
	must_fail("too short");
	spill(data + 8, 100);
	must_fail("not a seep snapshot");
	h.version = 9;
	memcpy(data, &h, sizeof(h));
	spill(data, n);
	must_fail("version 9");
	h.version = SNAPSHOT_VERSION;
	/* A bomb: small, and says that it unpacks to a petabyte. */
	h.raw_size = 1ull << 50;
	h.check = snapshot_check(&h, data + sizeof(h), n - sizeof(h));
	memcpy(data, &h, sizeof(h));
	spill(data, n);
	must_fail("absurd");
	free(data);
	profile_free(p);
}

/* Compresses a thousandfold and more: the file is padded, and read back. */
static void pads_what_is_too_regular(void **state)
{
	struct profile *p = sample_profile(), *q;
	struct snapshot_header h;
	uint8_t *data;
	size_t n = 12000000, file;

	free(p->blocks);
	p->blocks = calloc(n, sizeof(*p->blocks));
	assert_non_null(p->blocks);
	p->nblocks = n;
	for (size_t i = 0; i < n; i++)
		p->blocks[i] = (struct prof_block){ .address = i * 64, .size = 48, .weight = 1 };
	must_write(p);
	data = slurp(path, &file);
	memcpy(&h, data, sizeof(h));
	assert_true(h.raw_size > SNAPSHOT_FREE_SIZE);
	assert_true((h.raw_size - SNAPSHOT_FREE_SIZE) / SNAPSHOT_MAX_RATIO <= h.file_size);
	assert_true(h.packed_size + sizeof(h) < h.file_size);
	q = must_read(path);
	assert_int_equal(q->nblocks, n);
	assert_int_equal(q->blocks[n - 1].address, (n - 1) * 64);
	free(data);
	profile_free(p);
	profile_free(q);
}

/* Not a byte may be written: as a full disk, by a limit, in this process only. */
static void leaves_nothing_on_a_full_disk(void **state)
{
	struct profile *p = sample_profile();
	struct rlimit old, none;
	struct seep_error *err;
	void (*handler)(int);
	unsigned int before;

	unlink(path);
	before = files_in_dir();
	getrlimit(RLIMIT_FSIZE, &old);
	none = old;
	none.rlim_cur = 1000;
	handler = signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &none);
	err = snapshot_write(p, path);
	setrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, handler);
	assert_non_null(err);
	assert_non_null(strstr(err->message, path));
	seep_error_free(err);
	assert_int_equal(files_in_dir(), before);
	err = snapshot_write(p, "/nonexistent/x.seep");
	assert_non_null(err);
	seep_error_free(err);
	err = snapshot_write(p, "/dev/null");
	assert_non_null(strstr(err->message, "not a regular file"));
	seep_error_free(err);
	err = snapshot_write(p, dir);
	assert_non_null(err);
	seep_error_free(err);
	profile_free(p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loses_nothing),
		cmocka_unit_test(holds_an_empty_profile),
		cmocka_unit_test(holds_sites_without_lifetimes),
		cmocka_unit_test(holds_largest_weights),
		cmocka_unit_test(refuses_weights_that_belong_to_nothing),
		cmocka_unit_test(holds_what_happened_over_time),
		cmocka_unit_test(judges_times_and_kinds),
		cmocka_unit_test(reads_version_1),
		cmocka_unit_test(peeks_at_the_head),
		cmocka_unit_test(refuses_truncation_anywhere),
		cmocka_unit_test(notices_every_flipped_bit),
		cmocka_unit_test(survives_any_sections),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(pads_what_is_too_regular),
		cmocka_unit_test(leaves_nothing_on_a_full_disk),
	};
	int r;

	if (argc != 2)
		return 1;
	data_dir = argv[1];
	snprintf(dir, sizeof(dir), "/dev/shm/seep-test-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/x.seep", dir);
	r = cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
	unlink(path);
	rmdir(dir);
	return r;
}
