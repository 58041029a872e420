/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walkers beside programs that know their heaps: every live block and none that is free, usable sizes (musl: requested
 * sizes) to the byte, mallinfo2() field by field, nothing brought into memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "heap/heap.h"
#include "live_image.h"
#include "target.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const char *const modes[] = { "mix",     "foreign", "blocked", "mapped",
	                             "trimmed", "threads", "small" };
#define NMODES (sizeof(modes) / sizeof(modes[0]))

/*
 * The free chunks are those of the sums, lie apart from each other and the blocks in use, and together with them fill
 * the pieces but for headers.
 */
static void check_free(const struct heap *h)
{
	uint64_t bytes[HEAP_FREE_NKINDS] = { 0 }, n[HEAP_FREE_NKINDS] = { 0 }, want[6] = { 0 };
	uint64_t filled = 0, pieces = 0;
	size_t block = 0, piece = 0;
	bool musl = !strncmp(h->allocator, "musl", 4);

	for (size_t i = 0; i < h->narenas; i++) {
		want[0] += h->arenas[i].bin_chunks;
		want[1] += h->arenas[i].bin_bytes;
		want[2] += h->arenas[i].fast_bytes;
		want[3] += h->arenas[i].tcache_bytes;
		want[4] += h->arenas[i].top_size;
		want[5] += h->arenas[i].used_bytes;
	}
	for (size_t i = 0; i < h->nfree; i++) {
		const struct heap_free *f = &h->free[i];

		assert_true(!i || f[-1].address + f[-1].size <= f->address);
		assert_true(f->arena < h->narenas);
		while (block < h->nblocks && h->blocks[block].address < f->address)
			block++;
		assert_true(!block || h->blocks[block - 1].address + h->blocks[block - 1].size <=
		                              f->address + 8);
		assert_true(block == h->nblocks || musl ||
		            h->blocks[block].address >= f->address + f->size);
		while (piece < h->npieces && h->pieces[piece].end <= f->address)
			piece++;
		assert_true(piece < h->npieces && h->pieces[piece].start <= f->address);
		assert_true(f->address + f->size <= h->pieces[piece].end && !h->pieces[piece].mapped);
		bytes[f->kind] += f->size;
		n[f->kind]++;
		filled += f->size;
	}
	for (size_t i = 0; i < h->npieces; i++)
		pieces += h->pieces[i].mapped ? 0 : h->pieces[i].end - h->pieces[i].start;
	assert_int_equal(n[HEAP_FREE_BIN] + n[HEAP_FREE_SLOT], want[0]);
	assert_int_equal(bytes[HEAP_FREE_BIN] + bytes[HEAP_FREE_SLOT], want[1]);
	assert_int_equal(bytes[HEAP_FREE_FAST], want[2]);
	assert_int_equal(bytes[HEAP_FREE_TCACHE], want[3]);
	assert_int_equal(bytes[HEAP_FREE_TOP], want[4]);
	if (musl) /* groups in slots of groups */
		return;
	assert_true(filled + want[5] <= pieces);
	/* heap_info, malloc_state, fenceposts, alignment */
	assert_true(pieces - filled - want[5] <= h->npieces * 4096);
	assert_true(h->params.address && h->params.mmap_threshold && h->params.trim_threshold);
}

/* Walks a running target; skips where this machine does not let one look into a child. */
static struct heap *walk(const struct target *t, bool threads)
{
	struct image *img = live_image_new(t->pid);
	struct seep_error *err;
	struct heap *h = NULL;
	size_t n;

	if (!img) {
		print_message("ptrace and process_vm_readv are not allowed here\n");
		skip();
	}
	n = img->nthreads;
	if (!threads)
		img->nthreads = 0;
	err = heap_walk_with(img, &(struct heap_options){ .free_chunks = true }, &h);
	img->nthreads = n;
	assert_null(err);
	assert_int_equal(live_image_brought_in(img), 0);
	image_free(img);
	check_free(h);
	return h;
}

/* What a static libc allocates for itself before main, as a program without any block shows. */
static size_t own_blocks(const char *name)
{
	struct target t;
	struct heap *h;
	size_t n;

	target_start(&t, name, (const char *[]){ "none", NULL });
	h = walk(&t, true);
	n = target_compare(&t, h, false);
	heap_free(h);
	target_end(&t);
	return n;
}

static void check_modes(const char *name, const char *allocator, bool exact, bool threads)
{
	size_t own;

	if (!target_built(name)) {
		print_message("%s was not built: its libc is not installed\n", name);
		skip();
	}
	own = exact ? 0 : own_blocks(name);
	for (size_t i = 0; i < NMODES; i++) {
		struct target t;
		struct heap *h;

		target_start(&t, name, (const char *[]){ modes[i], NULL });
		h = walk(&t, threads);
		assert_string_equal(h->allocator, allocator);
		assert_int_equal(target_compare(&t, h, exact), own);
		assert_int_equal(h->resyncs, 0);
		assert_int_equal(h->skipped_bytes, 0);
		assert_int_equal(h->nnotes, 0);
		assert_int_equal(t.nlost, 16);
		if (!exact && threads && !strcmp(modes[i], "threads")) {
			assert_int_equal(h->tcaches, 6); /* main's and five threads'; one has ended */
			assert_true(h->narenas >= 6);
			assert_true(h->arenas[0].main);
		}
		heap_free(h);
		target_end(&t);
	}
}

static void test_glibc(void **state)
{
	check_modes("truth", "glibc", false, true);
}

static void test_glibc_static(void **state)
{
	check_modes("truth_static", "glibc", false, true);
}

static void test_glibc_stripped(void **state)
{
	check_modes("truth_stripped", "glibc", false, true);
}

/* Without anything known of threads, caches are known by what they look like. */
static void test_glibc_without_threads(void **state)
{
	check_modes("truth", "glibc", false, false);
}

static void test_musl(void **state)
{
	check_modes("truth_musl", "musl mallocng", true, true);
}

static void test_musl_static(void **state)
{
	check_modes("truth_musl_static", "musl mallocng", true, true);
}

/* The images that users have: the stopped process, and its frozen copy. */
static void check_opened(const char *name, bool clone, bool exact)
{
	size_t own;

	if (!target_built(name)) {
		print_message("%s was not built: its libc is not installed\n", name);
		skip();
	}
	own = exact ? 0 : own_blocks(name);
	for (size_t i = 0; i < NMODES; i++) {
		const struct image_options opts = { .clone = clone };
		_cleanup_image_ struct image *img = NULL;
		_cleanup_heap_ struct heap *h = NULL;
		struct seep_error *err;
		struct target t;

		target_start(&t, name, (const char *[]){ modes[i], NULL });
		err = image_open_process(t.pid, &opts, &img);
		if (err) {
			print_message("%s\n", err->message);
			seep_error_free(err);
			target_end(&t);
			skip();
		}
		assert_null(heap_walk(img, &h));
		assert_int_equal(target_compare(&t, h, exact), own);
		assert_int_equal(h->nnotes, 0);
		target_end(&t);
	}
}

static void test_stopped(void **state)
{
	check_opened("truth", false, false);
	check_opened("truth_static", false, false);
}

static void test_cloned(void **state)
{
	check_opened("truth", true, false);
	check_opened("truth_static", true, false);
}

static void test_cloned_musl(void **state)
{
	check_opened("truth_musl", true, true);
}

/* A program that never called malloc has an empty heap, and that is no error. */
static void test_no_heap(void **state)
{
	struct target t;
	struct heap *h;

	target_start(&t, "truth", (const char *[]){ "none", NULL });
	h = walk(&t, true);
	assert_string_equal(h->allocator, "glibc");
	assert_int_equal(h->nblocks, 0);
	assert_int_equal(h->narenas, 1);
	assert_int_equal(h->info.ordblks, 1); /* as mallinfo2 would say: top counts */
	assert_int_equal(h->info.arena, 0);
	assert_int_equal(h->nnotes, 0);
	heap_free(h);
	target_end(&t);
}

/* Memory between pieces of the main arena that is not malloc's is in no range: it may hold pointers. */
static void test_foreign_memory_is_no_heap(void **state)
{
	struct target t;
	struct heap *h;
	uint64_t heap = 0, covered = 0;

	target_start(&t, "truth", (const char *[]){ "foreign", NULL });
	h = walk(&t, true);
	heap = h->arenas[0].system_bytes;
	for (size_t i = 0; i < h->nranges; i++)
		if (h->ranges[i].start <= h->arenas[0].top &&
		    h->ranges[i].end - h->ranges[i].start < heap)
			for (size_t k = 0; k < t.nblocks; k++)
				if (t.blocks[k].address >= h->ranges[i].start &&
				    t.blocks[k].address < h->ranges[i].end) {
					covered += h->ranges[i].end - h->ranges[i].start;
					break;
				}
	/* Four times sbrk(12344 + 4096 i): system_mem counts them all, the ranges none (mapped blocks apart). */
	assert_true(covered >= heap - (4 * 12344 + 6 * 4096) - 64);
	assert_true(h->info.hblkhd + heap - (4 * 12344 + 6 * 4096) + 4096 >= covered);
	heap_free(h);
	target_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_glibc),
		cmocka_unit_test(test_glibc_static),
		cmocka_unit_test(test_glibc_stripped),
		cmocka_unit_test(test_glibc_without_threads),
		cmocka_unit_test(test_musl),
		cmocka_unit_test(test_musl_static),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_cloned),
		cmocka_unit_test(test_cloned_musl),
		cmocka_unit_test(test_no_heap),
		cmocka_unit_test(test_foreign_memory_is_no_heap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
