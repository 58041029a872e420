/* SPDX-License-Identifier: Apache-2.0 */
/* Which memory of a made image is a root, and which is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/roots.h"
#include "base/error.h"
#include "proc/image_fake.h"

#define RW (IMAGE_READ | IMAGE_WRITE)

static const struct root *root_at(const struct roots *r, enum root_kind kind, uint64_t start)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->items[i].kind == kind && !r->items[i].words && r->items[i].start == start)
			return &r->items[i];
	return NULL;
}

static void every_kind(void **state)
{
	uint64_t regs[3] = { 1, 2, 3 };
	struct image *img = image_fake_new();
	struct heap_range range = { 0x20000, 0x24000 };
	struct heap heap = { .ranges = &range, .nranges = 1 };
	struct roots_range region = { 0x90000, 0x90100 };
	struct roots_options o = { .regions = &region, .nregions = 1 };
	struct roots r = { 0 };

	image_fake_map(img, 0x10000, 0x1000, IMAGE_READ, "/bin/x");
	image_fake_map(img, 0x11000, 0x1000, RW, "/bin/x");
	image_fake_map(img, 0x12000, 0x1000, RW, "");
	image_fake_module(img, "/bin/x", 0x10000, 0x13000);
	image_fake_map(img, 0x20000, 0x5000, RW, "[heap]");
	image_fake_map(img, 0x30000, 0x2000, RW, "");
	image_fake_map(img, 0x40000, 0x1000, RW | IMAGE_SHARED, "/tmp/file");
	image_fake_map(img, 0x50000, 0x1000, 0, "");
	image_fake_map(img, 0x51000, 0x4000, RW, ""); /* an ended thread's */
	image_fake_poke(img, 0x54700, 0x54700);
	image_fake_poke(img, 0x54710, 0x54700);
	image_fake_map(img, 0x60000, 0x1000, 0, "");
	image_fake_map(img, 0x61000, 0x4000, RW, ""); /* a live one's */
	image_fake_poke(img, 0x64700, 0x64700);
	image_fake_poke(img, 0x64710, 0x64700);
	image_fake_map(img, 0x70000, 0x8000, RW, "[stack]");
	image_fake_thread(img, 1, 0x76000, 0, regs, 3);
	image_fake_thread(img, 2, 0x62000, 0x64700, regs, 3);
	assert_null(roots_find(img, &heap, &o, &r));

	assert_int_equal(root_at(&r, ROOT_DATA, 0x10000)->end, 0x11000); /* RELRO */
	assert_int_equal(root_at(&r, ROOT_DATA, 0x11000)->end, 0x12000);
	assert_int_equal(root_at(&r, ROOT_DATA, 0x12000)->end, 0x13000);
	assert_int_equal(root_at(&r, ROOT_MAPPING, 0x24000)->end, 0x25000);
	assert_int_equal(root_at(&r, ROOT_MAPPING, 0x30000)->end, 0x32000);
	assert_null(root_at(&r, ROOT_MAPPING, 0x40000));
	assert_null(root_at(&r, ROOT_MAPPING, 0x51000));
	assert_int_equal(root_at(&r, ROOT_STACK, 0x76000 - 128)->end, 0x78000);
	assert_int_equal(root_at(&r, ROOT_STACK, 0x62000 - 128)->end, 0x64700);
	assert_int_equal(root_at(&r, ROOT_TLS, 0x64700)->end, 0x65000);
	assert_int_equal(root_at(&r, ROOT_REGION, 0x90000)->end, 0x90100);
	assert_int_equal(r.nnotes, 0); /* nothing of this is missing */
	roots_release(&r);

	o.exit_tid = 1;
	o.exit_sp = 0x77000;
	assert_null(roots_find(img, &heap, &o, &r));
	assert_int_equal(root_at(&r, ROOT_STACK, 0x77000)->end, 0x78000);
	roots_release(&r);
	image_free(img);
}

static bool has_word(const struct roots *r, enum root_kind kind, uint64_t word)
{
	for (size_t i = 0; i < r->n; i++)
		for (size_t k = 0; r->items[i].kind == kind && k < r->items[i].nwords; k++)
			if (r->items[i].words[k] == word)
				return true;
	return false;
}

/* A program's own page that was written to and then protected, and one that only looks like it. */
static void protected_data(void **state)
{
	struct image *img = image_fake_new();
	struct heap heap = { 0 };
	struct roots r = { 0 };

	image_fake_map(img, 0x10000, 0x1000, IMAGE_READ, "/bin/x");
	image_fake_map(img, 0x11000, 0x1000, RW, "/bin/x");
	image_fake_map(img, 0x12000, 0x1000, IMAGE_READ, ""); /* of .bss */
	image_fake_map(img, 0x13000, 0x1000, RW, "");
	image_fake_module(img, "/bin/x", 0x10000, 0x14000);
	image_fake_map(img, 0x20000, 0x1000, IMAGE_READ, "");
	assert_null(roots_find(img, &heap, NULL, &r));
	assert_int_equal(root_at(&r, ROOT_DATA, 0x12000)->end, 0x13000);
	assert_null(root_at(&r, ROOT_DATA, 0x20000));
	assert_null(root_at(&r, ROOT_MAPPING, 0x20000));
	roots_release(&r);
	image_free(img);
}

/*
 * Two ended threads: the TCB of one is in the list that a live thread's is in, so it is not joined yet and
 * its result counts; that of the other is in the list of cached stacks.
 */
static void a_thread_that_is_not_joined(void **state)
{
	enum { LIST = 0x2c0, USED = 0x80100, USER = 0x80110, CACHE = 0x80120 };
	const uint64_t tcb[3] = { 0x54700, 0x64700, 0x74700 }; /* unjoined, live, cached */
	struct image *img = image_fake_new();
	struct heap heap = { 0 };
	struct roots r = { 0 };

	for (int i = 0; i < 3; i++) {
		uint64_t at = 0x50000 + 0x10000 * (uint64_t)i;

		image_fake_map(img, at, 0x1000, 0, "");
		image_fake_map(img, at + 0x1000, 0x4000, RW, "");
		image_fake_poke(img, tcb[i], tcb[i]);
		image_fake_poke(img, tcb[i] + 16, tcb[i]);
	}
	image_fake_map(img, 0x80000, 0x1000, RW, "/lib/ld-linux-x86-64.so.2");
	image_fake_module(img, "/lib/ld-linux-x86-64.so.2", 0x80000, 0x81000);
	image_fake_poke(img, tcb[0] + LIST, tcb[1] + LIST);
	image_fake_poke(img, tcb[1] + LIST, USED);
	image_fake_poke(img, tcb[2] + LIST, CACHE);
	image_fake_map(img, 0x90000, 0x4000, RW, "[stack]");
	image_fake_thread(img, 1, 0x92000, 0, NULL, 0);
	image_fake_thread(img, 2, 0x62000, tcb[1], NULL, 0);
	assert_null(roots_find(img, &heap, NULL, &r));
	assert_non_null(root_at(&r, ROOT_TLS, tcb[0]));
	assert_null(root_at(&r, ROOT_TLS, tcb[2]));
	assert_null(root_at(&r, ROOT_MAPPING, 0x51000));
	assert_null(root_at(&r, ROOT_MAPPING, 0x71000));
	roots_release(&r);
	image_free(img);
}

/* A mapping that the program made directly behind the tracker's variables is one with them in the list of mappings. */
static void what_lies_behind_the_tracker(void **state)
{
	struct image *img = image_fake_new();
	struct heap heap = { 0 };
	struct roots r = { 0 };
	const struct root *rest;

	image_fake_map(img, 0x2f000, 0x1000, RW, "/lib/libseep.so");
	image_fake_map(img, 0x30000, 0x4000, RW, "");
	image_fake_module(img, "/lib/libseep.so", 0x2e000, 0x31000);
	image_fake_map(img, 0x90000, 0x4000, RW, "[stack]");
	image_fake_thread(img, 1, 0x92000, 0, NULL, 0);
	assert_null(roots_find(img, &heap, NULL, &r));
	rest = root_at(&r, ROOT_MAPPING, 0x31000);
	assert_non_null(rest);
	assert_int_equal(rest->end, 0x34000);
	for (size_t i = 0; i < r.n; i++)
		assert_true(r.items[i].words || r.items[i].start >= 0x31000);
	roots_release(&r);
	image_free(img);
}

static const struct image_ops *fake_ops;
static unsigned long reads;

static size_t counted_read(const struct image *img, uint64_t addr, void *buf, size_t len)
{
	reads++;
	return fake_ops->read(img, addr, buf, len);
}

/* A program that joins none of its threads: all their TCBs are in one list, and each is visited once, not once for each other. */
static void thousands_that_are_not_joined(void **state)
{
	enum { N = 3000, LIVE = 8, LIST = 0x2c0, USED = 0x1100 };
	const uint64_t first = 0x100000, step = 0x5000;
	struct image_ops counting;
	struct image *img = image_fake_new();
	struct heap heap = { 0 };
	struct roots r = { 0 };
	size_t unjoined = 0;

	image_fake_map(img, 0x1000, 0x1000, RW, "/lib/ld-linux-x86-64.so.2");
	image_fake_module(img, "/lib/ld-linux-x86-64.so.2", 0x1000, 0x2000);
	for (uint64_t i = 0; i < N; i++) {
		uint64_t at = first + i * step, tcb = at + 0x4700;

		image_fake_map(img, at, 0x1000, 0, "");
		image_fake_map(img, at + 0x1000, 0x4000, RW, "");
		image_fake_poke(img, tcb, tcb);
		image_fake_poke(img, tcb + 16, tcb);
		image_fake_poke(img, tcb + LIST, i + 1 < N ? tcb + step + LIST : (uint64_t)USED);
	}
	image_fake_map(img, first + N * step + 0x1000, 0x4000, RW, "[stack]");
	image_fake_thread(img, 1, first + N * step + 0x2000, 0, NULL, 0);
	for (uint64_t i = 0; i < LIVE; i++) {
		uint64_t at = first + (N / LIVE * i) * step;

		image_fake_thread(img, (pid_t)i + 2, at + 0x2000, at + 0x4700, NULL, 0);
	}
	fake_ops = img->ops;
	counting = *fake_ops;
	counting.read = counted_read;
	counting.peek = NULL;
	img->ops = &counting;
	reads = 0;
	assert_null(roots_find(img, &heap, NULL, &r));
	for (size_t i = 0; i < r.n; i++)
		unjoined += r.items[i].kind == ROOT_TLS && !r.items[i].tid;
	assert_int_equal(unjoined, N - LIVE);
	assert_true(reads >= N && reads < 20ul * N);
	img->ops = fake_ops;
	roots_release(&r);
	image_free(img);
}

/* The loader points into its blocks; a thread in malloc has the block's chunk only. */
static void blocks_held_in_odd_ways(void **state)
{
	struct block blocks[] = { { .address = 0x20010, .size = 104 },
		                  { .address = 0x20080, .size = 24 },
		                  { .address = 0x200a0, .size = 24 } };
	struct heap_range range = { 0x20000, 0x24000 };
	struct heap heap = {
		.allocator = "glibc", .blocks = blocks, .nblocks = 3, .ranges = &range, .nranges = 1
	};
	uint64_t in_malloc[1] = { 0x20070 }, elsewhere[1] = { 0x20090 };
	struct image *img = image_fake_new();
	struct image_thread *t;
	struct roots r = { 0 };

	image_fake_map(img, 0x20000, 0x4000, RW, "[heap]");
	image_fake_map(img, 0x30000, 0x1000, IMAGE_READ | IMAGE_EXEC, "/lib/libc.so.6");
	image_fake_module(img, "/lib/libc.so.6", 0x30000, 0x31000);
	image_fake_map(img, 0x40000, 0x1000, RW, "/lib/ld-linux-x86-64.so.2");
	image_fake_module(img, "/lib/ld-linux-x86-64.so.2", 0x40000, 0x41000);
	image_fake_poke(img, 0x40100, 0x20040); /* inside the first */
	image_fake_map(img, 0x90000, 0x4000, RW, "[stack]");
	img->at_base = 0x40000;
	t = image_fake_thread(img, 1, 0x92000, 0, in_malloc, 1);
	t->pc = 0x30100;
	t = image_fake_thread(img, 2, 0x93000, 0, elsewhere, 1);
	t->pc = 0x10000;
	assert_null(roots_find(img, &heap, NULL, &r));
	assert_true(has_word(&r, ROOT_DATA, 0x20010));
	assert_true(has_word(&r, ROOT_REGISTER, 0x20080));
	assert_false(has_word(&r, ROOT_REGISTER, 0x200a0));
	roots_release(&r);
	image_free(img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind),
		cmocka_unit_test(protected_data),
		cmocka_unit_test(a_thread_that_is_not_joined),
		cmocka_unit_test(thousands_that_are_not_joined),
		cmocka_unit_test(what_lies_behind_the_tracker),
		cmocka_unit_test(blocks_held_in_odd_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
