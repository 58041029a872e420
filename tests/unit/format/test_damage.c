/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that end too early, at every byte: a profile that passes its check, or an error that says where;
 * and when bytes are missing that mean something, never silence.  Compressed files likewise, and bombs.
 */
#include "helpers.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

static const char *const samples[] = {
	"jemalloc.heap", "gperftools.heap",   "gperftools-sampled.heap",
	"massif.out",    "stacks.folded",     "lsan.txt",
	"memcheck.txt",  "memcheck.xml",      "memleak.txt",
	"heaptrack.txt", "heaptrack-raw.txt", "pprof.pb",
};
#define NSAMPLES (sizeof(samples) / sizeof(samples[0]))

/* A place: "line 12", "byte 34". */
static bool names_a_place(const char *s)
{
	for (; *s; s++) {
		const char *p = !strncmp(s, "line ", 5) || !strncmp(s, "byte ", 5) ? s + 5 : NULL;

		if (p && *p >= '0' && *p <= '9')
			return true;
	}
	return false;
}

/* Reads the first n bytes; false: it was silent about anything missing. */
static bool read_part(const struct format *format, const struct file *f, size_t n)
{
	/* a copy of its own, so that a sanitizer sees every byte read beyond the end */
	char *part = malloc(n ? n : 1);
	struct profile *p = NULL;
	char **warnings = NULL;
	struct seep_error *err;
	bool said = false;

	memcpy(part, f->data, n);
	err = format_read_memory(part, n, "part", format, &p, &warnings);
	if (err) {
		assert_null(p);
		said = names_a_place(err->message) || strstr(err->message, "it ") ||
		       strstr(err->message, "there is");
		if (!said)
			fail_msg("%zu bytes of %s: %s", n, format->name, err->message);
	} else {
		assert_null(profile_check(p));
		for (size_t i = 0; warnings && warnings[i]; i++)
			said |= names_a_place(warnings[i]);
	}
	seep_error_free(err);
	format_free_warnings(warnings);
	profile_free(p);
	free(part);
	return said;
}

static size_t may_be_silent(const struct file *f)
{
	const char *summary = memmem(f->data, f->len, "SUMMARY: ", 9);
	size_t n = 0;

	summary = summary ? summary : memmem(f->data, f->len, "LEAK SUMMARY:", 13);
	for (size_t i = 0; i < f->len; i++)
		n += f->data[i] == '\n';
	return n + (summary ? (size_t)(f->data + f->len - summary) : 0) + 1;
}

static void every_byte(void **state)
{
	for (size_t i = 0; i < NSAMPLES; i++) {
		struct file f = sample(samples[i]);
		const struct format *format = format_probe(f.data, f.len);
		size_t silent = 0;

		assert_non_null(format);
		for (size_t n = 0; n < f.len; n++)
			silent += !read_part(format, &f, n);
		/*
		 * Cut just behind a line, a file of a format without an end mark is a shorter file; so is a report
		 * once its summary has begun.  Everywhere else something must be said.
		 */
		assert_in_range(silent, 0, may_be_silent(&f));
		file_free(&f);
	}
}

/* A massif file cut between two lines says so, unless that is between two snapshots. */
static void massif_lines(void **state)
{
	static const char next[] = "#-----------\nsnapshot=";
	const struct format *format = format_by_name("massif");
	struct file f = sample("massif.out");
	size_t cuts = 0;

	for (size_t n = 1; n < f.len; n++) {
		if (f.data[n - 1] != '\n')
			continue;
		if (f.len - n >= strlen(next) && !memcmp(f.data + n, next, strlen(next)))
			continue;
		if (!read_part(format, &f, n))
			fail_msg("cut after %zu bytes: read without a word", n);
		cuts++;
	}
	assert_in_range(cuts, 20, f.len);
	file_free(&f);
}

/* Any one byte damaged: no crash, nothing unsound. */
static void every_flip(void **state)
{
	for (size_t i = 0; i < NSAMPLES; i++) {
		struct file f = sample(samples[i]);
		const struct format *format = format_probe(f.data, f.len);

		for (size_t n = 0; n < f.len; n++) {
			static const char values[] = { 0, '\n', ' ', '9', '-', '\x7f', '\xff' };
			char old = f.data[n];

			for (size_t k = 0; k < sizeof(values); k++) {
				struct profile *p = NULL;
				struct seep_error *err;

				f.data[n] = values[k];
				err = format_read_memory(f.data, f.len, "flipped", format, &p, NULL);
				if (!err)
					assert_null(profile_check(p));
				seep_error_free(err);
				profile_free(p);
			}
			f.data[n] = old;
		}
		file_free(&f);
	}
}

/* Every reader over every other format's file. */
static void every_reader(void **state)
{
	for (size_t i = 0; i < NSAMPLES; i++) {
		struct file f = sample(samples[i]);

		for (size_t k = 0; formats[k]; k++) {
			struct profile *p = NULL;
			struct seep_error *err;

			if (!formats[k]->read)
				continue;
			err = format_read_memory(f.data, f.len, samples[i], formats[k], &p, NULL);
			if (!err)
				assert_null(profile_check(p));
			seep_error_free(err);
			profile_free(p);
		}
		file_free(&f);
	}
}

static size_t pack(bool zstd, const struct file *f, char *to, size_t cap)
{
	z_stream z = { 0 };

	if (zstd)
		return ZSTD_compress(to, cap, f->data, f->len, 3);
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, 0), Z_OK);
	z.next_in = (Bytef *)f->data;
	z.avail_in = (uInt)f->len;
	z.next_out = (Bytef *)to;
	z.avail_out = (uInt)cap;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	cap -= z.avail_out;
	deflateEnd(&z);
	return cap;
}

static void compressed(void **state)
{
	for (int zstd = 0; zstd < 2; zstd++) {
		struct file f = sample("heaptrack.txt");
		char packed[8192];
		size_t n = pack(zstd, &f, packed, sizeof(packed)), warnings;
		struct profile *p = read_bytes(packed, n, "packed", NULL);

		assert_int_equal(p->sites[0].alloc.bytes, 3000);
		profile_free(p);
		/* two members or frames, the second the rest of the first */
		memmove(packed + n, packed, n);
		p = read_bytes(packed, 2 * n, "packed twice", &warnings);
		assert_int_equal(p->sites[0].alloc.blocks, 6);
		profile_free(p);
		for (size_t cut = 4; cut < n; cut++) {
			struct file part = { packed, cut };
			const struct format *format = format_by_name("heaptrack");

			assert_true(read_part(format, &part, cut));
		}
		file_free(&f);
	}
}

/* The header of a frame that wants a window of 2 GB: refused before anything is allocated, and not called damaged. */
static void zstd_window(void **state)
{
	static const uint8_t frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00 };
	struct profile *p = NULL;
	struct seep_error *err = format_read_memory(frame, sizeof(frame), "packed", NULL, &p, NULL);

	assert_non_null(err);
	assert_non_null(strstr(err->message, "zstd -d --long=31"));
	seep_error_free(err);
}

struct told {
	uint64_t calls, last, total;
};

static void tell(void *arg, uint64_t done, uint64_t total)
{
	struct told *t = arg;

	assert_true(done >= t->last && done <= total);
	t->calls++;
	t->last = done;
	t->total = total;
}

/* Lines of all lengths, some longer than the window, across its borders: none is lost, none is split. */
static void windows(void **state)
{
	static const char path[] = "/dev/shm/seep-test-windows.folded";
	struct buf text = { 0 };
	uint64_t sum = 0, lines = 0;
	struct profile *p = NULL;
	struct told told = { 0 };
	FILE *f;

	for (uint64_t n = 0; text.len < 5 << 20; n++) {
		size_t pad = n % 500 == 499 ? 300000 + n : n * 37 % 997;

		buf_printf(&text, "main;f%llu;", (unsigned long long)n);
		buf_reserve(&text, pad);
		for (size_t i = 0; i < pad; i++)
			buf_putc(&text, 'x');
		buf_printf(&text, " %llu%s", (unsigned long long)n, n % 3 ? "\n" : "\r\n");
		sum += n;
		lines += n > 0;
	}
	assert_false(text.failed);
	p = read_bytes(text.data, text.len, "windows", NULL);
	assert_int_equal(profile_totals(p, -1).inuse.bytes, sum);
	assert_int_equal(p->nsites, lines + 1);
	profile_free(p);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text.data, 1, text.len, f), text.len);
	fclose(f);
	assert_null(format_read_file(path, tell, &told, &p, NULL));
	unlink(path);
	assert_int_equal(profile_totals(p, -1).inuse.bytes, sum);
	assert_int_equal(told.last, text.len);
	assert_int_equal(told.total, text.len);
	assert_in_range(told.calls, 5, 8);
	profile_free(p);
	buf_release(&text);
}

/* A few KiB that want to be gigabytes: stopped, said, and read as far as it went. */
static void bomb(void **state)
{
	size_t block = 64 << 20, n = 0;
	char *zeros = malloc(block), *packed = malloc(1 << 20);
	struct profile *p = NULL;
	struct seep_error *err;

	memset(zeros, 'a', block);
	for (size_t i = 1; i <= block >> 20; i++)
		zeros[(i << 20) - 1] = '\n';
	for (int i = 0; i < 20; i++)
		n += ZSTD_compress(packed + n, (1 << 20) - n, zeros, block, 19);
	free(zeros);
	assert_in_range(n, 1, 512 << 10);
	err = format_read_memory(packed, n, "bomb", format_by_name("massif"), &p, NULL);
	assert_non_null(err);
	assert_non_null(strstr(err->hint, "absurd size"));
	seep_error_free(err);
	free(packed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte), cmocka_unit_test(massif_lines),
		cmocka_unit_test(every_flip), cmocka_unit_test(every_reader),
		cmocka_unit_test(compressed), cmocka_unit_test(zstd_window),
		cmocka_unit_test(windows),    cmocka_unit_test(bomb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
