/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of free chunks could be given back, and whether that is still so, on heaps made word by word.  How many pages
 * there are, and which of them are in memory, is what the test put there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "heap/free_pages.h"
#include "heap/heap.h"
#include "heap/recheck.h"
#include "proc/image_fake.h"

#define PAGE 4096ull
#define RW (IMAGE_READ | IMAGE_WRITE)
#define RX (IMAGE_READ | IMAGE_EXEC)
#define CODE 0x7f0000000000ull
#define CODE_BYTES (40 * PAGE)
#define DATA (CODE + CODE_BYTES)
#define ARENA (DATA + 0x20)
#define BASE 0x555500000000ull
#define HEAP_PAGES 64ull
#define HEAP2 0x7f1000000000ull /* of the second arena, 64 MB aligned */
#define ARENA2 (HEAP2 + 0x30)
#define STACK 0x7ffff0000000ull
#define STACK_BYTES (16 * PAGE)
#define SP (STACK + 8 * PAGE)
#define BINS 112u

static struct image *img;
static struct heap heap;
static struct heap_arena arenas[2];
static struct heap_free chunks[8];
static uint8_t state_of[HEAP_PAGES]; /* of BASE's pages */
static struct image_ops ops;

static void put(uint64_t addr, uint64_t v)
{
	assert_true(image_fake_poke(img, addr, v));
}

static void resident(const struct image *i, uint64_t start, uint64_t n, uint8_t *ret)
{
	for (uint64_t k = 0; k < n; k++) {
		uint64_t page = (start - BASE) / PAGE + k;

		ret[k] = start >= BASE && page < HEAP_PAGES ? state_of[page] : 1;
	}
}

/* A free chunk in a list of its own; `head` is where the list's pair lies. */
static void put_chunk(uint64_t chunk, uint64_t size, uint64_t flags, uint64_t head)
{
	put(chunk + 8, size | flags | 1);
	put(chunk + 16, head - 16);
	put(chunk + 24, head - 16);
	put(head, chunk);
	put(head + 8, chunk);
	put(chunk + size, size);
	put(chunk + size + 8, 0x40 | flags);
}

/* The main arena: a chunk from page 1 to 20, one without a whole page, a top from page 40 on.  A second arena: a top. */
static int setup(void **unused)
{
	memset(state_of, 1, sizeof(state_of));
	img = image_fake_new();
	assert_non_null(img);
	assert_non_null(image_fake_map(img, CODE, CODE_BYTES, RX, "/lib/libc.so.6"));
	assert_non_null(image_fake_map(img, DATA, 4 * PAGE, RW, "/lib/libc.so.6"));
	assert_non_null(image_fake_module(img, "/lib/libc.so.6", CODE, DATA + 4 * PAGE));
	assert_non_null(image_fake_map(img, BASE, HEAP_PAGES * PAGE, RW, "[heap]"));
	assert_non_null(image_fake_map(img, HEAP2, 32 * PAGE, RW, ""));
	assert_non_null(image_fake_map(img, STACK, STACK_BYTES, RW, "[stack]"));
	ops = *img->ops;
	ops.resident = resident;
	img->ops = &ops;

	put(ARENA, 0);
	put(ARENA + BINS - 16, BASE + 40 * PAGE + 0x100);
	put_chunk(BASE + 0x100, 20 * PAGE, 0, ARENA + BINS);
	put_chunk(BASE + 30 * PAGE + 0x800, PAGE, 0, ARENA + BINS + 16);
	put(BASE + 40 * PAGE + 0x108, (24 * PAGE - 0x100) | 1);
	put(HEAP2, ARENA2);
	put(HEAP2 + 16, 32 * PAGE);
	put(ARENA2, 0);
	put(ARENA2 + BINS - 16, HEAP2 + 0x2000);
	put(HEAP2 + 0x2008, (30 * PAGE) | 1);

	arenas[0] = (struct heap_arena){ .address = ARENA, .main = true };
	arenas[1] = (struct heap_arena){ .address = ARENA2, .heap_bytes = 64 << 20 };
	chunks[0] = (struct heap_free){ BASE + 0x100, 20 * PAGE, 0, HEAP_FREE_BIN, 0, 0 };
	chunks[1] = (struct heap_free){ BASE + 24 * PAGE, 8 * PAGE, 0, HEAP_FREE_TCACHE, 0, 0 };
	chunks[2] = (struct heap_free){ BASE + 30 * PAGE + 0x800, PAGE, 0, HEAP_FREE_BIN, 0, 0 };
	chunks[3] = (struct heap_free){
		BASE + 40 * PAGE + 0x100, 24 * PAGE - 0x100, 0, HEAP_FREE_TOP, 0, 0
	};
	chunks[4] = (struct heap_free){ HEAP2 + 0x2000, 30 * PAGE, 1, HEAP_FREE_TOP, 0, 0 };
	heap = (struct heap){ .allocator = "glibc",
		              .arenas = arenas,
		              .narenas = 2,
		              .free = chunks,
		              .nfree = 5,
		              .bins_at = BINS };
	return 0;
}

static int teardown(void **unused)
{
	image_free(img);
	return 0;
}

static struct free_pages find(const struct heap_range *leave, size_t n)
{
	struct free_pages f;
	struct seep_error *err = free_pages_find(img, &heap, leave, n, &f);

	assert_null(err);
	return f;
}

static void test_interiors(void **unused)
{
	struct free_pages f = find(NULL, 0);

	/* 20 pages from 0x100 on: 19 whole ones.  Nothing of the cache's, nothing of the one without a whole page. */
	assert_int_equal(f.nruns, 3);
	assert_true(f.runs[0].start == BASE + PAGE && f.runs[0].npages == 19);
	assert_int_equal(f.runs[0].kind, FREE_PAGES_BIN);
	assert_true(f.runs[1].start == BASE + 41 * PAGE && f.runs[1].npages == 23);
	assert_int_equal(f.runs[1].kind, FREE_PAGES_MAIN_TOP);
	assert_true(f.runs[2].start == HEAP2 + 3 * PAGE && f.runs[2].npages == 29);
	assert_int_equal(f.runs[2].kind, FREE_PAGES_THREAD_TOP);
	assert_int_equal(f.total.resident, (19 + 23 + 29) * PAGE);
	assert_int_equal(f.arenas[0].resident, (19 + 23) * PAGE);
	assert_int_equal(f.arenas[1].resident, 29 * PAGE);
	assert_int_equal(f.kinds[FREE_PAGES_BIN].chunks, 1);
	assert_int_equal(f.unfit, 0);
	free_pages_release(&f);
}

/* 48 bytes of a chunk are the list's; one that begins just so that they end with the page loses nothing. */
static void test_header(void **unused)
{
	struct free_pages f;

	heap.nfree = 1;
	chunks[0] = (struct heap_free){ BASE + PAGE - 48, 3 * PAGE, 0, HEAP_FREE_BIN, 0, 0 };
	f = find(NULL, 0);
	assert_int_equal(f.runs[0].start, BASE + PAGE);
	free_pages_release(&f);
	chunks[0].address += 16;
	f = find(NULL, 0);
	assert_int_equal(f.runs[0].start, BASE + 2 * PAGE);
	free_pages_release(&f);
}

static void test_what_is_there(void **unused)
{
	struct free_pages f;

	heap.nfree = 1;
	memset(state_of, 0, sizeof(state_of));
	state_of[5] = state_of[9] = 1;
	state_of[7] = 2;
	f = find(NULL, 0);
	assert_int_equal(f.nruns, 1);
	assert_true(f.runs[0].start == BASE + 5 * PAGE && f.runs[0].npages == 5);
	assert_int_equal(f.runs[0].resident, 2);
	assert_int_equal(f.runs[0].swapped, 1);
	assert_int_equal(f.total.bytes, 19 * PAGE);
	assert_int_equal(f.total.returned, 16 * PAGE);
	free_pages_release(&f);
	memset(state_of, 0, sizeof(state_of));
	f = find(NULL, 0);
	assert_int_equal(f.nruns, 0);
	assert_int_equal(f.total.returned, 19 * PAGE);
	free_pages_release(&f);
}

static void test_left_out(void **unused)
{
	const struct heap_range locked[] = { { BASE + 3 * PAGE, BASE + 4 * PAGE } };
	struct free_pages f = find(locked, 1);

	assert_int_equal(f.nruns, 2);
	assert_int_equal(f.unfit, 19 * PAGE);
	free_pages_release(&f);
	for (size_t i = 0; i < img->nmaps; i++)
		if (img->maps[i].start == HEAP2)
			img->maps[i].flags |= IMAGE_SHARED;
	f = find(NULL, 0);
	assert_int_equal(f.nruns, 2);
	assert_int_equal(f.unfit, 29 * PAGE);
	free_pages_release(&f);
	/* Chunks that leave their mapping, or wrap around: a damaged heap. */
	heap.nfree = 2;
	chunks[0].size = (HEAP_PAGES + 1) * PAGE;
	chunks[1] = (struct heap_free){ BASE, UINT64_MAX - 64, 0, HEAP_FREE_BIN, 0, 0 };
	f = find(NULL, 0);
	assert_int_equal(f.nruns, 0);
	free_pages_release(&f);
}

static void test_slots(void **unused)
{
	struct free_pages f;

	heap.nfree = 2;
	heap.bins_at = 0;
	/* musl: from the slot's first byte to 4 before its end. */
	chunks[0] = (struct heap_free){ BASE + PAGE, 2 * PAGE, 0, HEAP_FREE_SLOT, 7, 9 };
	chunks[1] = (struct heap_free){ BASE + 4 * PAGE, 2 * PAGE + 4, 0, HEAP_FREE_SLOT, 7, 9 };
	f = find(NULL, 0);
	assert_int_equal(f.nruns, 2);
	assert_true(f.runs[0].start == BASE + PAGE && f.runs[0].npages == 1);
	assert_true(f.runs[1].start == BASE + 4 * PAGE && f.runs[1].npages == 2);
	assert_true(f.runs[0].owner == 7 && f.runs[0].owner_bits == 9);
	free_pages_release(&f);
	/* Small slots of one group, one after the other: no page in any, three in all of them. */
	heap.nfree = 8;
	for (unsigned int i = 0; i < 8; i++)
		chunks[i] = (struct heap_free){ BASE + 0x800 + 2048 * i, 2048, 0,
			                        HEAP_FREE_SLOT,          7,    9 };
	f = find(NULL, 0);
	assert_int_equal(f.nruns, 1);
	assert_true(f.runs[0].start == BASE + PAGE && f.runs[0].npages == 3);
	assert_true(f.runs[0].slots == 8 && f.runs[0].size == 8 * 2048);
	free_pages_release(&f);
	chunks[3].owner = 8; /* of another group */
	f = find(NULL, 0);
	assert_int_equal(f.nruns, 1);
	assert_true(f.runs[0].start == BASE + 3 * PAGE && f.runs[0].npages == 1);
	free_pages_release(&f);
}

/* ---- again, while it stands ---------------------------------------------------------- */

static struct recheck_range ranges[8];
static uint8_t states[8];

static struct recheck look(const struct free_pages *f)
{
	struct heap_range code;
	struct recheck r;

	recheck_find_code(img, &heap, &code);
	recheck_runs(img, &heap, &code, f->runs, f->nruns, UINT64_MAX, &r, ranges, states);
	return r;
}

/* A waiting thread, alone. */
static int fd_read_from; /* by the thread, in read() */

static struct image_thread *add_thread(uint64_t pc, int64_t call)
{
	uint64_t regs[27] = { 0 };
	struct image_thread *t;

	regs[15] = (uint64_t)call;
	regs[14] = (uint64_t)fd_read_from;
	t = image_fake_thread(img, img->pid == getpid() ? getpid() : 7, SP, 0, regs, 27);
	assert_non_null(t);
	t->ngeneral = 27;
	t->pc = pc;
	return t;
}

static void test_all_holds(void **unused)
{
	struct free_pages f = find(NULL, 0);
	struct recheck r;

	add_thread(0x1000, SYS_poll);
	r = look(&f);
	assert_int_equal(r.refusal, RECHECK_FINE);
	assert_int_equal(r.n, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(states[i], RECHECK_HOLDS);
		assert_true(ranges[i].start == f.runs[i].start);
		assert_true(ranges[i].len == f.runs[i].npages * PAGE);
	}
	free_pages_release(&f);
}

static void expect_changed(size_t run)
{
	struct free_pages f = find(NULL, 0);
	struct recheck r;

	r = look(&f);
	assert_int_equal(states[run], RECHECK_IS_CHANGED);
	assert_int_equal(r.n, 2);
	free_pages_release(&f);
}

/* Each word that says so is enough. */
static void test_chunk_changed(void **unused)
{
	add_thread(0x1000, SYS_poll);
	put(BASE + 0x108, 21 * PAGE | 1); /* its size */
	expect_changed(0);
	put(BASE + 0x108, 20 * PAGE | 5); /* another arena's */
	expect_changed(0);
	put(BASE + 0x108, 20 * PAGE | 1);
	put(BASE + 0x100 + 20 * PAGE, 19 * PAGE); /* the size at its end */
	expect_changed(0);
	put(BASE + 0x100 + 20 * PAGE, 20 * PAGE);
	put(BASE + 0x108 + 20 * PAGE, 0x41); /* its neighbour says: in use */
	expect_changed(0);
	put(BASE + 0x108 + 20 * PAGE, 0x40);
	put(ARENA + BINS + 8, BASE); /* the list does not come back to it */
	expect_changed(0);
	put(ARENA + BINS + 8, BASE + 0x100);
	put(ARENA + BINS, BASE);
	expect_changed(0);
}

static void test_top_moved(void **unused)
{
	struct free_pages f = find(NULL, 0);
	struct recheck r;

	add_thread(0x1000, SYS_poll);
	/* Ten pages of it have been handed out: only what is above may go. */
	put(ARENA + BINS - 16, BASE + 50 * PAGE + 0x100);
	put(BASE + 50 * PAGE + 0x108, (14 * PAGE - 0x100) | 1);
	r = look(&f);
	assert_int_equal(r.n, 3);
	assert_true(ranges[1].start == BASE + 51 * PAGE && ranges[1].len == 13 * PAGE);
	/* It shrank: no further than its end. */
	put(BASE + 50 * PAGE + 0x108, (4 * PAGE - 0x100) | 1);
	r = look(&f);
	assert_true(ranges[1].start == BASE + 51 * PAGE && ranges[1].len == 3 * PAGE);
	/* An end that is no page's: somebody is at work on it. */
	put(BASE + 50 * PAGE + 0x108, (4 * PAGE) | 1);
	r = look(&f);
	assert_int_equal(states[1], RECHECK_IS_CHANGED);
	/* A thread's arena: the top must end where its heap does, and the heap be the arena's. */
	put(HEAP2 + 16, 31 * PAGE);
	r = look(&f);
	assert_int_equal(states[2], RECHECK_IS_CHANGED);
	put(HEAP2 + 16, 32 * PAGE);
	put(HEAP2, ARENA);
	r = look(&f);
	assert_int_equal(states[2], RECHECK_IS_CHANGED);
	free_pages_release(&f);
}

static void test_locked(void **unused)
{
	struct free_pages f = find(NULL, 0);
	struct recheck r;

	add_thread(0x1000, SYS_poll);
	put(ARENA, 2 | 1ull << 32);
	r = look(&f);
	assert_int_equal(r.n, 1);
	assert_int_equal(r.locked, 2);
	assert_int_equal(states[0], RECHECK_IS_LOCKED);
	assert_int_equal(states[2], RECHECK_HOLDS);
	put(ARENA2, 1);
	r = look(&f);
	assert_int_equal(r.refusal, RECHECK_LOCKED);
	assert_int_equal(r.n, 0);
	free_pages_release(&f);
}

/* Something else is mapped there by now, with the same words in it: it is not dropped. */
static void test_mapping_changed(void **unused)
{
	struct free_pages f = find(NULL, 0);
	struct recheck r;

	add_thread(0x1000, SYS_poll);
	for (size_t i = 0; i < img->nmaps; i++)
		if (img->maps[i].start == BASE)
			img->maps[i].flags |= IMAGE_SHARED;
	r = look(&f);
	assert_int_equal(r.n, 1);
	assert_int_equal(states[0], RECHECK_IS_CHANGED);
	free_pages_release(&f);
}

/* Malloc's code: 30 instructions that name the arena, one each 256 bytes from 0x10000 on. */
static void put_code(void)
{
	for (uint64_t i = 0; i < 30; i++) {
		uint64_t at = CODE + 0x10000 + 256 * i;
		uint32_t disp = (uint32_t)(ARENA - (at + 8));

		/* 00 48 8d 05 disp: lea disp(%rip),%rax, its displacement in the upper half of the word */
		put(at, (uint64_t)disp << 32 | 0x058d4800);
	}
	/* And one, far away, that only looks like it. */
	put(CODE + 0x24000, (uint64_t)(uint32_t)(ARENA - (CODE + 0x24008)) << 32 | 0x058d4800);
}

static void test_code(void **unused)
{
	struct heap_range code;

	recheck_find_code(img, &heap, &code);
	assert_int_equal(code.start, code.end);
	put_code();
	recheck_find_code(img, &heap, &code);
	assert_true(code.start <= CODE + 0x10000 && code.start > CODE + 0x10000 - 0x4000);
	assert_true(code.end > CODE + 0x10000 + 29 * 256 && code.end < CODE + 0x20000);
}

static enum recheck_refusal with_thread(uint64_t pc, int64_t call)
{
	struct free_pages f = find(NULL, 0);
	struct recheck r;

	while (img->nthreads)
		free((void *)(uintptr_t)img->threads[--img->nthreads].words);
	add_thread(pc, call);
	r = look(&f);
	free_pages_release(&f);
	return r.refusal;
}

static void test_one_thread(void **unused)
{
	const uint64_t inside = CODE + 0x10400, outside = CODE + 0x1000;
	int pipe_fd[2];

	/* Nobody knows where malloc is: only a thread that waits is elsewhere for sure. */
	assert_int_equal(with_thread(outside, -1), RECHECK_NO_CODE);
	assert_int_equal(with_thread(outside, SYS_poll), RECHECK_FINE);
	put_code();
	assert_int_equal(with_thread(outside, -1), RECHECK_FINE);
	assert_int_equal(with_thread(inside, -1), RECHECK_IN_MALLOC);
	/* A word of the stack that points into malloc, but is no return address: the instruction before is no call. */
	put(SP + 0x40, inside + 6);
	assert_int_equal(with_thread(outside, -1), RECHECK_FINE);
	/* ... and behind a call: malloc has called what runs now. */
	put(inside, 0xe8ull << 8);
	assert_int_equal(with_thread(outside, -1), RECHECK_IN_MALLOC);
	assert_int_equal(with_thread(outside, SYS_brk), RECHECK_IN_MALLOC);
	/* One that waits has not been called by malloc, whatever is left on its stack. */
	assert_int_equal(with_thread(outside, SYS_poll), RECHECK_FINE);
	/* read() from what others write is such a wait; from a file, malloc may be at it. */
	assert_int_equal(pipe(pipe_fd), 0);
	img->pid = getpid();
	fd_read_from = pipe_fd[0];
	assert_int_equal(with_thread(outside, SYS_read), RECHECK_FINE);
	fd_read_from = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	assert_int_equal(with_thread(outside, SYS_read), RECHECK_IN_MALLOC);
	close(fd_read_from);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	assert_int_equal(with_thread(outside, SYS_read),
	                 RECHECK_IN_MALLOC); /* nothing is open there */
	/* Unless a signal handler waits: it may have come while malloc was at work. */
	put(CODE, 0x0000000fc0c748ull | 0x0full << 56); /* mov $15,%rax; syscall */
	put(CODE + 8, 0x05);
	put(SP + 0x10, CODE);
	assert_int_equal(with_thread(outside, SYS_poll), RECHECK_IN_MALLOC);
	put(SP + 0x40, 0);
	assert_int_equal(with_thread(outside, SYS_poll), RECHECK_FINE);
}

/* Two threads that glibc has made: it takes locks, and only these count. */
static void test_two_threads(void **unused)
{
	struct free_pages f = find(NULL, 0);
	struct image_thread *t;
	struct recheck r;

	put_code();
	for (int i = 0; i < 2; i++) {
		uint64_t tcb = DATA + 3 * PAGE + 0x100 * (uint64_t)i;

		t = add_thread(CODE + 0x10400, -1);
		t->tls = tcb;
		put(tcb, tcb);
		put(tcb + 16, tcb);
	}
	r = look(&f);
	assert_int_equal(r.refusal, RECHECK_FINE);
	assert_int_equal(r.n, 3);
	/* Threads of somebody else's making share it, or have none: glibc does not know that it is not alone. */
	t->tls = img->threads[0].tls;
	r = look(&f);
	assert_int_equal(r.refusal, RECHECK_IN_MALLOC);
	free_pages_release(&f);
}

static void test_musl_slot(void **unused)
{
	const uint64_t meta = DATA + 0x2000, group = BASE + PAGE - 16,
		       bits = 3 | 40ull << 6 | 9ull << 12;
	struct free_pages f;
	struct recheck r;

	heap.bins_at = 0;
	heap.nfree = 1;
	chunks[0] = (struct heap_free){
		group + 16 + 2 * 2 * PAGE, 2 * PAGE, 0, HEAP_FREE_SLOT, meta, bits
	};
	put(group, meta);
	put(meta + 16, group);
	put(meta + 24, 1u << 2); /* avail: slot 2 */
	put(meta + 32, bits);
	f = find(NULL, 0);
	assert_int_equal(f.nruns, 1);
	r = look(&f);
	assert_int_equal(r.n, 1);
	assert_true(ranges[0].start == f.runs[0].start && ranges[0].len == PAGE);
	put(meta + 24, 1ull << 34); /* freed: slot 2 */
	r = look(&f);
	assert_int_equal(r.n, 1);
	put(meta + 24, 1u << 1);
	r = look(&f);
	assert_int_equal(r.n, 0);
	put(meta + 24, 1u << 2);
	put(meta + 32, bits + (1 << 6)); /* another size class: another group */
	r = look(&f);
	assert_int_equal(r.n, 0);
	put(meta + 32, bits);
	put(group, meta + 40);
	r = look(&f);
	assert_int_equal(r.n, 0);
	free_pages_release(&f);
	/* Two in a row: one bit is not enough. */
	heap.nfree = 2;
	chunks[1] = chunks[0];
	chunks[0].address -= 2 * PAGE;
	put(group, meta);
	put(meta + 24, 3u << 1);
	f = find(NULL, 0);
	assert_int_equal(f.nruns, 1);
	assert_int_equal(look(&f).n, 1);
	put(meta + 24, 1u << 1);
	assert_int_equal(look(&f).n, 0);
	put(meta + 24, 1u << 2);
	assert_int_equal(look(&f).n, 0);
	free_pages_release(&f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_interiors),       TEST(test_header),    TEST(test_what_is_there),
		TEST(test_left_out),        TEST(test_slots),     TEST(test_all_holds),
		TEST(test_chunk_changed),   TEST(test_top_moved), TEST(test_locked),
		TEST(test_mapping_changed), TEST(test_code),      TEST(test_one_thread),
		TEST(test_two_threads),     TEST(test_musl_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
