/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of docs/LEAKS.md one by one, and why (not), on images made here; large graphs by two threads and by a chase. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/reach.h"
#include "base/error.h"
#include "proc/image_fake.h"

#define HEAP UINT64_C(0x555500000000)
#define ROOTS UINT64_C(0x555400000000)
#define VTABLES UINT64_C(0x555300000000)
#define TEXT UINT64_C(0x555200000000)
#define MAX 1200

struct world {
	struct image *img;
	struct block b[MAX];
	size_t n;
	struct root roots[4];
	size_t nroots;
};

static void world_init(struct world *w, uint64_t heap_len)
{
	memset(w, 0, sizeof(*w));
	w->img = image_fake_new();
	assert_non_null(w->img);
	assert_non_null(image_fake_map(w->img, ROOTS, 8192, IMAGE_READ | IMAGE_WRITE, ""));
	assert_non_null(image_fake_map(w->img, HEAP, heap_len, IMAGE_READ | IMAGE_WRITE, "[heap]"));
	w->roots[0] =
		(struct root){ .kind = ROOT_DATA, .start = ROOTS, .end = ROOTS + 512, .name = "" };
	w->nroots = 1;
}

static size_t add(struct world *w, uint64_t at, uint64_t size)
{
	assert_true(w->n < MAX);
	w->b[w->n].address = HEAP + at;
	w->b[w->n].size = size;
	return w->n++;
}

static void point(struct world *w, uint64_t from, uint64_t to)
{
	assert_true(image_fake_poke(w->img, from, to));
}

static struct reach *run(struct world *w, const struct reach_options *o)
{
	struct reach *r = NULL;
	struct seep_error *err = reach_run(w->img, w->b, w->n, w->roots, w->nroots, o, &r);

	assert_null(err);
	return r;
}

static enum reach_class class_of(const struct world *w, size_t i)
{
	return block_class(&w->b[i]);
}

/* ---- heuristics ---- */

struct shape {
	unsigned int heuristic;
	uint64_t size;
	uint16_t flags;
	uint64_t word0, word1, word2;
	uint64_t offset; /* where the root's pointer goes */
	enum reach_class want;
};

static void heuristics(void **state)
{
	const uint64_t vt = VTABLES + 64, no_vt = VTABLES + 0x800, heap_vt = HEAP + 0x4000;
	const struct shape shapes[] = {
		/* length 10, capacity 20: 24 + 20 + 1 bytes */
		{ REACH_STDSTRING, 45, 0, 10, 20, 0, 24, REACH_REACHABLE },
		{ REACH_STDSTRING, 45, 0, 20, 20, 0, 24, REACH_REACHABLE },
		{ REACH_STDSTRING, 45, 0, 21, 20, 0, 24, REACH_POSSIBLE },
		{ REACH_STDSTRING, 46, 0, 10, 20, 0, 24, REACH_POSSIBLE },
		{ REACH_STDSTRING, 44, 0, 10, 20, 0, 24, REACH_POSSIBLE },
		{ REACH_STDSTRING, 45, 0, 10, 20, 0, 16, REACH_POSSIBLE },
		{ REACH_STDSTRING, 46, BLOCK_IMPRECISE, 10, 20, 0, 24, REACH_REACHABLE },
		{ REACH_STDSTRING, 76, BLOCK_IMPRECISE, 10, 20, 0, 24, REACH_REACHABLE },
		{ REACH_STDSTRING, 77, BLOCK_IMPRECISE, 10, 20, 0, 24, REACH_POSSIBLE },
		{ REACH_STDSTRING, 45 + 4112, BLOCK_IMPRECISE | BLOCK_MMAPPED, 10, 20, 0, 24,
		  REACH_REACHABLE },
		{ REACH_STDSTRING, 45 + 4113, BLOCK_IMPRECISE | BLOCK_MMAPPED, 10, 20, 0, 24,
		  REACH_POSSIBLE },
		{ REACH_LENGTH64, 45, 0, 10, 20, 0, 24, REACH_POSSIBLE },
		/* 100 bytes behind their length */
		{ REACH_LENGTH64, 108, 0, 100, 0, 0, 8, REACH_REACHABLE },
		{ REACH_LENGTH64, 109, 0, 100, 0, 0, 8, REACH_POSSIBLE },
		{ REACH_LENGTH64, 107, 0, 100, 0, 0, 8, REACH_POSSIBLE },
		{ REACH_LENGTH64, 108, 0, 100, 0, 0, 16, REACH_POSSIBLE },
		{ REACH_LENGTH64, 139, BLOCK_IMPRECISE, 100, 0, 0, 8, REACH_REACHABLE },
		{ REACH_LENGTH64, 140, BLOCK_IMPRECISE, 100, 0, 0, 8, REACH_POSSIBLE },
		{ REACH_LENGTH64, 24, BLOCK_IMPRECISE, 0, 0, 0, 8, REACH_POSSIBLE },
		/* a number of objects that fills the rest */
		{ REACH_NEWARRAY, 168, 0, 10, 0, 0, 8, REACH_REACHABLE },
		{ REACH_NEWARRAY, 168, 0, 7, 0, 0, 8, REACH_POSSIBLE },
		{ REACH_NEWARRAY, 168, BLOCK_IMPRECISE, 7, 0, 0, 8, REACH_REACHABLE },
		{ REACH_NEWARRAY, 167, BLOCK_IMPRECISE, 64, 0, 0, 8, REACH_REACHABLE },
		{ REACH_NEWARRAY, 168, BLOCK_IMPRECISE, 64, 0, 0, 8, REACH_POSSIBLE },
		{ REACH_NEWARRAY, 168, 0, 161, 0, 0, 8, REACH_POSSIBLE },
		{ REACH_NEWARRAY, 168, 0, 10, 0, 0, 16, REACH_POSSIBLE },
		/* new T[0]: the pointer is the end, or in the rounding */
		{ REACH_NEWARRAY, 8, 0, 0, 0, 0, 8, REACH_REACHABLE },
		{ REACH_NEWARRAY, 8, 0, 1, 0, 0, 8, REACH_DEFINITE },
		{ REACH_STDSTRING, 8, 0, 0, 0, 0, 8, REACH_DEFINITE },
		{ REACH_NEWARRAY, 24, 0, 0, 0, 0, 8, REACH_POSSIBLE },
		{ REACH_NEWARRAY, 24, BLOCK_IMPRECISE, 0, 0, 0, 8, REACH_REACHABLE },
		{ REACH_NEWARRAY, 40, BLOCK_IMPRECISE, 0, 0, 0, 8, REACH_POSSIBLE },
		/* a vtable at the start and another where the pointer leads */
		{ REACH_MULTIPLE_INHERITANCE, 64, 0, vt, 0, vt, 16, REACH_REACHABLE },
		{ REACH_MULTIPLE_INHERITANCE, 64, BLOCK_IMPRECISE, vt, 0, vt, 16, REACH_REACHABLE },
		{ REACH_MULTIPLE_INHERITANCE, 64, 0, vt, 0, no_vt, 16, REACH_POSSIBLE },
		{ REACH_MULTIPLE_INHERITANCE, 64, 0, no_vt, 0, vt, 16, REACH_POSSIBLE },
		{ REACH_MULTIPLE_INHERITANCE, 64, 0, vt, 0, heap_vt, 16, REACH_POSSIBLE },
		{ REACH_MULTIPLE_INHERITANCE, 64, 0, vt, 0, vt + 4, 16, REACH_POSSIBLE },
		{ REACH_MULTIPLE_INHERITANCE, 64, 0, vt, 0, vt, 24, REACH_POSSIBLE },
	};
	struct world *w = malloc(sizeof(*w));

	assert_non_null(w);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		const struct shape *s = &shapes[i];

		for (int all = 0; all < 2; all++) {
			struct reach_options o = { .threads = 1,
				                   .heuristics = all ? s->heuristic : 0 };
			enum reach_class want = s->want;
			struct reach *r;

			world_init(w, 1 << 16);
			assert_non_null(image_fake_map(w->img, VTABLES, 4096, IMAGE_READ, "/lib/a"));
			assert_non_null(image_fake_map(w->img, TEXT, 4096, IMAGE_READ | IMAGE_EXEC,
			                               "/lib/a"));
			for (int k = 2; k < 5; k++) {
				point(w, vt + 8 * (uint64_t)k, TEXT + 16 * (uint64_t)k);
				point(w, heap_vt + 8 * (uint64_t)k, TEXT + 16 * (uint64_t)k);
			}
			point(w, no_vt, TEXT + 16); /* only one */
			add(w, 4096, s->size);
			w->b[0].flags = s->flags;
			point(w, HEAP + 4096, s->word0);
			if (s->size >= 24) {
				point(w, HEAP + 4104, s->word1);
				point(w, HEAP + 4112, s->word2);
			}
			point(w, ROOTS, HEAP + 4096 + s->offset);
			if (!all && want == REACH_REACHABLE)
				want = s->offset < s->size ? REACH_POSSIBLE : REACH_DEFINITE;
			r = run(w, &o);
			if (class_of(w, 0) != want)
				fail_msg("shape %zu: %d, not %d", i, class_of(w, 0), want);
			if (all && want == REACH_REACHABLE) {
				assert_int_equal(r->by_heuristic[__builtin_ctz(s->heuristic)].blocks,
				                 1);
				assert_int_equal(r->by_heuristic[__builtin_ctz(s->heuristic)].bytes,
				                 s->size);
			}
			reach_free(r);
			image_free(w->img);
		}
	}
	free(w);
}

/* Pointers `headed` of which go to 24 bytes behind a block's start, the others elsewhere. */
static uint32_t header_of(struct world *w, size_t headed, size_t others, uint64_t offset)
{
	const struct reach_options o = { .threads = 1, .heuristics = REACH_ALL_HEURISTICS };
	struct reach *r;
	uint32_t header;

	world_init(w, 1 << 16);
	w->roots[0].end = ROOTS + 4096;
	for (size_t i = 0; i < headed + others; i++) {
		uint64_t at = 128 * (i + 1);

		add(w, at, 100);
		point(w, ROOTS + 8 * i, HEAP + at + (i < headed ? offset : 32 + 4 * (i % 8)));
	}
	r = run(w, &o);
	assert_int_equal(r->total[REACH_POSSIBLE].blocks, headed + others);
	header = r->header;
	reach_free(r);
	image_free(w->img);
	return header;
}

static void headers(void **state)
{
	struct world *w = malloc(sizeof(*w));

	assert_non_null(w);
	assert_int_equal(header_of(w, 40, 0, 24), 24);
	assert_int_equal(header_of(w, 16, 0, 16), 16);
	assert_int_equal(header_of(w, 15, 0, 16), 0); /* too few */
	assert_int_equal(header_of(w, 90, 30, 24), 24);
	assert_int_equal(header_of(w, 89, 31, 24), 0); /* too many elsewhere */
	assert_int_equal(header_of(w, 0, 40, 0), 0);
	free(w);
}

/* ---- options ---- */

static void ways_to_read(void **state)
{
	struct reach_options o = { .threads = 1 };
	struct world *w = malloc(sizeof(*w));
	struct reach *r;

	assert_non_null(w);
	world_init(w, 1 << 16);
	for (size_t i = 0; i < 4; i++)
		add(w, 64 * i, 48);
	point(w, ROOTS, HEAP + 20);                                  /* 0: interior */
	point(w, ROOTS + 16 + 3, HEAP + 64);                         /* 1: at an odd address */
	point(w, ROOTS + 32, (HEAP + 128) | UINT64_C(0xab) << 56);   /* 2: a tag */
	point(w, HEAP + 128 + 40, (HEAP + 192) | UINT64_C(1) << 63); /* 3: held by 2 */
	reach_free(run(w, &o));
	assert_int_equal(class_of(w, 0), REACH_POSSIBLE);
	assert_int_equal(class_of(w, 1), REACH_DEFINITE);
	assert_int_equal(class_of(w, 2), REACH_DEFINITE);
	assert_int_equal(class_of(w, 3), REACH_DEFINITE);
	o.interior_reachable = true;
	reach_free(run(w, &o));
	assert_int_equal(class_of(w, 0), REACH_REACHABLE);
	o.interior_reachable = false;
	o.unaligned = true;
	reach_free(run(w, &o));
	assert_int_equal(class_of(w, 1), REACH_REACHABLE);
	assert_int_equal(class_of(w, 2), REACH_DEFINITE);
	o.unaligned = false;
	o.pointer_mask = UINT64_C(0xffffffffffff);
	r = run(w, &o);
	assert_int_equal(class_of(w, 0), REACH_POSSIBLE);
	assert_int_equal(class_of(w, 1), REACH_DEFINITE);
	assert_int_equal(class_of(w, 2), REACH_REACHABLE);
	assert_int_equal(class_of(w, 3), REACH_REACHABLE);
	assert_int_equal(r->total[REACH_REACHABLE].bytes, 96);
	assert_int_equal(r->root_bytes[ROOT_DATA], 512);
	reach_free(r);
	o.roots = ROOT_BIT(ROOT_STACK);
	r = run(w, &o);
	assert_int_equal(r->root_bytes[ROOT_DATA], 0);
	assert_int_equal(r->total[REACH_REACHABLE].blocks, 0);
	reach_free(r);
	image_free(w->img);
	free(w);
}

struct asked {
	uint64_t address[16];
	enum reach_class class[16];
	size_t n;
	uint64_t excuse[2];
};

static bool excused(void *arg, const struct block *b, enum reach_class would_be)
{
	struct asked *a = arg;

	a->address[a->n] = b->address;
	a->class[a->n++] = would_be;
	return b->address == a->excuse[0] || b->address == a->excuse[1];
}

/* 0 -> 1 -> 2, 0 is suppressed; 3 possible and suppressed, 3 -> 4; 5 possible; 6 -> 7; 8 reachable */
static void suppressed(void **state)
{
	struct asked a = { .excuse = { HEAP, HEAP + 192 } };
	struct reach_options o = { .threads = 1, .suppressed = excused, .suppressed_arg = &a };
	const enum reach_class want[] = { REACH_SUPPRESSED, REACH_SUPPRESSED, REACH_SUPPRESSED,
		                          REACH_SUPPRESSED, REACH_SUPPRESSED, REACH_POSSIBLE,
		                          REACH_DEFINITE,   REACH_INDIRECT,   REACH_REACHABLE };
	const enum reach_class asked[] = { REACH_DEFINITE, REACH_INDIRECT, REACH_INDIRECT,
		                           REACH_POSSIBLE, REACH_POSSIBLE, REACH_POSSIBLE,
		                           REACH_DEFINITE, REACH_INDIRECT };
	struct world *w = malloc(sizeof(*w));
	struct reach *r;

	assert_non_null(w);
	world_init(w, 1 << 16);
	for (size_t i = 0; i < 9; i++)
		add(w, 64 * i, 48);
	point(w, HEAP, HEAP + 64);
	point(w, HEAP + 64, HEAP + 128);
	point(w, ROOTS, HEAP + 192 + 8);
	point(w, HEAP + 192, HEAP + 256);
	point(w, ROOTS + 8, HEAP + 320 + 8);
	point(w, HEAP + 384, HEAP + 448);
	point(w, ROOTS + 16, HEAP + 512);
	r = run(w, &o);
	for (size_t i = 0; i < 9; i++)
		assert_int_equal(class_of(w, i), want[i]);
	assert_int_equal(a.n, 8);
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(a.address[i], HEAP + 64 * i);
		assert_int_equal(a.class[i], asked[i]);
	}
	assert_int_equal(r->nleaders, 1);
	assert_int_equal(r->leaders[0].block, 6);
	assert_int_equal(r->leaders[0].indirect_bytes, 48);
	assert_int_equal(r->total[REACH_SUPPRESSED].bytes, 240);
	reach_free(r);
	image_free(w->img);
	free(w);
}

/* ---- memory ---- */

/* A page in the middle of a block, and the end of a root, are not there; what is around them counts. */
static void unreadable(void **state)
{
	struct reach_options o = { .threads = 1 };
	struct world *w = malloc(sizeof(*w));
	struct reach *r;

	assert_non_null(w);
	world_init(w, 8192);
	assert_non_null(
		image_fake_map(w->img, HEAP + 12288, 8192, IMAGE_READ | IMAGE_WRITE, "[heap]"));
	w->roots[0].end = ROOTS + 8192 + 4096;
	add(w, 4096, 3 * 4096 - 16); /* its second page is missing */
	add(w, 16384, 64);
	add(w, 16448, 64);
	add(w, 16512, 64);
	point(w, ROOTS + 8184, HEAP + 4096);
	point(w, HEAP + 8184, HEAP + 16384);
	point(w, HEAP + 12288, HEAP + 16448);
	r = run(w, &o);
	assert_int_equal(class_of(w, 0), REACH_REACHABLE);
	assert_int_equal(class_of(w, 1), REACH_REACHABLE);
	assert_int_equal(class_of(w, 2), REACH_REACHABLE);
	assert_int_equal(class_of(w, 3), REACH_DEFINITE);
	assert_int_equal(r->unreadable_bytes, 8192);
	reach_free(r);
	image_free(w->img);
	free(w);
}

/* 9 MB are cut where reads end; pointers there, and across when every byte is looked at. */
static void large_block(void **state)
{
	static const uint64_t at[] = {
		0,          (4 << 20) - 8, 4 << 20,      (8 << 20) - 8, (8 << 20), (9 << 20) - 8,
		524288 - 8, 524288,        (1 << 20) - 8
	};
	struct world *w = malloc(sizeof(*w));

	assert_non_null(w);
	for (unsigned int odd = 0; odd < 8; odd += 5)
		for (unsigned int threads = 1; threads <= 2; threads++) {
			struct reach_options o = { .threads = threads, .unaligned = odd != 0 };
			const size_t n = sizeof(at) / sizeof(at[0]);
			struct reach *r;

			world_init(w, 10 << 20);
			add(w, 0, 9 << 20);
			for (size_t i = 0; i < n; i++) {
				add(w, (9 << 20) + 64 * (i + 1), 48);
				/* the last word has no room behind it */
				point(w, HEAP + at[i] + (at[i] == (9 << 20) - 8 ? 0 : odd),
				      HEAP + (9 << 20) + 64 * (i + 1));
			}
			add(w, (9 << 20) + 64 * (n + 1), 48);
			if (odd)
				for (size_t i = 0; i < 2; i++)
					point(w, HEAP + at[i ? 4 : 2] - 3,
					      HEAP + (9 << 20) + 64 * (n + 1));
			point(w, ROOTS, HEAP);
			r = run(w, &o);
			/* words across the cuts overwrite those at them, and are found instead */
			assert_int_equal(class_of(w, n + 1), odd ? REACH_REACHABLE : REACH_DEFINITE);
			for (size_t i = 0; i < n && !odd; i++)
				assert_int_equal(class_of(w, i + 1), REACH_REACHABLE);
			assert_int_equal(r->total[REACH_REACHABLE].blocks +
			                         r->total[REACH_DEFINITE].blocks,
			                 n + 2);
			reach_free(r);
			image_free(w->img);
		}
	free(w);
}

/* Blocks without a byte between them, each holding the next but one: a chain and a lost chain. */
static void close_blocks(void **state)
{
	struct reach_options o = { .threads = 1 };
	struct world *w = malloc(sizeof(*w));
	struct reach *r;

	assert_non_null(w);
	world_init(w, 1 << 16);
	for (size_t i = 0; i < 1000; i++) {
		add(w, 8 * i, 8);
		if (i >= 2)
			point(w, HEAP + 8 * (i - 2), HEAP + 8 * i);
	}
	point(w, ROOTS, HEAP);
	r = run(w, &o);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(class_of(w, i), i % 2 == 0 ? REACH_REACHABLE
		                                 : i == 1   ? REACH_DEFINITE
		                                            : REACH_INDIRECT);
	assert_int_equal(r->nleaders, 1);
	assert_int_equal(r->leaders[0].indirect_blocks, 499);
	assert_int_equal(r->scanned_bytes, 8000);
	reach_free(r);
	image_free(w->img);
	free(w);
}

/* ---- why, and why not ---- */

static struct reach_path why(struct world *w, const struct reach_options *o, uint64_t addr)
{
	struct reach_path p = { 0 };

	assert_null(reach_why(w->img, w->b, w->n, w->roots, w->nroots, o, addr, &p));
	return p;
}

static void chains(void **state)
{
	uint64_t words[] = { 7, HEAP + 192 };
	struct reach_options o = { .threads = 1, .heuristics = REACH_ALL_HEURISTICS };
	struct world *w = malloc(sizeof(*w));
	struct reach_path p;

	assert_non_null(w);
	world_init(w, 1 << 16);
	w->roots[1] = (struct root){
		.kind = ROOT_REGISTER, .words = words, .nwords = 2, .name = "", .tid = 9
	};
	w->roots[2] = (struct root){
		.kind = ROOT_STACK, .start = ROOTS + 4096, .end = ROOTS + 4160, .name = ""
	};
	w->nroots = 3;
	for (size_t i = 0; i < 12; i++)
		add(w, 64 * i, 48);
	point(w, ROOTS + 8, HEAP); /* data -> 0 -> 1 -> 2 */
	point(w, HEAP + 40, HEAP + 64);
	point(w, HEAP + 64 + 16, HEAP + 128);
	point(w, HEAP + 192, HEAP + 128 + 20);  /* register -> 3, which points into 2 */
	point(w, ROOTS + 4096, HEAP + 256 + 9); /* stack, into 4 */
	point(w, HEAP + 256, HEAP + 320);       /* 4 -> 5 */
	point(w, HEAP + 384, HEAP + 448);       /* lost 6 -> 7 -> 8 */
	point(w, HEAP + 448, HEAP + 512);
	w->b[9].flags = BLOCK_INTERNAL; /* 9 -> 10 */
	point(w, HEAP + 576 + 8, HEAP + 640);
	reach_free(run(w, &o));

	p = why(w, &o, HEAP + 128 + 5); /* by starts, though the way by interior ones is shorter */
	assert_ptr_equal(p.root, &w->roots[0]);
	assert_int_equal(p.nsteps, 3);
	assert_int_equal(p.steps[0].from, ROOTS + 8);
	assert_int_equal(p.steps[0].to, HEAP);
	assert_int_equal(p.steps[1].from, HEAP + 40);
	assert_int_equal(p.steps[2].from, HEAP + 80);
	assert_int_equal(p.steps[2].block, 2);
	assert_false(p.steps[2].interior);
	reach_path_release(&p);
	p = why(w, &o, HEAP + 192);
	assert_ptr_equal(p.root, &w->roots[1]);
	assert_int_equal(p.nsteps, 1);
	assert_int_equal(p.steps[0].from, 0);
	reach_path_release(&p);
	p = why(w, &o, HEAP + 320);
	assert_ptr_equal(p.root, &w->roots[2]);
	assert_int_equal(p.nsteps, 2);
	assert_true(p.steps[0].interior);
	assert_int_equal(p.steps[0].to, HEAP + 265);
	assert_int_equal(p.steps[1].block, 5);
	reach_path_release(&p);
	p = why(w, &o, HEAP + 512); /* lost: from its leader */
	assert_null(p.root);
	assert_false(p.internal);
	assert_int_equal(p.nsteps, 3);
	assert_int_equal(p.steps[0].block, 6);
	assert_int_equal(p.steps[0].from, 0);
	assert_int_equal(p.steps[2].from, HEAP + 448);
	reach_path_release(&p);
	p = why(w, &o, HEAP + 704); /* 11: nothing */
	assert_null(p.root);
	assert_int_equal(p.nsteps, 0);
	assert_false(p.internal);
	reach_path_release(&p);
	p = why(w, &o, HEAP + 640);
	assert_null(p.root);
	assert_true(p.internal);
	assert_int_equal(p.nsteps, 2);
	assert_int_equal(p.steps[0].block, 9);
	assert_int_equal(p.steps[1].from, HEAP + 584);
	reach_path_release(&p);
	point(w, ROOTS + 16, HEAP + 64); /* now there is a shorter one */
	p = why(w, &o, HEAP + 128);
	assert_int_equal(p.nsteps, 2);
	assert_int_equal(p.steps[0].from, ROOTS + 16);
	reach_path_release(&p);
	image_free(w->img);
	free(w);
}

static void hits(void **state)
{
	const uint64_t p = HEAP + 256;
	const struct {
		enum reach_how how;
		uint64_t from, word;
	} want[] = {
		{ REACH_HIT_UNALIGNED, ROOTS + 11, p + 4 },
		{ REACH_HIT_TOP_BITS, ROOTS + 32, p | UINT64_C(0x8000) << 48 },
		{ REACH_HIT_LOW_BITS, ROOTS + 48, p | 3 },
		{ REACH_HIT_PACKED, ROOTS + 64, p << 16 | 0x1234 },
		{ REACH_HIT_UNALIGNED, ROOTS + 66,
		  p }, /* the same word, read from its third byte on */
		{ REACH_HIT_END, HEAP + 8, p + 48 },
	};
	const size_t n = sizeof(want) / sizeof(want[0]);
	struct world *w = malloc(sizeof(*w));
	struct reach_hit found[8];
	size_t got = 0;

	assert_non_null(w);
	world_init(w, 1 << 16);
	add(w, 0, 48);
	add(w, 256, 48);
	for (size_t i = 0; i < n; i++)
		point(w, want[i].from, want[i].word);
	assert_null(reach_explain(w->img, w->b, w->n, w->roots, w->nroots, p, found, 8, &got));
	assert_int_equal(got, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(found[i].how, want[i].how);
		assert_int_equal(found[i].from, want[i].from);
		assert_int_equal(found[i].word, want[i].word);
	}
	assert_ptr_equal(found[0].root, &w->roots[0]);
	assert_null(found[5].root);
	assert_int_equal(found[5].block, 0);
	assert_null(reach_explain(w->img, w->b, w->n, w->roots, w->nroots, p, found, 2, &got));
	assert_int_equal(got, 2);
	image_free(w->img);
	free(w);
}

/* ---- large graphs ---- */

#define MANY 150000u

static uint64_t seed = 7;

static uint32_t rnd(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((seed >> 33) % n);
}

struct large {
	struct image *img;
	struct block *blocks;
	uint32_t (*to)[3]; /* what a block points to: to starts, the third into the middle; MANY none */
	uint32_t root;
};

/* What is reached from the root by the first `kinds` pointers, written down without the code under test. */
static size_t reference(const struct large *g, unsigned int kinds, unsigned char *seen)
{
	uint32_t *queue = malloc(MANY * sizeof(*queue));
	size_t head = 0, tail = 0;

	assert_non_null(queue);
	for (uint32_t i = 0; i < MANY; i++)
		if (seen[i])
			queue[tail++] = i;
	if (!seen[g->root]) {
		seen[g->root] = 1;
		queue[tail++] = g->root;
	}
	while (head < tail) {
		uint32_t b = queue[head++];

		for (unsigned int k = 0; k < kinds; k++) {
			uint32_t to = g->to[b][k];

			if (to < MANY && !seen[to]) {
				seen[to] = 1;
				queue[tail++] = to;
			}
		}
	}
	free(queue);
	return tail;
}

static void large_graph(const char *shape)
{
	const uint64_t stride = 112;
	struct large g = { .img = image_fake_new(),
		           .blocks = calloc(MANY, sizeof(struct block)),
		           .to = malloc(MANY * sizeof(*g.to)) };
	unsigned char *strong = calloc(MANY, 1), *any = malloc(MANY);
	uint32_t *order = malloc(MANY * sizeof(*order));
	struct root root = { .kind = ROOT_DATA, .start = ROOTS, .end = ROOTS + 64, .name = "" };
	unsigned char *bytes;

	assert_true(g.img && g.blocks && g.to && strong && any && order);
	assert_non_null(image_fake_map(g.img, ROOTS, 4096, IMAGE_READ | IMAGE_WRITE, ""));
	bytes = image_fake_map(g.img, HEAP, (MANY * stride + 8191) & ~UINT64_C(4095),
	                       IMAGE_READ | IMAGE_WRITE, "[heap]");
	assert_non_null(bytes);
	for (uint32_t i = 0; i < MANY; i++) {
		g.blocks[i].address = HEAP + i * stride;
		g.blocks[i].size = 96;
		g.to[i][0] = g.to[i][1] = g.to[i][2] = MANY;
		order[i] = i;
	}
	for (uint32_t i = MANY; i > 1 && strcmp(shape, "chain") != 0; i--) {
		uint32_t j = rnd(i), t = order[i - 1];

		order[i - 1] = order[j];
		order[j] = t;
	}
	g.root = order[0];
	for (uint32_t i = 0; i + 100 < MANY; i++) {
		if (!strcmp(shape, "random")) {
			g.to[i][0] = rnd(10) ? rnd(MANY) : MANY;
			g.to[i][1] = rnd(3) ? MANY : rnd(MANY);
			g.to[i][2] = rnd(50) ? MANY : rnd(MANY);
		} else if (!strcmp(shape, "tree")) {
			g.to[order[i]][0] = 2 * i + 1 < MANY - 100 ? order[2 * i + 1] : MANY;
			g.to[order[i]][1] = 2 * i + 2 < MANY - 100 ? order[2 * i + 2] : MANY;
		} else { /* a list, both ways; one link in the middle is interior */
			unsigned int k = i == MANY / 2 ? 2 : 0;

			g.to[order[i]][k] = order[i + 1];
			g.to[order[i]][1] = i ? order[i - 1] : MANY;
		}
	}
	for (uint32_t i = 0; i < MANY; i++)
		for (unsigned int k = 0; k < 3; k++) {
			uint64_t v = g.to[i][k] < MANY
			                     ? g.blocks[g.to[i][k]].address + (k == 2 ? 13 : 0)
			                     : i;

			memcpy(bytes + i * stride + 8 * k + 24, &v, sizeof(v));
		}
	assert_true(image_fake_poke(g.img, ROOTS, g.blocks[g.root].address));
	reference(&g, 2, strong);
	memcpy(any, strong, MANY);
	reference(&g, 3, any);
	for (unsigned int way = 0; way < 4; way++) {
		struct reach_options o = { .threads = 1 + way % 2,
			                   .heuristics = REACH_ALL_HEURISTICS,
			                   .chase_after = way >= 2 ? 20 : 0 };
		struct reach *r = NULL;

		assert_null(reach_run(g.img, g.blocks, MANY, &root, 1, &o, &r));
		for (uint32_t i = 0; i < MANY; i++) {
			enum reach_class c = block_class(&g.blocks[i]);

			if (c != (strong[i] ? REACH_REACHABLE
			          : any[i]  ? REACH_POSSIBLE
			                    : c) ||
			    (!any[i] && c != REACH_DEFINITE && c != REACH_INDIRECT))
				fail_msg("%s, way %u: block %u is %d", shape, way, i, (int)c);
		}
		assert_int_equal(r->scanned_bytes, (uint64_t)MANY * 96);
		assert_int_equal(r->unreadable_bytes, 0);
		reach_free(r);
	}
	image_free(g.img);
	free(g.blocks);
	free(g.to);
	free(strong);
	free(any);
	free(order);
}

static void large_random(void **state)
{
	large_graph("random");
}

static void large_tree(void **state)
{
	large_graph("tree");
}

static void large_list(void **state)
{
	large_graph("list");
}

/* In order of address: the second thread reads ahead for the first. */
static void large_chain(void **state)
{
	large_graph("chain");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers),      cmocka_unit_test(heuristics),
		cmocka_unit_test(ways_to_read), cmocka_unit_test(suppressed),
		cmocka_unit_test(unreadable),   cmocka_unit_test(large_block),
		cmocka_unit_test(close_blocks), cmocka_unit_test(chains),
		cmocka_unit_test(hits),         cmocka_unit_test(large_random),
		cmocka_unit_test(large_tree),   cmocka_unit_test(large_list),
		cmocka_unit_test(large_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
