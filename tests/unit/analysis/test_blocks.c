/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walker's blocks and the ledger's records, met by address: each combination, on a made ledger
 * and a made image.
 */
#include "analysis/blocks.h"
#include "ledger_maker.h"

#include "base/error.h"
#include "capture/capture.h"
#include "heap/heap.h"
#include "proc/image_fake.h"
#include "profile/profile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAP 0x600000ull
#define FOREIGN 0x700000ull

static char dir[64], path[96];

struct fixture {
	struct maker *maker;
	struct image *img;
	struct heap *heap;
	struct profile *p;
	uint32_t app, loader; /* sites */
	struct blocks_result result;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint32_t app, ld, libc;

	snprintf(dir, sizeof(dir), "/tmp/seep-blocks-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/l", dir);
	f->maker = maker_new(&(struct maker_config){ .path = path });
	f->maker->h->control.active = 1;
	app = maker_module(f->maker, "/opt/app", 0x400000, 0x410000, NULL, 0);
	libc = maker_module(f->maker, "/lib/libc.so.6", 0x430000, 0x440000, NULL, 0);
	ld = maker_module(f->maker, "/lib64/ld-linux-x86-64.so.2", 0x450000, 0x460000, NULL, 0);
	f->app = maker_site(f->maker,
	                    maker_node(f->maker, maker_node(f->maker, 0, 0x400100, app), 0x430200,
	                               libc),
	                    LEDGER_HEAP);
	f->loader = maker_site(f->maker,
	                       maker_node(f->maker, maker_node(f->maker, 0, 0x400300, app),
	                                  0x450300, ld),
	                       LEDGER_HEAP);
	f->img = image_fake_new();
	assert_non_null(image_fake_map(f->img, HEAP, 0x10000, IMAGE_READ | IMAGE_WRITE, "[heap]"));
	assert_non_null(image_fake_map(f->img, FOREIGN, 0x10000, IMAGE_READ | IMAGE_WRITE, ""));
	f->heap = calloc(1, sizeof(*f->heap));
	f->heap->ranges = calloc(1, sizeof(*f->heap->ranges));
	f->heap->ranges[f->heap->nranges++] = (struct heap_range){ HEAP, HEAP + 0x10000 };
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	maker_free(f->maker);
	image_free(f->img);
	heap_free(f->heap);
	profile_free(f->p);
	unlink(path);
	rmdir(dir);
	free(f);
	return 0;
}

static void walked(struct fixture *f, uint64_t address, uint64_t size)
{
	f->heap->blocks =
		realloc(f->heap->blocks, (f->heap->nblocks + 1) * sizeof(*f->heap->blocks));
	f->heap->blocks[f->heap->nblocks++] =
		(struct block){ .address = address, .flags = BLOCK_IMPRECISE, .size = size };
}

static void recorded(struct fixture *f, uint64_t address, uint64_t size, uint32_t site)
{
	maker_alloc(f->maker,
	            (struct maker_block){ .address = address, .size = size, .site = site });
}

static void meet(struct fixture *f)
{
	struct read_options opts = { .blocks = false };

	assert_null(ledger_read(path, &opts, &f->p));
	assert_null(blocks_meet_ledger(f->img, f->heap, path, f->p, &f->result));
}

static void a_recorded_block_has_its_size_and_site(void **state)
{
	struct fixture *f = *state;

	walked(f, HEAP + 0x10, 24);
	walked(f, HEAP + 0x30, 72);
	recorded(f, HEAP + 0x30, 65, f->app);
	meet(f);
	assert_int_equal(f->heap->nblocks, 2);
	assert_int_equal(f->heap->blocks[0].flags, BLOCK_IMPRECISE);
	assert_int_equal(f->heap->blocks[0].size, 24);
	assert_int_equal(f->heap->blocks[0].site, 0);
	assert_int_equal(f->heap->blocks[1].flags, BLOCK_RECORDED);
	assert_int_equal(f->heap->blocks[1].size, 65);
	assert_int_equal(f->heap->blocks[1].site, f->app);
	assert_int_equal(f->result.recorded, 1);
}

static void the_loaders_own_blocks_are_told(void **state)
{
	struct fixture *f = *state;

	walked(f, HEAP + 0x10, 24);
	recorded(f, HEAP + 0x10, 24, f->loader);
	meet(f);
	assert_int_equal(f->heap->blocks[0].flags, BLOCK_RECORDED | BLOCK_INTERNAL);
}

static void what_was_freed_since_is_left_out(void **state)
{
	struct fixture *f = *state;

	walked(f, HEAP + 0x10, 24);
	recorded(f, HEAP + 0x10, 24, f->app);
	recorded(f, HEAP + 0x100, 24, f->app); /* the walker saw no block there */
	meet(f);
	assert_int_equal(f->heap->nblocks, 1);
	assert_int_equal(f->result.vanished, 1);
	assert_int_equal(f->result.foreign, 0);
}

static void a_record_larger_than_the_block_is_of_another_one(void **state)
{
	struct fixture *f = *state;

	walked(f, HEAP + 0x10, 24);
	recorded(f, HEAP + 0x10, 25, f->app);
	meet(f);
	assert_int_equal(f->heap->blocks[0].flags, BLOCK_IMPRECISE);
	assert_int_equal(f->result.recorded, 0);
	assert_int_equal(f->result.vanished, 1);
}

static void what_is_younger_than_the_image_is_left_out(void **state)
{
	struct fixture *f = *state;

	f->maker->h->start_mono_ns = 1000;
	f->img->stop_mono_ns = 1000 + (3ull << LEDGER_TICK_SHIFT);
	walked(f, HEAP + 0x10, 24);
	walked(f, HEAP + 0x30, 24);
	maker_alloc(f->maker,
	            (struct maker_block){
			    .address = HEAP + 0x10, .size = 24, .site = f->app, .birth = 2 });
	maker_alloc(f->maker,
	            (struct maker_block){
			    .address = HEAP + 0x30, .size = 24, .site = f->app, .birth = 4 });
	meet(f);
	assert_int_equal(f->heap->blocks[0].flags, BLOCK_RECORDED);
	assert_int_equal(f->heap->blocks[1].flags, BLOCK_IMPRECISE);
}

static void blocks_of_an_unknown_allocator_come_from_the_ledger(void **state)
{
	struct fixture *f = *state;

	walked(f, HEAP + 0x10, 24);
	walked(f, HEAP + 0x100, 24);
	recorded(f, FOREIGN + 0x800, 100, f->app);
	recorded(f, FOREIGN + 0x40, 8, f->app);
	recorded(f, HEAP + 0x100, 24, f->app);
	recorded(f, 0x900000, 8, f->app); /* nothing is mapped there */
	meet(f);
	assert_int_equal(f->heap->nblocks, 4);
	assert_true(f->heap->blocks[2].address == FOREIGN + 0x40);
	assert_true(f->heap->blocks[3].address == FOREIGN + 0x800);
	assert_int_equal(f->heap->blocks[3].size, 100);
	assert_int_equal(f->heap->blocks[3].flags, BLOCK_RECORDED);
	assert_int_equal(f->result.foreign, 2);
	assert_int_equal(f->result.vanished, 1);
	/* Its mapping is no place for the program's own pointers. */
	assert_false(f->result.some);
	assert_int_equal(f->heap->nranges, 2);
	assert_true(f->heap->ranges[1].start == FOREIGN &&
	            f->heap->ranges[1].end == FOREIGN + 0x10000);
}

/* Where the ledger has but some of them, what lies between may be others, and point to them. */
static void between_blocks_of_a_part_lies_what_may_point_to_them(void **state)
{
	struct fixture *f = *state;

	f->maker->h->flags |= LEDGER_F_ATTACHED;
	walked(f, HEAP + 0x10, 24);
	recorded(f, FOREIGN + 0x40, 8, f->app);
	recorded(f, FOREIGN + 0x48, 16, f->app);
	recorded(f, FOREIGN + 0x800, 100, f->app);
	recorded(f, FOREIGN + 0x900, 0, f->app);
	meet(f);
	assert_int_equal(f->result.foreign, 4);
	assert_true(f->result.some);
	assert_int_equal(f->heap->nranges, 4);
	assert_true(f->heap->ranges[1].start == FOREIGN + 0x40);
	assert_true(f->heap->ranges[1].end == FOREIGN + 0x58);
	assert_true(f->heap->ranges[2].start == FOREIGN + 0x800);
	assert_true(f->heap->ranges[2].end == FOREIGN + 0x864);
	assert_true(f->heap->ranges[3].start == FOREIGN + 0x900);
	assert_true(f->heap->ranges[3].end == FOREIGN + 0x901);
}

static void a_forked_childs_unknown_blocks_are_inherited(void **state)
{
	struct fixture *f = *state;

	f->maker->h->flags |= LEDGER_F_FORKED;
	walked(f, HEAP + 0x10, 24);
	walked(f, HEAP + 0x30, 24);
	recorded(f, HEAP + 0x30, 24, f->app);
	meet(f);
	assert_true(f->result.forked);
	assert_int_equal(f->heap->blocks[0].flags, BLOCK_IMPRECISE | BLOCK_INHERITED);
	assert_int_equal(f->heap->blocks[1].flags, BLOCK_RECORDED);
}

static void an_empty_ledger_changes_nothing(void **state)
{
	struct fixture *f = *state;

	walked(f, HEAP + 0x10, 24);
	meet(f);
	assert_int_equal(f->heap->nblocks, 1);
	assert_int_equal(f->result.recorded, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_recorded_block_has_its_size_and_site),
		TEST(the_loaders_own_blocks_are_told),
		TEST(what_was_freed_since_is_left_out),
		TEST(a_record_larger_than_the_block_is_of_another_one),
		TEST(what_is_younger_than_the_image_is_left_out),
		TEST(blocks_of_an_unknown_allocator_come_from_the_ledger),
		TEST(between_blocks_of_a_part_lies_what_may_point_to_them),
		TEST(a_forked_childs_unknown_blocks_are_inherited),
		TEST(an_empty_ledger_changes_nothing),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
