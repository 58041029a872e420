/* SPDX-License-Identifier: Apache-2.0 */
/* Leak records: grouping, what blocks are, fingerprints and baselines, over a made image. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "analysis/leaks.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "heap/heap.h"
#include "proc/image.h"
#include "proc/image_fake.h"
#include "profile/profile.h"
#include "sym/data.h"
#include "sym/sym.h"
#include "synth.h"

#define HEAP 0x10000000u
#define MODULE 0x20000000u
#define EVERY ((1u << REACH_NCLASSES) - 1)

extern int seep_test_data_symbol[3];
int seep_test_data_symbol[3] = { 1, 2, 3 };

struct scene {
	struct image *img;
	unsigned char *heap;
	struct block blocks[64];
	size_t n;
	struct reach reach;
};

/* A module with the type_info and the vtable of app::Item at MODULE + 0x100. */
static void scene_init(struct scene *s)
{
	char *module;

	*s = (struct scene){ .img = image_fake_new() };
	assert_non_null(s->img);
	s->heap = image_fake_map(s->img, HEAP, 0x10000, IMAGE_READ | IMAGE_WRITE, "[heap]");
	module = image_fake_map(s->img, MODULE, 0x1000, IMAGE_READ, "/nonexistent/app");
	assert_true(s->heap && module);
	assert_non_null(image_fake_module(s->img, "/nonexistent/app", MODULE, MODULE + 0x1000));
	assert_true(image_fake_poke(s->img, MODULE + 0x0f0, 0)); /* offset to top */
	assert_true(image_fake_poke(s->img, MODULE + 0x0f8, MODULE + 0x200));
	assert_true(image_fake_poke(s->img, MODULE + 0x100, MODULE + 0x800)); /* a virtual function */
	assert_true(image_fake_poke(s->img, MODULE + 0x200, MODULE + 0x300)); /* type_info */
	assert_true(image_fake_poke(s->img, MODULE + 0x208, MODULE + 0x400));
	strcpy(module + 0x400, "N3app4ItemE");
}

static void scene_release(struct scene *s)
{
	image_free(s->img);
	free(s->reach.leaders);
}

static void put(struct scene *s, uint64_t offset, uint64_t size, enum reach_class class,
                uint32_t site)
{
	s->blocks[s->n++] = (struct block){
		.address = HEAP + offset,
		.size = size,
		.site = site,
		.flags = (uint16_t)((unsigned int)class << BLOCK_CLASS_SHIFT |
		                    (site ? BLOCK_RECORDED : 0u)),
	};
}

static void lead(struct scene *s, uint32_t block, uint64_t blocks, uint64_t bytes, bool cycle)
{
	struct reach_leader *l = realloc(s->reach.leaders, (s->reach.nleaders + 1) * sizeof(*l));

	assert_non_null(l);
	s->reach.leaders = l;
	l[s->reach.nleaders++] = (struct reach_leader){ block, blocks, bytes, cycle };
}

static struct leaks leaks_of(struct scene *s, const struct profile *p, unsigned int classes)
{
	struct leaks_options o = { .classes = classes };
	struct leaks l = { 0 };

	assert_null(leaks_make(s->img, s->blocks, s->n, &s->reach, p, &o, &l));
	return l;
}

static void by_content_without_a_ledger(void **state)
{
	struct scene s;
	struct leaks l;

	scene_init(&s);
	put(&s, 0x000, 64, REACH_DEFINITE, 0); /* objects */
	put(&s, 0x100, 128, REACH_DEFINITE, 0);
	assert_true(image_fake_poke(s.img, HEAP, MODULE + 0x100));
	assert_true(image_fake_poke(s.img, HEAP + 0x100, MODULE + 0x100));
	put(&s, 0x200, 32, REACH_DEFINITE, 0); /* one in a list's node */
	assert_true(image_fake_poke(s.img, HEAP + 0x200, HEAP));
	assert_true(image_fake_poke(s.img, HEAP + 0x210, MODULE + 0x100));
	put(&s, 0x300, 40, REACH_DEFINITE, 0); /* text */
	strcpy((char *)s.heap + 0x300, "tab\t\"quote\" and more than thirty-two");
	put(&s, 0x400, 24, REACH_DEFINITE, 0);
	strcpy((char *)s.heap + 0x400, "caf\xc3\xa9");
	put(&s, 0x500, 48, REACH_DEFINITE, 0); /* zero, twice, and of another size */
	put(&s, 0x600, 48, REACH_DEFINITE, 0);
	put(&s, 0x700, 56, REACH_DEFINITE, 0);
	put(&s, 0x800, 16, REACH_DEFINITE, 0); /* who knows: three characters are no text */
	strcpy((char *)s.heap + 0x800, "abc");
	put(&s, 0x900, 16, REACH_INDIRECT, 0); /* not asked for */
	put(&s, 0xa00, 16, REACH_DEFINITE, 0);
	s.blocks[s.n - 1].flags |= BLOCK_INTERNAL;
	l = leaks_of(&s, NULL, 1u << REACH_DEFINITE);
	assert_int_equal(l.n, 6);
	assert_int_equal(l.records[0].content, CONTENT_VTABLE);
	assert_string_equal(l.records[0].what, "app::Item");
	assert_int_equal(l.records[0].blocks, 2);
	assert_int_equal(l.records[0].bytes, 192);
	assert_int_equal(l.records[0].min_size, 64);
	assert_int_equal(l.records[0].max_size, 128);
	assert_int_equal(l.records[0].addresses[1], HEAP + 0x100);
	assert_false(l.records[0].before);
	assert_int_equal(l.records[1].content, CONTENT_ZERO);
	assert_int_equal(l.records[1].bytes, 96);
	assert_int_equal(l.records[2].content, CONTENT_TEXT);
	assert_int_equal(l.records[2].blocks, 2);
	assert_string_equal(l.records[2].what, "tab\\t\\\"quote\\\" and more than thirty…");
	assert_int_equal(l.records[3].bytes, 56);
	assert_string_equal(l.records[4].what, "app::Item at +16");
	assert_int_equal(l.records[5].content, CONTENT_UNKNOWN);
	leaks_release(&l);
	scene_release(&s);
}

static void by_stack_with_a_ledger(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("./app");
	uint32_t m = synth_module(p, "/opt/app", 0, 1);
	uint32_t root = synth_frame(p, 0, m, 0x10, "main", "/src/main.c", 5);
	uint32_t a = synth_frame(p, root, m, 0x20, "make", "/src/make.c", 7);
	uint32_t b = synth_frame(p, root, m, 0x30, "other", "/src/make.c", 70);
	uint32_t unknown = synth_site(p, 0, PROF_HEAP, 64, 1, 0); /* site 0, as in a ledger */
	uint32_t site_a = synth_site(p, a, PROF_HEAP, 64, 10, 0);
	uint32_t site_b = synth_site(p, b, PROF_HEAP, 64, 10, 0);
	struct scene s;
	struct leaks l;

	assert_int_equal(unknown, 0);
	scene_init(&s);
	for (uint32_t i = 0; i < 10; i++)
		put(&s, 0x100 * i, 64, REACH_DEFINITE, i % 2 ? site_a : site_b);
	put(&s, 0x2000, 100, REACH_POSSIBLE, site_a);
	put(&s, 0x3000, 72, REACH_DEFINITE, 0);
	lead(&s, 1, 3, 1000, true);
	lead(&s, 3, 2, 500, false);
	l = leaks_of(&s, p, EVERY);
	assert_int_equal(l.n, 4);
	assert_int_equal(l.records[0].site, site_a);
	assert_int_equal(l.records[0].blocks, 5);
	assert_int_equal(l.records[0].bytes, 320);
	assert_int_equal(l.records[0].indirect_blocks, 5);
	assert_int_equal(l.records[0].indirect_bytes, 1500);
	assert_int_equal(l.records[0].cycles, 1);
	assert_int_equal(l.records[0].naddresses, 5);
	assert_int_equal(l.records[0].addresses[0], HEAP + 0x100);
	assert_int_equal(l.records[1].site, site_b);
	assert_int_equal(l.records[2].class, REACH_POSSIBLE);
	assert_int_equal(l.records[3].site, 0);
	assert_true(l.records[3].before);
	leaks_release(&l);
	scene_release(&s);
}

/* 64-bit FNV-1a of "definite\0make\0app\0main\0app\0", worked out here byte by byte. */
static void fingerprints_outlive_a_rebuild(void **state)
{
	static const char bytes[] = "definite\0make\0app\0main\0app";
	uint64_t want = UINT64_C(0xcbf29ce484222325);
	char text[17];

	for (size_t i = 0; i < sizeof(bytes); i++)
		want = (want ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
	snprintf(text, sizeof(text), "%016llx", (unsigned long long)want);
	for (uint32_t build = 0; build < 3; build++) {
		_cleanup_profile_ struct profile *p = synth_new("./app");
		uint32_t m = synth_module(p, build ? "/opt/v2/app" : "/opt/app", build * 0x1000, 1);
		uint32_t start =
			synth_frame(p, 0, m, 5 + build, build ? "_start" : "begin", NULL, 0);
		uint32_t root =
			synth_frame(p, start, m, 0x10 + build, "main", "/s/main.c", 5 + build);
		uint32_t f = synth_frame(p, root, m, 0x20 + build, "make", "/s/x.c", 7 + build);
		struct scene s;
		struct leaks l;

		if (build == 2)
			f = synth_frame(p, f, m, 0x99, "operator new(unsigned long)", NULL, 0);
		scene_init(&s);
		synth_site(p, 0, PROF_HEAP, 64, 1, 0);
		put(&s, 0, 64 + build, REACH_DEFINITE, synth_site(p, f, PROF_HEAP, 64, 1, 0));
		l = leaks_of(&s, p, EVERY);
		assert_int_equal(l.n, 1);
		assert_string_equal(l.records[0].fingerprint, text);
		leaks_release(&l);
		scene_release(&s);
	}
}

static void baselines(void **state)
{
	char path[] = "/tmp/seep-baseline-XXXXXX";
	_cleanup_buf_ struct buf b = { 0 };
	_cleanup_error_ struct seep_error *err = NULL;
	int fd = mkstemp(path);
	struct leaks l;
	struct scene s;
	FILE *f;

	assert_true(fd >= 0);
	scene_init(&s);
	put(&s, 0x100, 48, REACH_DEFINITE, 0);
	put(&s, 0x200, 64, REACH_POSSIBLE, 0);
	put(&s, 0x300, 80, REACH_REACHABLE, 0);
	l = leaks_of(&s, NULL, EVERY);
	assert_int_equal(l.n, 3);
	leaks_baseline_write(&b, &l, NULL);
	assert_non_null(strstr(b.data, "  definite  blocks of 48 bytes\n"));
	assert_non_null(strstr(b.data, "  possible  blocks of 64 bytes\n"));
	assert_null(strstr(b.data, "80 bytes"));
	assert_int_equal(write(fd, b.data, b.len), (ssize_t)b.len);
	close(fd);
	assert_null(leaks_baseline_read(&l, path));
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(l.records[i].known, l.records[i].class != REACH_REACHABLE);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs("# x\n\n0123456789abcdef rest\n0123\n", f);
	fclose(f);
	err = leaks_baseline_read(&l, path);
	assert_non_null(err);
	assert_non_null(strstr(err->message, ":4: expected a fingerprint of 16 hex digits"));
	unlink(path);
	leaks_release(&l);
	scene_release(&s);
}

/* This program's own data, by the address the linker gave it. */
static void data_symbols(void **state)
{
	struct sym_options o = { .no_debuginfod = true };
	struct prof_module m = { 0 };
	struct data_symbol symbol;
	struct data_symbols *d;
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	unsigned long long start, offset;
	char line[4400];
	FILE *maps = fopen("/proc/self/maps", "re");

	assert_true(n > 0 && maps);
	self[n] = 0;
	m.path = self;
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, self) && sscanf(line, "%llx-%*x %*s %llx", &start, &offset) == 2 &&
		    !offset)
			m.bias = start;
	fclose(maps);
	assert_null(data_symbols_open(&o, &m, &d));
	assert_non_null(d);
	assert_true(data_symbols_find(d, (uint64_t)(uintptr_t)&seep_test_data_symbol[2], &symbol));
	assert_string_equal(symbol.name, "seep_test_data_symbol");
	assert_int_equal(symbol.start, (uint64_t)(uintptr_t)seep_test_data_symbol);
	assert_true(symbol.size >= 12); /* a sanitizer puts a fence behind it */
	assert_false(data_symbols_find(d, 16, &symbol));
	assert_false(data_symbols_find(NULL, 16, &symbol));
	data_symbols_free(d);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_content_without_a_ledger),
		cmocka_unit_test(by_stack_with_a_ledger),
		cmocka_unit_test(fingerprints_outlive_a_rebuild),
		cmocka_unit_test(baselines),
		cmocka_unit_test(data_symbols),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
