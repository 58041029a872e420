/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heaps of glibcs too old to be had as packages (2.17 to 2.26), built word by word as their malloc would have left
 * them, and allocators without a walker.  Every number is known from how the heap was built.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "heap/heap.h"
#include "proc/image_fake.h"

#include <string.h>

#define DATA 0x7f0000200000ull
#define MP (DATA + 0x100)
#define ARENA (DATA + 0x1020)
#define BASE 0x555500000000ull
#define SYSTEM 0x21000ull
#define MAPPED 0x7f0001000000ull
#define HEAP2 0x7f1000000000ull /* 64 MB aligned */
#define ARENA2 (HEAP2 + 0x20)
#define RW (IMAGE_READ | IMAGE_WRITE)

enum { BINS = 104, FAST = 8 };

static struct image *img;

static void put(uint64_t addr, uint64_t value)
{
	assert_true(image_fake_poke(img, addr, value));
}

static void put_state(uint64_t arena, uint64_t next, uint64_t top, uint64_t flags, uint64_t threads,
                      bool attached)
{
	uint64_t bins = arena + BINS, tail = bins + 2064;

	put(arena, flags << 32);
	put(bins - 16, top);
	for (int i = 0; i < 127; i++) {
		put(bins + 16 * i, bins + 16 * i - 16);
		put(bins + 16 * i + 8, bins + 16 * i - 16);
	}
	put(bins + 2048, next);
	if (attached) {
		put(tail, threads);
		tail += 8;
	}
	put(tail, SYSTEM);
	put(tail + 8, SYSTEM);
}

/* sbrk_base at 80 up to 2.23, at 72 since; attached_threads since 2.23. */
static void build(uint64_t sbrk_base, bool attached)
{
	const uint64_t unsorted = ARENA + BINS - 16;
	const struct {
		uint64_t at, size, flags;
	} chunks[] = {
		{ 0x000, 0x30, 1 },           { 0x030, 0x40, 1 }, { 0x070, 0x30, 1 },
		{ 0x0a0, 0x500, 1 },          { 0x5a0, 0x50, 0 }, { 0x5f0, 0x40, 1 },
		{ 0x630, SYSTEM - 0x630, 1 },
	};

	img = image_fake_new();
	assert_non_null(img);
	assert_non_null(image_fake_map(img, BASE, SYSTEM, RW, "[heap]"));
	assert_non_null(image_fake_map(img, DATA, 0x4000, RW, "/lib/libc-2.17.so"));
	assert_non_null(image_fake_module(img, "/lib/libc-2.17.so", DATA, DATA + 0x4000));
	assert_non_null(image_fake_map(img, MAPPED, 0x3000, RW, ""));
	assert_non_null(image_fake_map(img, HEAP2, SYSTEM, RW, ""));
	for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++)
		put(BASE + chunks[i].at + 8, chunks[i].size | chunks[i].flags);
	put_state(ARENA, ARENA2, BASE + 0x630, 0, 1, attached);
	/* 0x500 bytes in the unsorted bin */
	put(ARENA + BINS, BASE + 0xa0);
	put(ARENA + BINS + 8, BASE + 0xa0);
	put(BASE + 0xa0 + 16, unsorted);
	put(BASE + 0xa0 + 24, unsorted);
	put(BASE + 0x5a0, 0x500);
	/* two chunks of 0x40 in a fastbin */
	put(ARENA + FAST + 8 * 2, BASE + 0x5f0);
	put(BASE + 0x5f0 + 16, BASE + 0x30);
	/* the second arena: heap_info, malloc_state, a chunk, top */
	put(HEAP2, ARENA2);
	put(HEAP2 + 16, SYSTEM);
	put(HEAP2 + 24, SYSTEM);
	put_state(ARENA2, ARENA, HEAP2 + 0x8f0, 2, 0, attached);
	for (uint64_t at = 0x8b0; at < 0x8f0; at += 0x20)
		put(HEAP2 + at + 8, 0x20 | 5);
	put(HEAP2 + 0x8f0 + 8, (SYSTEM - 0x8f0) | 1);
	/* mp_ */
	put(MP, 0x20000);
	put(MP + 16, 0x20000);
	put(MP + 24, 8);
	put(MP + 40, 1 | 65536ull << 32); /* n_mmaps, n_mmaps_max */
	put(MP + 48, 2);                  /* max_n_mmaps, no_dyn_threshold */
	put(MP + 56, 0x2000);
	put(MP + 64, 0x5000);
	put(MP + sbrk_base, BASE);
	/* a mapped block, its mapping joined to one that is nobody's */
	put(MAPPED + 8, 0x2000 | 2);
}

static void check(const char *layout, bool attached)
{
	const struct {
		uint64_t at, size;
	} blocks[] = { { BASE + 0x10, 0x28 },     { BASE + 0x80, 0x28 },   { BASE + 0x5b0, 0x48 },
		       { MAPPED + 0x10, 0x1ff0 }, { HEAP2 + 0x8c0, 0x18 }, { HEAP2 + 0x8e0, 0x18 } };
	_cleanup_heap_ struct heap *h = NULL;
	uint64_t top = SYSTEM - 0x630, top2 = SYSTEM - 0x8f0;

	assert_null(heap_walk(img, &h));
	assert_string_equal(h->allocator, "glibc");
	assert_string_equal(h->layout, layout);
	assert_int_equal(h->nnotes, 0);
	assert_int_equal(h->resyncs, 0);
	assert_int_equal(h->nblocks, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(h->blocks[i].address, blocks[i].at);
		assert_int_equal(h->blocks[i].size, blocks[i].size);
		assert_int_equal(h->blocks[i].flags, BLOCK_IMPRECISE | (i == 3 ? BLOCK_MMAPPED : 0));
	}
	assert_int_equal(h->info.arena, 2 * SYSTEM);
	assert_int_equal(h->info.ordblks, 3);
	assert_int_equal(h->info.smblks, 2);
	assert_int_equal(h->info.fsmblks, 0x80);
	assert_int_equal(h->info.hblks, 1);
	assert_int_equal(h->info.hblkhd, 0x2000);
	assert_int_equal(h->info.fordblks, 0x500 + 0x80 + top + top2);
	assert_int_equal(h->info.uordblks, 2 * SYSTEM - (0x500 + 0x80 + top + top2));
	assert_int_equal(h->info.keepcost, top);
	assert_int_equal(h->narenas, 2);
	assert_int_equal(h->arenas[0].attached_threads, attached);
	assert_int_equal(h->arenas[1].address, ARENA2);
	assert_int_equal(h->arenas[1].used_blocks, 2);
	/* main heap, mp_, main_arena, the mapped block, the second arena's heap */
	assert_int_equal(h->nranges, 5);
	assert_int_equal(h->ranges[3].start, MAPPED);
	assert_int_equal(h->ranges[3].end, MAPPED + 0x2000);
	image_free(img);
}

static void test_2_17(void **state)
{
	build(80, false);
	check("glibc 2.17-2.23", false);
}

static void test_2_23(void **state)
{
	build(80, true);
	check("glibc 2.17-2.23", true);
}

static void test_2_24(void **state)
{
	build(72, true);
	check("glibc 2.24-2.25", true);
}

static void test_2_26(void **state)
{
	build(72, true);
	put(MP + 80, 64); /* tcache_bins, tcache_max_bytes, tcache_count */
	put(MP + 88, 1032);
	put(MP + 96, 7);
	check("glibc 2.26-2.34", true);
}

/* A header overwritten: the walk goes on behind it, and says so. */
static void test_broken_chain(void **state)
{
	_cleanup_heap_ struct heap *h = NULL;

	build(72, true);
	put(BASE + 0x78, 0x4141414141414141);
	assert_null(heap_walk(img, &h));
	assert_int_equal(h->resyncs, 1);
	assert_int_equal(h->nnotes, 1);
	assert_int_equal(h->skipped_bytes, 0xa0 - 0x30);
	assert_int_equal(h->blocks[0].address, BASE + 0x10);
	assert_int_equal(h->blocks[1].address, BASE + 0x5b0);
	image_free(img);
}

/* A fastbin that leads back into itself ends; nothing is counted twice. */
static void test_loop(void **state)
{
	_cleanup_heap_ struct heap *h = NULL;

	build(72, true);
	put(BASE + 0x40, BASE + 0x5f0);
	assert_null(heap_walk(img, &h));
	assert_int_equal(h->info.smblks, 2);
	assert_int_equal(h->nblocks, 6);
	assert_int_equal(h->nnotes, 1);
	image_free(img);
}

static struct image_ops real_ops;
static uint64_t read_from_swap;

static void all_swapped(const struct image *i, uint64_t start, uint64_t npages, uint8_t *ret)
{
	real_ops.resident(i, start, npages, ret);
	for (uint64_t k = 0; k < npages; k++)
		if (start + k * 4096 >= BASE && start + k * 4096 < BASE + SYSTEM)
			ret[k] = 2;
}

/* Reads of the heap beyond its first page, which alone has headers. */
static size_t counted_read(const struct image *i, uint64_t addr, void *buf, size_t len)
{
	if (addr + len > BASE + 4096 && addr < BASE + SYSTEM)
		read_from_swap++;
	return real_ops.read(i, addr, buf, len);
}

/* A heap that is swapped out: only pages with headers come back. */
static void test_swapped(void **state)
{
	_cleanup_heap_ struct heap *h = NULL;
	struct image_ops ops;

	build(72, true);
	real_ops = ops = *img->ops;
	ops.resident = all_swapped;
	ops.read = counted_read;
	img->ops = &ops;
	assert_null(heap_walk(img, &h));
	assert_int_equal(h->nblocks, 6);
	assert_int_equal(h->info.ordblks, 3);
	assert_int_equal(read_from_swap, 0);
	assert_int_equal(h->resyncs, 0);
	assert_int_equal(h->nnotes, 1);
	assert_string_equal(h->notes[0], "1 swapped pages were brought back to read block headers");
	img->ops = &real_ops;
	image_free(img);
}

static void test_others(void **state)
{
	_cleanup_heap_ struct heap *h = NULL;
	char *data;

	img = image_fake_new();
	data = image_fake_map(img, DATA, 0x2000, RW, "/opt/service");
	memcpy(data + 0x40, "\xff Go buildinf:\x08\x02", 16);
	image_fake_module(img, "/opt/service", DATA, DATA + 0x2000);
	image_fake_map(img, DATA + 0x10000, 0x1000, IMAGE_READ, "/lib/libjemalloc.so.2");
	image_fake_module(img, "/lib/libjemalloc.so.2", DATA + 0x10000, DATA + 0x11000);
	image_fake_map(img, DATA + 0x20000, 0x1000, IMAGE_READ, "/jdk/lib/server/libjvm.so");
	image_fake_module(img, "/jdk/lib/server/libjvm.so", DATA + 0x20000, DATA + 0x21000);
	assert_null(heap_walk(img, &h));
	assert_string_equal(h->allocator, "");
	assert_int_equal(h->nblocks, 0);
	assert_int_equal(h->nnotes, 3);
	assert_string_equal(h->notes[0], "service: Go's heap is not seen");
	assert_string_equal(h->notes[1],
	                    "libjemalloc.so.2: no walker; blocks are known only with a ledger");
	assert_string_equal(h->notes[2], "libjvm.so: the Java heap is not looked into");
	image_free(img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_2_17),         cmocka_unit_test(test_2_23),
		cmocka_unit_test(test_2_24),         cmocka_unit_test(test_2_26),
		cmocka_unit_test(test_broken_chain), cmocka_unit_test(test_loop),
		cmocka_unit_test(test_swapped),      cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
