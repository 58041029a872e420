/* SPDX-License-Identifier: Apache-2.0 */
/* Reachability on images made here: random graphs against a simple reference, and shapes with known answers. */
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
#define MAX 48

struct world {
	struct image *img;
	struct block b[MAX];
	size_t n;
	struct root root;
};

static void world_init(struct world *w, uint64_t heap_len)
{
	*w = (struct world){ .img = image_fake_new() };
	assert_non_null(w->img);
	assert_non_null(image_fake_map(w->img, ROOTS, 4096, IMAGE_READ | IMAGE_WRITE, ""));
	assert_non_null(image_fake_map(w->img, HEAP, heap_len, IMAGE_READ | IMAGE_WRITE, "[heap]"));
	w->root = (struct root){ .kind = ROOT_DATA, .start = ROOTS, .end = ROOTS + 512, .name = "" };
}

static void add(struct world *w, uint64_t at, uint64_t size)
{
	w->b[w->n].address = HEAP + at;
	w->b[w->n++].size = size;
}

static void point(struct world *w, uint64_t from, uint64_t to)
{
	assert_true(image_fake_poke(w->img, from, to));
}

static struct reach *run(struct world *w, const struct reach_options *o)
{
	struct reach *r = NULL;
	struct seep_error *err = reach_run(w->img, w->b, w->n, &w->root, 1, o, &r);

	assert_null(err);
	return r;
}

static enum reach_class class_of(const struct world *w, size_t i)
{
	return block_class(&w->b[i]);
}

static void empty_input(void **state)
{
	struct reach_options o = { .threads = 1 };
	struct world w;
	struct reach *r;

	world_init(&w, 4096);
	r = run(&w, &o);
	assert_int_equal(r->nleaders, 0);
	reach_free(r);
	image_free(w.img);
}

/* 0 -> 1; 2 possible by 1; 3 <-> 4 lost cycle holding 5; 6 and 7 share 8; 9 points to itself. */
static void shapes(void **state)
{
	for (unsigned int threads = 1; threads <= 2; threads++) {
		struct reach_options o = { .threads = threads, .heuristics = REACH_ALL_HEURISTICS };
		struct world w;
		struct reach *r;

		world_init(&w, 1 << 16);
		for (size_t i = 0; i < 10; i++)
			add(&w, 64 * i, 48);
		point(&w, ROOTS + 8, HEAP);
		point(&w, HEAP + 40, HEAP + 64);
		point(&w, HEAP + 64, HEAP + 128 + 47);
		point(&w, HEAP + 192, HEAP + 256);
		point(&w, HEAP + 256 + 16, HEAP + 192 + 5);
		point(&w, HEAP + 256 + 24, HEAP + 320);
		point(&w, HEAP + 384, HEAP + 512);
		point(&w, HEAP + 448, HEAP + 512);
		point(&w, HEAP + 576, HEAP + 576);
		r = run(&w, &o);
		assert_int_equal(class_of(&w, 0), REACH_REACHABLE);
		assert_int_equal(class_of(&w, 1), REACH_REACHABLE);
		assert_int_equal(class_of(&w, 2), REACH_POSSIBLE);
		assert_int_equal(class_of(&w, 3), REACH_DEFINITE);
		assert_true(w.b[3].flags & BLOCK_CYCLE);
		assert_int_equal(class_of(&w, 4), REACH_INDIRECT);
		assert_int_equal(class_of(&w, 5), REACH_INDIRECT);
		assert_int_equal(class_of(&w, 8), REACH_INDIRECT);
		assert_int_equal(class_of(&w, 9), REACH_DEFINITE);
		assert_true(w.b[9].flags & BLOCK_CYCLE);
		assert_int_equal(r->nleaders, 4);
		assert_int_equal(r->leaders[0].block, 3);
		assert_int_equal(r->leaders[0].indirect_blocks, 2);
		assert_int_equal(r->leaders[0].indirect_bytes, 96);
		assert_int_equal(r->leaders[1].indirect_blocks, 0);
		assert_int_equal(r->leaders[3].indirect_blocks, 0);
		assert_int_equal(r->scanned_bytes, 480);
		reach_free(r);
		image_free(w.img);
	}
}

/* ---- random graphs ---- */

static uint64_t seed = 1;

static uint64_t rnd(uint64_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % n;
}

/* edge[i][j]: 1 interior, 2 start; node n is the root */
static void reference(const struct world *w, unsigned char (*edge)[MAX], unsigned int excused,
                      enum reach_class *ret)
{
	size_t n = w->n;
	bool strong[MAX] = { 0 }, any[MAX] = { 0 }, held[MAX] = { 0 }, path[MAX][MAX] = { 0 };

	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i <= n; i++)
			for (size_t j = 0; j < n; j++)
				if (edge[i][j] == 2 && (i == n || strong[i]) && !strong[j])
					strong[j] = more = true;
	}
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i <= n; i++)
			for (size_t j = 0; j < n; j++)
				if (edge[i][j] && !any[j] && !(excused >> j & 1 && !strong[j]) &&
				    (i == n || strong[i] || any[i]))
					any[j] = more = true;
	}
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			if (!strong[i] && excused >> i & 1 && !held[i])
				held[i] = more = true;
			for (size_t j = 0; j < n; j++)
				if (held[i] && edge[i][j] && !strong[j] && !any[j] && !held[j])
					held[j] = more = true;
		}
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			path[i][j] = edge[i][j] && !strong[i] && !any[i] && !held[i];
	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < n; j++)
				path[i][j] |= path[i][k] && path[k][j];
	for (size_t i = 0; i < n; i++) {
		bool leads = true;

		for (size_t j = 0; j < n; j++)
			if (j != i && path[j][i] && (!path[i][j] || j < i))
				leads = false;
		ret[i] = strong[i] ? REACH_REACHABLE
		         : any[i]  ? REACH_POSSIBLE
		         : held[i] ? REACH_SUPPRESSED
		         : leads   ? REACH_DEFINITE
		                   : REACH_INDIRECT;
	}
}

/*
 * What a leader dominates, by the definition: with it (and, of a cycle, those in it) taken away, no other
 * leader gets there any more.
 */
static void credit(const struct world *w, unsigned char (*edge)[MAX], const enum reach_class *want,
                   size_t leader, uint64_t *ret_blocks, uint64_t *ret_bytes)
{
	bool from[MAX] = { 0 }, back[MAX] = { 0 }, others[MAX] = { 0 };
	size_t n = w->n;

	from[leader] = back[leader] = true;
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < n; j++) {
				if (!edge[i][j] ||
				    (want[i] != REACH_DEFINITE && want[i] != REACH_INDIRECT) ||
				    (want[j] != REACH_DEFINITE && want[j] != REACH_INDIRECT))
					continue;
				if (from[i] && !from[j])
					from[j] = more = true;
				if (back[j] && !back[i])
					back[i] = more = true;
			}
	}
	for (size_t i = 0; i < n; i++)
		others[i] = want[i] == REACH_DEFINITE && i != leader;
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < n; j++)
				if (others[i] && edge[i][j] && want[j] == REACH_INDIRECT &&
				    !(from[j] && back[j]) && !others[j])
					others[j] = more = true;
	}
	*ret_blocks = *ret_bytes = 0;
	for (size_t i = 0; i < n; i++)
		if (from[i] && !others[i] && i != leader) {
			++*ret_blocks;
			*ret_bytes += w->b[i].size;
		}
}

/* Each takes 12 MB of memory for a heap, which is what AddressSanitizer makes slow. */
#ifdef __SANITIZE_ADDRESS__
#define GRAPHS 1500
#else
#define GRAPHS 6000
#endif

static void random_graphs(void **state)
{
	static const uint64_t strides[] = { 32, 48, 24, 17, 4096 * 5, 200000 };

	for (int round = 0; round < GRAPHS; round++) {
		static unsigned char edge[MAX + 1][MAX];
		struct reach_options o = { .threads = 1 + (unsigned int)round % 2,
			                   .chase_after = round % 3 ? 0 : 1 };
		uint64_t stride = strides[rnd(6)], at = rnd(3) * 8;
		size_t n = 1 + rnd(30), edges = rnd(2 * n + 1);
		enum reach_class want[MAX];
		uint64_t totals[REACH_NCLASSES] = { 0 };
		unsigned int excused = 0;
		struct world w;
		struct reach *r;

		memset(edge, 0, sizeof(edge));
		world_init(&w, 12 << 20);
		for (size_t i = 0; i < n; i++) {
			add(&w, at, 8 + rnd(stride - 8));
			at += stride + rnd(2) * stride;
			if (!rnd(8)) {
				excused |= 1u << i;
				w.b[i].flags = BLOCK_IGNORED;
			}
		}
		for (size_t e = 0; e < edges; e++) {
			size_t i = rnd(4) ? rnd(n) : n, j = rnd(n);
			uint64_t from = ROOTS + rnd(60) * 8, to = w.b[j].address, room, old;
			bool start = rnd(3) != 0 || w.b[j].size < 2;

			if (i < n) {
				from = (w.b[i].address + 7) & ~UINT64_C(7);
				room = w.b[i].address + w.b[i].size;
				if (room < from + 8)
					continue;
				from += rnd((room - from) / 8) * 8;
			}
			if (image_read_u64(w.img, from, &old) && old)
				continue;
			if (!start)
				to += 1 + rnd(w.b[j].size - 1);
			point(&w, from, to);
			if (edge[i][j] < (start ? 2 : 1))
				edge[i][j] = start ? 2 : 1;
		}
		reference(&w, edge, excused, want);
		r = run(&w, &o);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(class_of(&w, i), want[i]);
			totals[want[i]] += w.b[i].size;
			assert_int_equal(w.b[i].flags & 0xf800, 0);
		}
		for (size_t c = 0; c < REACH_NCLASSES; c++)
			assert_int_equal(r->total[c].bytes, totals[c]);
		for (size_t i = 0, k = 0; i < n; i++) {
			uint64_t blocks, bytes;

			if (want[i] != REACH_DEFINITE)
				continue;
			credit(&w, edge, want, i, &blocks, &bytes);
			assert_true(k < r->nleaders);
			assert_int_equal(r->leaders[k].block, i);
			assert_int_equal(r->leaders[k].indirect_blocks, blocks);
			assert_int_equal(r->leaders[k++].indirect_bytes, bytes);
		}
		reach_free(r);
		image_free(w.img);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_input),
		cmocka_unit_test(shapes),
		cmocka_unit_test(random_graphs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
