/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor without a process: a made image is split to the byte, every cause is named first when its evidence is there
 * and not when it is a little less, and what is written as JSON is read back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/doctor_private.h"
#include "base/buf.h"
#include "base/error.h"
#include "heap/heap.h"
#include "output/doctor_report.h"
#include "output/emit.h"
#include "proc/image_fake.h"

#define MIB (UINT64_C(1) << 20)
#define RW (IMAGE_READ | IMAGE_WRITE)
#define PAGE UINT64_C(4096)

/* ---- the split ------------------------------------------------------------------------- */

/*
 * One arena of 16 pages at 0x100000:
 *
 *     0x100000  block of 1000 in use | 0x1003f0: free chunk up to 0x108010: whole pages 0x101000 to 0x108000
 *     0x108010  block of 0x100, lost | 0x108110: tcache chunk of 0x100 | 0x108210 fastbin chunk of 0x40 | block to 0x109000
 *     0x109000  top to 0x110000: whole pages 0x10a000 to 0x110000
 */
static struct block blocks[] = {
	{ .address = 0x100010, .size = 1000 },
	{ .address = 0x108020, .size = 0xf8 },
	{ .address = 0x108260, .size = 0xd98 },
	{ .address = 0x200010, .size = 0x2ff0, .flags = BLOCK_MMAPPED },
};
static struct heap_free chunks[] = {
	{ .address = 0x1003f0, .size = 0x7c20, .kind = HEAP_FREE_BIN },
	{ .address = 0x108110, .size = 0x100, .kind = HEAP_FREE_TCACHE },
	{ .address = 0x108210, .size = 0x40, .kind = HEAP_FREE_FAST },
	{ .address = 0x109000, .size = 0x7000, .kind = HEAP_FREE_TOP },
};
static struct heap_piece pieces[] = {
	{ 0x100000, 0x110000, 0, false },
	{ 0x200000, 0x203000, 0, true },
};
static struct heap_arena arena = { .address = 0x11000, .main = true };
static struct roots_stack stacks[] = {
	{ 0x300000, 0x304000, 7, false },
	{ 0x310000, 0x314000, 0, true },
};

static struct image *made_image(void)
{
	struct image *img = image_fake_new();

	image_fake_map(img, 0x10000, 0x2000, RW, "/bin/x");
	image_fake_module(img, "/bin/x", 0x10000, 0x12000);
	image_fake_map(img, 0x100000, 0x10000, RW, "[heap]");
	image_fake_map(img, 0x200000, 0x5000, RW, ""); /* a mapped block, and two pages of nobody's */
	image_fake_map(img, 0x300000, 0x4000, RW, "");
	image_fake_map(img, 0x310000, 0x4000, RW, "");
	image_fake_map(img, 0x400000, 0x1000, RW | IMAGE_SHARED, "/dev/shm/x"); /* not private */
	return img;
}

static void split(void **state)
{
	struct heap heap = { .allocator = "glibc",
		             .blocks = blocks,
		             .nblocks = 4,
		             .free = chunks,
		             .nfree = 4,
		             .pieces = pieces,
		             .npieces = 2,
		             .arenas = &arena,
		             .narenas = 1,
		             .params = { .address = 1, .trim_threshold = 131072 } };
	struct check_input in = { .heap = &heap, .roots = { .stacks = stacks, .nstacks = 2 } };
	struct image *img = made_image();
	struct doctor *d = doctor_new();
	struct doctor_look l = { .d = d, .img = img, .in = &in };

	(void)state;
	blocks[1].flags = REACH_DEFINITE << BLOCK_CLASS_SHIFT;
	assert_null(doctor_pages_take(img, NULL, &l.pages));
	assert_null(doctor_split(&l));
	assert_int_equal(d->classes[DOCTOR_REACHABLE], 1000 + 0xd98);
	assert_int_equal(d->classes[DOCTOR_LEAKED], 0xf8);
	assert_int_equal(d->classes[DOCTOR_MAPPED_REACHABLE], 0x2ff0);
	assert_int_equal(d->classes[DOCTOR_BINS], 7 * PAGE);
	assert_int_equal(d->classes[DOCTOR_TOP_MAIN], 6 * PAGE);
	assert_int_equal(d->classes[DOCTOR_PINNED], 0x7c20 - 7 * PAGE + PAGE);
	assert_int_equal(d->classes[DOCTOR_CACHED], 0x140);
	assert_int_equal(d->facts[FACT_TCACHE], 0x100);
	assert_int_equal(d->facts[FACT_FASTBINS], 0x40);
	assert_int_equal(d->classes[DOCTOR_STACKS], 4 * PAGE);
	assert_int_equal(d->classes[DOCTOR_STACKS_ENDED], 4 * PAGE);
	assert_int_equal(d->facts[FACT_STACKS_UNJOINED], 1);
	assert_int_equal(d->classes[DOCTOR_DATA], 2 * PAGE);
	assert_int_equal(d->classes[DOCTOR_ANONYMOUS], 2 * PAGE);
	assert_int_equal(d->facts[FACT_RSS], (2 + 16 + 5 + 4 + 4) * PAGE);
	assert_int_equal(d->facts[FACT_LEAKED_BLOCKS], 1);
	assert_int_equal(d->facts[FACT_FREE_LARGEST], 7 * PAGE);
	assert_int_equal(d->facts[FACT_MAPPED_BLOCKS], 1);
	assert_int_equal(d->arenas[0].resident, 16 * PAGE);

	/* who pins: the block on the page of the free chunk's beginning; at its end are 16 bytes, not worth asking */
	assert_null(doctor_find_pins(&l, NULL));
	assert_int_equal(d->npins, 1);
	assert_int_equal(d->pins[0].holds, 0x1000 - 0x3f0);
	assert_int_equal(d->pins[0].address, 0x100010);
	doctor_pages_free(l.pages);
	free(l.holders);
	doctor_free(d);
	image_free(img);
}

/* ---- the rules --------------------------------------------------------------------------- */

struct setting {
	int of; /* class, or -1 - fact */
	uint64_t value;
};
#define CLASS(c, v)           \
	{                     \
		DOCTOR_##c, v \
	}
#define FACT(f, v)               \
	{                        \
		-1 - FACT_##f, v \
	}
#define END                   \
	{                     \
		0, UINT64_MAX \
	}

static void set(struct doctor *d, const struct setting *s)
{
	for (; s->value != UINT64_MAX; s++) {
		if (s->of >= 0)
			d->classes[s->of] = s->value;
		else
			d->facts[-1 - s->of] = s->value;
	}
}

static struct doctor *healthy(void)
{
	struct doctor *d = doctor_new();

	d->exe = strdup("/bin/x");
	d->command = strdup("x");
	d->allocator = strdup("glibc");
	d->layout = strdup("");
	d->cgroup = strdup("");
	d->pid = 4711;
	d->how = DOCTOR_CLONE;
	d->real_ns = 1000;
	set(d,
	    (struct setting[]){ CLASS(REACHABLE, 30 * MIB), CLASS(FILE, 10 * MIB),
	                        FACT(IN_USE, 30 * MIB), FACT(BLOCKS, 1000), FACT(LEAKED_BYTES, 0),
	                        FACT(LEAKED_BLOCKS, 0), FACT(HEAP_RESIDENT, 31 * MIB),
	                        FACT(TRIM_THRESHOLD, 128 << 10), FACT(MMAP_THRESHOLD, 128 << 10),
	                        FACT(ARENAS, 1), FACT(ANON, 31 * MIB), FACT(STACKS_LIVE, 1), END });
	return d;
}

static void add_up(struct doctor *d)
{
	d->facts[FACT_RSS] = 0;
	for (int i = 0; i < DOCTOR_NCLASSES; i++)
		d->facts[FACT_RSS] += d->classes[i];
}

static const struct {
	const char *cause;
	struct setting enough[8], less[3];
} levels[] = {
	{ "leak",
	  { CLASS(LEAKED, 3 * MIB), FACT(LEAKED_BYTES, 3 * MIB), FACT(LEAKED_BLOCKS, 9), END },
	  { FACT(LEAKED_BYTES, MIB - 1), END } },
	{ "arenas-left",
	  { CLASS(BINS, 60 * MIB), FACT(ARENAS, 9), FACT(ARENAS_DETACHED, 8),
	    FACT(ARENAS_RESIDENT, 64 * MIB), FACT(ARENAS_LIVE, MIB), FACT(DETACHED_FREE, 60 * MIB),
	    FACT(HEAP_RESIDENT, 95 * MIB), END },
	  { FACT(ARENAS, 7), END } },
	{ "thread-arena-tops",
	  { CLASS(TOP_THREADS, 100 * MIB), FACT(ARENAS, 5), FACT(TRIM_THRESHOLD, 60 * MIB),
	    FACT(HEAP_RESIDENT, 131 * MIB), END },
	  { CLASS(TOP_THREADS, 16 * MIB - 1), END } },
	{ "heap-holes",
	  { CLASS(BINS, 40 * MIB), FACT(HEAP_RESIDENT, 70 * MIB), FACT(FREE_LARGEST, MIB), END },
	  { CLASS(BINS, 13 * MIB), END } },
	{ "pinned-top",
	  { CLASS(BINS, 40 * MIB), FACT(HEAP_RESIDENT, 70 * MIB), FACT(FREE_LARGEST, 30 * MIB), END },
	  { FACT(HEAP_RESIDENT, 300 * MIB), END } },
	{ "heap-top",
	  { CLASS(TOP_MAIN, 40 * MIB), FACT(HEAP_RESIDENT, 70 * MIB),
	    FACT(TRIM_THRESHOLD, 64 * MIB), END },
	  { CLASS(TOP_MAIN, MIB), END } },
	{ "mmap-threshold",
	  { CLASS(BINS, 12 * MIB), FACT(FREE_LARGE, 11 * MIB), FACT(MMAP_THRESHOLD, 8 * MIB), END },
	  { FACT(MMAP_THRESHOLD, 128 << 10), END } },
	{ "fragmentation",
	  { CLASS(PINNED, 60 * MIB), FACT(HEAP_RESIDENT, 91 * MIB), END },
	  { FACT(HEAP_RESIDENT, 160 * MIB), END } },
	{ "thread-caches",
	  { CLASS(CACHED, 8 * MIB), FACT(TCACHE, 8 * MIB), FACT(FASTBINS, 0), END },
	  { CLASS(CACHED, 3 * MIB), END } },
	{ "fastbins",
	  { CLASS(CACHED, 8 * MIB), FACT(TCACHE, 0), FACT(FASTBINS, 8 * MIB), END },
	  { END } },
	{ "free-swapped",
	  { FACT(SWAP_FREE, 64 * MIB), FACT(SWAP, 80 * MIB), END },
	  { FACT(SWAP_FREE, 64 * MIB - 1), END } },
	{ "huge-pages",
	  { CLASS(REACHABLE, 15 * MIB), FACT(HEAP_RESIDENT, 31 * MIB), FACT(ANON_HUGE, 20 * MIB),
	    FACT(HUGE_WASTE, 8 * MIB), END },
	  { FACT(ANON_HUGE, 15 * MIB), END } },
	{ "huge-pages",
	  { FACT(HUGE_ZEROS, 40 * MIB), FACT(ANON_HUGE, 80 * MIB), END },
	  { FACT(HUGE_ZEROS, 16 * MIB - 1), END } },
	{ "jemalloc-dirty",
	  { CLASS(OTHER_FREE, 40 * MIB), FACT(JEMALLOC_DIRTY, 40 * MIB),
	    FACT(JEMALLOC_RESIDENT, 80 * MIB), FACT(JEMALLOC_ACTIVE, 30 * MIB), END },
	  { FACT(JEMALLOC_DIRTY, 19 * MIB), END } },
	{ "jemalloc-internal",
	  { CLASS(OTHER_INTERNAL, 20 * MIB), FACT(JEMALLOC_INTERNAL, 20 * MIB),
	    FACT(JEMALLOC_ACTIVE, 60 * MIB), END },
	  { FACT(JEMALLOC_INTERNAL, 17 * MIB), END } },
	{ "tcmalloc-page-heap",
	  { CLASS(OTHER_FREE, 20 * MIB), FACT(TCMALLOC_FREE, 20 * MIB),
	    FACT(TCMALLOC_HEAP, 90 * MIB), END },
	  { FACT(TCMALLOC_FREE, 17 * MIB), END } },
	{ "tcmalloc-caches",
	  { CLASS(OTHER_CACHED, 20 * MIB), FACT(TCMALLOC_CACHES, 20 * MIB),
	    FACT(TCMALLOC_HEAP, 100 * MIB), END },
	  { FACT(TCMALLOC_CACHES, 14 * MIB), END } },
	{ "mimalloc-retained",
	  { CLASS(OTHER_FREE, 40 * MIB), FACT(MIMALLOC_RESIDENT, 100 * MIB),
	    FACT(MIMALLOC_LIVE, 60 * MIB), END },
	  { CLASS(OTHER_FREE, 29 * MIB), END } },
	{ "thread-stacks",
	  { CLASS(STACKS_ENDED, 9 * MIB), FACT(STACKS_DEAD, 300), FACT(STACKS_UNJOINED, 300), END },
	  { CLASS(STACKS_ENDED, 4 * MIB), END } },
	{ "lazy-free",
	  { CLASS(ANONYMOUS, 50 * MIB), FACT(LAZY_FREE, 50 * MIB), END },
	  { FACT(LAZY_FREE, 20 * MIB), END } },
	{ "anonymous-mappings",
	  { CLASS(ANONYMOUS, 60 * MIB), FACT(ANON_MAPS, 3), END },
	  { CLASS(ANONYMOUS, 15 * MIB), END } },
	{ "runtime-heap",
	  { CLASS(ANONYMOUS, 60 * MIB), FACT(JIT, 50 * MIB), END },
	  { CLASS(ANONYMOUS, 15 * MIB), END } },
	{ "shared-memory", { CLASS(SHMEM, 60 * MIB), END }, { CLASS(SHMEM, 15 * MIB), END } },
	{ "file-pages", { CLASS(FILE, 60 * MIB), END }, { CLASS(FILE, 29 * MIB), END } },
	{ "in-use", { END }, { CLASS(FILE, 100 * MIB), END } },
};

static bool has_verdict(const struct doctor *d, const char *cause)
{
	for (size_t i = 0; i < d->nverdicts; i++)
		if (!strcmp(d->verdicts[i].cause, cause))
			return true;
	return false;
}

static void causes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		struct doctor *d = healthy();
		const struct doctor_verdict *v;

		set(d, levels[i].enough);
		add_up(d);
		assert_null(doctor_judge(d, NULL));
		assert_true(d->nverdicts > 0);
		assert_string_equal(d->verdicts[0].cause, levels[i].cause);
		v = &d->verdicts[0];
		assert_true(v->title && v->nevidence && v->nremedies && v->share >= 0 &&
		            v->share <= 1);
		assert_false(v->has_growth);
		for (size_t k = 0; k < v->nremedies; k++)
			if (v->remedies[k].command && strstr(v->remedies[k].command, "seep "))
				assert_true(!strstr(v->remedies[k].command, "PID"));
		set(d, levels[i].less);
		add_up(d);
		assert_null(doctor_judge(d, NULL));
		if (levels[i].less[0].value != UINT64_MAX)
			assert_false(has_verdict(d, levels[i].cause));
		doctor_free(d);
	}
}

/* What another allocator says is in use is not called reachable: nobody looked. */
static void another_allocators_word(void **state)
{
	const struct setting theirs[] = { CLASS(REACHABLE, MIB), CLASS(OTHER_LIVE, 60 * MIB), END };

	(void)state;
	for (int other = 0; other < 2; other++) {
		struct doctor *d = healthy();
		const struct doctor_verdict *v;

		if (other)
			set(d, theirs);
		add_up(d);
		assert_null(doctor_judge(d, NULL));
		v = &d->verdicts[0];
		assert_string_equal(v->cause, "in-use");
		assert_int_equal(!strstr(v->title, "reachable"), other);
		assert_int_equal(!strstr(v->evidence[0], "what is lost: "), other);
		doctor_free(d);
	}
}

/* Over a window what explains the growth comes first, however large something else is. */
static void growth(void **state)
{
	static const struct {
		const char *cause;
		struct setting now[5];
	} cases[] = {
		{ "leak", { CLASS(LEAKED, 9 * MIB), FACT(LEAKED_BYTES, 9 * MIB), END } },
		{ "reachable-growth", { CLASS(REACHABLE, 39 * MIB), FACT(BLOCKS, 1500), END } },
		{ "mmap-growth", { CLASS(ANONYMOUS, 9 * MIB), FACT(ANON_MAPS, 3), END } },
		{ "thread-stacks", { CLASS(STACKS, 9 * MIB), FACT(STACKS_LIVE, 90), END } },
		{ "shared-memory", { CLASS(SHMEM, 9 * MIB), END } },
		{ "file-pages", { CLASS(FILE, 19 * MIB), END } },
		{ "heap-holes",
		  { CLASS(BINS, 69 * MIB), FACT(HEAP_RESIDENT, 100 * MIB), FACT(FREE_LARGEST, MIB),
		    END } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct doctor *a = healthy(), *b = healthy();
		const struct setting both[] = {
			CLASS(BINS, 60 * MIB),        FACT(HEAP_RESIDENT, 91 * MIB),
			FACT(FREE_LARGEST, MIB),      FACT(CGROUP_LIMIT, 200 * MIB),
			FACT(CGROUP_USED, 110 * MIB), END
		};

		set(a, both);
		set(b, both);
		set(b, cases[i].now);
		add_up(a);
		add_up(b);
		b->real_ns = a->real_ns + 10 * UINT64_C(1000000000);
		assert_null(doctor_judge(b, a));
		assert_int_equal(b->growth, 9 * MIB);
		assert_string_equal(b->verdicts[0].cause, cases[i].cause);
		assert_true(b->verdicts[0].has_growth);
		assert_int_equal(b->verdicts[0].growth, 9 * MIB);
		/* 90 MiB are left at 0.9 MiB a second */
		assert_int_equal(b->until_limit_ns / 1000000000, 100);
		/* nothing grew: nothing explains it, and it lasts */
		b->real_ns = a->real_ns;
		assert_null(doctor_judge(a, a));
		assert_true(a->until_limit_ns == UINT64_MAX);
		assert_string_equal(a->verdicts[0].cause, "heap-holes");
		doctor_free(a);
		doctor_free(b);
	}
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void json(void **state)
{
	const struct emit_options eo = { .format = EMIT_JSON };
	const struct doctor_report_options o = { 0 };
	struct doctor *d = healthy(), *back = NULL;
	struct buf out = { 0 };
	struct emit *e = emit_new(&eo, &out);

	(void)state;
	d->command[0] = '\x1b'; /* hostile names stay text */
	d->arenas = calloc(1, sizeof(*d->arenas));
	d->narenas = 1;
	d->arenas[0] =
		(struct doctor_arena){ .address = 0x7f0000000030, .attached = 3, .resident = 99 };
	set(d, (struct setting[]){ CLASS(BINS, 40 * MIB), FACT(SWAP, 7), END });
	add_up(d);
	assert_null(doctor_judge(d, NULL));
	assert_null(doctor_report_emit(e, d, NULL, &o));
	emit_free(e);
	assert_false(out.failed);
	assert_null(doctor_read(out.data, out.len, &back));
	assert_int_equal(back->pid, d->pid);
	assert_int_equal(back->how, DOCTOR_CLONE);
	assert_int_equal(back->real_ns, d->real_ns);
	assert_memory_equal(back->classes, d->classes, sizeof(d->classes));
	assert_memory_equal(back->facts, d->facts, sizeof(d->facts));
	assert_int_equal(back->narenas, 1);
	assert_int_equal(back->arenas[0].address, 0x7f0000000030);
	assert_int_equal(back->arenas[0].attached, 3);
	assert_null(doctor_judge(back, NULL));
	assert_int_equal(back->nverdicts, d->nverdicts);
	for (size_t i = 0; i < d->nverdicts; i++)
		assert_string_equal(back->verdicts[i].title, d->verdicts[i].title);
	doctor_free(back);
	doctor_free(d);
	buf_release(&out);
}

static void no_json(void **state)
{
	static const char *const texts[] = { "",
		                             "{",
		                             "[]",
		                             "null",
		                             "{\"kind\": \"doctor\"}",
		                             "{\"kind\": 3, \"version\": 1}",
		                             "{\"kind\": \"report\", \"version\": 1}",
		                             "[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]" };
	const char odd[] =
		"{\"kind\":\"doctor\",\"version\":1,\"facts\":{\"rss\":-5,\"pss\":1e300,\"uss\":\"7\"},"
		"\"classes\":[7,{\"class\":3,\"bytes\":1},{\"class\":\"leaked\",\"bytes\":9}],\"arenas\":{},"
		"\"parts\":[{\"by\":\"nobody\"},{}]}";
	struct doctor *d = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct seep_error *err = doctor_read(texts[i], strlen(texts[i]), &d);

		assert_non_null(err);
		assert_null(d);
		seep_error_free(err);
	}
	assert_null(doctor_read(odd, sizeof(odd) - 1, &d));
	assert_false(doctor_knows(d, FACT_RSS) || doctor_knows(d, FACT_PSS) ||
	             doctor_knows(d, FACT_USS));
	assert_int_equal(d->classes[DOCTOR_LEAKED], 9);
	assert_int_equal(d->nparts, 0);
	assert_null(doctor_judge(d, NULL));
	doctor_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split),
		cmocka_unit_test(causes),
		cmocka_unit_test(another_allocators_word),
		cmocka_unit_test(growth),
		cmocka_unit_test(json),
		cmocka_unit_test(no_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
