/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the files that tests and fuzzers begin with: make_samples SNAPSHOT FUZZ-DIR.
 *
 * tests/data/snapshot-v1.seep was written by this when version 1 was made and must stay as it
 * is: it proves that old snapshots remain readable.  The seeds may be made anew at any time.
 */
#include "capture/capture.h"
#include "capture/snapshot.h"
#include "sample_profile.h"

#include "base/error.h"
#include "wire/ledger.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

static void put(const char *dir, const char *name, uint8_t first, const void *data, size_t n)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert(f);
	fputc(first, f);
	assert(fwrite(data, 1, n, f) == n);
	assert(fclose(f) == 0);
}

/* The unpacked content of a snapshot; returns its size. */
static size_t unpack(const uint8_t *file, uint8_t *raw, size_t size)
{
	struct snapshot_header h;
	size_t n;

	memcpy(&h, file, sizeof(h));
	n = ZSTD_decompress(raw, size, file + sizeof(h), h.packed_size);
	assert(!ZSTD_isError(n));
	return n;
}

static size_t slurp(const char *path, uint8_t *to, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t n;

	assert(f);
	n = fread(to, 1, size, f);
	assert(n > sizeof(struct snapshot_header) && n < size);
	fclose(f);
	return n;
}

/* The sections that a snapshot need not have. */
static void later_sections_seed(const char *dir)
{
	static uint8_t file[1 << 20], raw[1 << 22];
	struct profile *p = sample_profile();
	char path[512];

	snprintf(path, sizeof(path), "%s/snapshot/times.seep", dir);
	assert(profile_add_rss(p, 1000, 1 << 20) && profile_add_rss(p, 2000, 3 << 20));
	for (uint8_t kind = 0; kind < PROF_EVENT_NKINDS; kind++)
		assert(profile_add_event(p, 1000u * kind, kind, kind % 2 ? "text" : NULL));
	p->sites[1].inuse.max_weight = 7;
	p->nmerged = 2;
	assert(!snapshot_write(p, path));
	slurp(path, file, sizeof(file));
	assert(unlink(path) == 0);
	put(dir, "snapshot/later", 2, raw, unpack(file, raw, sizeof(raw)));
	profile_free(p);
}

static void snapshot_seeds(const char *snapshot, const char *dir)
{
	static uint8_t file[1 << 20], raw[1 << 22];
	size_t n = slurp(snapshot, file, sizeof(file)), nraw = unpack(file, raw, sizeof(raw));

	put(dir, "snapshot/file", 0, file, n);
	put(dir, "snapshot/checked", 1, file, n);
	put(dir, "snapshot/sections", 2, raw, nraw);
}

/* One change in each section, and in each field of the header. */
static void ledger_seeds(const char *dir)
{
	char name[64];

	for (uint8_t i = 0; i < LEDGER_NSECTIONS; i++) {
		uint8_t change[] = { 0, 0, 8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 };

		snprintf(name, sizeof(name), "ledger/section-%u", i);
		put(dir, name, i, change, sizeof(change));
	}
	for (uint16_t at = 0; at < 256; at = (uint16_t)(at + 16)) {
		uint8_t change[] = { (uint8_t)at, (uint8_t)(at >> 8), 4, 1, 0, 1, 0 };

		snprintf(name, sizeof(name), "ledger/header-%u", at);
		put(dir, name, LEDGER_NSECTIONS, change, sizeof(change));
	}
	put(dir, "ledger/cut", 13, "\x10\x00\x00", 3);
}

int main(int argc, char **argv)
{
	char path[512];
	struct seep_error *err;
	struct profile *p;

	if (argc != 3) {
		fprintf(stderr, "usage: make_samples SNAPSHOT FUZZ-DIR\n");
		return 2;
	}
	p = sample_profile();
	err = snapshot_write(p, argv[1]);
	if (err) {
		fprintf(stderr, "%s\n", err->message);
		return 1;
	}
	profile_free(p);
	mkdir(argv[2], 0777);
	snprintf(path, sizeof(path), "%s/snapshot", argv[2]);
	mkdir(path, 0777);
	snprintf(path, sizeof(path), "%s/ledger", argv[2]);
	mkdir(path, 0777);
	snapshot_seeds(argv[1], argv[2]);
	later_sections_seed(argv[2]);
	ledger_seeds(argv[2]);
	return 0;
}
