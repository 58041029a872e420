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
	assert_int_equal(r.nnotes, 1);
	roots_release(&r);

	o.exit_tid = 1;
	o.exit_sp = 0x77000;
	assert_null(roots_find(img, &heap, &o, &r));
	assert_int_equal(root_at(&r, ROOT_STACK, 0x77000)->end, 0x78000);
	roots_release(&r);
	image_free(img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
