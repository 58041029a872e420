/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that knows its heap: truth MODE, or MODE COUNT SIZE for `blocks`.
 *
 * It allocates and frees after a script, then writes what is true to stdout, one item a line, and waits until its
 * stdin ends:
 *
 *     mallinfo ARENA ORDBLKS SMBLKS HBLKS HBLKHD USMBLKS FSMBLKS UORDBLKS FORDBLKS KEEPCOST     what its libc says
 *     block ADDRESS USABLE REQUESTED                                                            each live block
 *     lost ADDRESS                                                                              live, and nothing points to it
 *     ready
 *
 * Nothing is allocated from the first line on: output goes through write(2) from a static buffer.  It is plain C and
 * libc, so that it can be built against every libc there is, with or without its headers for malloc.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_LIVE 400000
#define THREADS 6

struct info2 {
	size_t v[10];
};
struct info1 {
	int v[10];
};
extern struct info2 mallinfo2(void) __attribute__((weak));
extern struct info1 mallinfo(void) __attribute__((weak));
size_t malloc_usable_size(void *p);
void *memalign(size_t align, size_t size);

static struct {
	void *p;
	size_t size;
} live[MAX_LIVE];
static size_t nlive;
static uintptr_t lost[16]; /* complemented: no pointers */
static size_t nlost;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t parked;
static uint32_t seed = 1;

static uint32_t below(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)(seed >> 8) * n >> 24);
}

static void *keep(void *p, size_t size)
{
	size_t usable = malloc_usable_size(p);

	if (!p)
		abort();
	/* All of it: what was there before may look like pointers.  Mappings of their own are zero. */
	memset(p, 0x5a, usable < (1u << 20) ? usable : 64);
	pthread_mutex_lock(&lock);
	if (nlive == MAX_LIVE)
		abort();
	live[nlive].p = p;
	live[nlive++].size = size;
	pthread_mutex_unlock(&lock);
	return p;
}

static void *keep_new(size_t size)
{
	return keep(malloc(size), size);
}

/* Frees the i-th block. */
static __attribute__((noinline)) void drop(size_t i)
{
	void *p;

	pthread_mutex_lock(&lock);
	p = live[i].p;
	live[i] = live[--nlive];
	pthread_mutex_unlock(&lock);
	free(p);
}

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char out[65536];
static size_t nout;

static void flush(void)
{
	for (size_t done = 0; done < nout;) {
		ssize_t n = write(1, out + done, nout - done);

		if (n <= 0)
			_exit(3);
		done += (size_t)n;
	}
	nout = 0;
}

static void say(const char *fmt, ...)
{
	va_list ap;

	if (nout > sizeof(out) - 512)
		flush();
	va_start(ap, fmt);
	nout += (size_t)vsnprintf(out + nout, sizeof(out) - nout, fmt, ap);
	va_end(ap);
}

/* Not inlined: what it decodes shall not stay in registers of main. */
static __attribute__((noinline)) void tell(void)
{
	if (mallinfo2) {
		struct info2 m = mallinfo2();

		say("mallinfo");
		for (int i = 0; i < 10; i++)
			say(" %zu", m.v[i]);
		say("\n");
	} else if (mallinfo) {
		struct info1 m = mallinfo();

		say("mallinfo");
		for (int i = 0; i < 10; i++)
			say(" %u", (unsigned int)m.v[i]);
		say("\n");
	}
	for (size_t i = 0; i < nlive; i++)
		say("block %#" PRIxPTR " %zu %zu\n", (uintptr_t)live[i].p,
		    malloc_usable_size(live[i].p), live[i].size);
	for (size_t i = 0; i < nlost; i++)
		say("block %#" PRIxPTR " %zu %zu\nlost %#" PRIxPTR "\n", ~lost[i],
		    malloc_usable_size((void *)~lost[i]), 40 + 8 * i, ~lost[i]);
	flush();
}

/* Sizes as programs have them: mostly small, some large, a few beyond the mmap threshold. */
static size_t some_size(void)
{
	switch (below(16)) {
	case 0:
		return below(200000);
	case 1:
	case 2:
		return below(8000);
	case 3:
		return 0;
	default:
		return below(300);
	}
}

static __attribute__((noinline)) void churn(unsigned int rounds)
{
	for (unsigned int i = 0; i < rounds; i++) {
		size_t size = some_size(), n = nlive;

		if (n > 100 && below(100) < 45) {
			drop(below((uint32_t)n));
		} else if (n && below(100) < 10) {
			size_t at = below((uint32_t)n);
			void *p = live[at].p;

			live[at] = live[--nlive];
			keep(realloc(p, size + 1), size + 1);
		} else if (below(20) == 0) {
			size_t align = (size_t)32 << below(8);

			keep(memalign(align, size + 1), size + 1);
		} else if (below(10) == 0) {
			keep(calloc(1, size), size);
		} else {
			keep_new(size);
		}
	}
}

/* Nor in registers that nobody needs any more. */
static __attribute__((noinline)) void wipe_registers(void)
{
#ifdef __x86_64__
	__asm__ volatile(
		"xor %%ecx, %%ecx; xor %%r8d, %%r8d; xor %%r9d, %%r9d; xor %%r10d, %%r10d; xor %%r11d, %%r11d"
		:
		:
		: "rcx", "r8", "r9", "r10", "r11", "cc");
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroall");
	else
		__asm__ volatile(
			"pxor %xmm0, %xmm0; pxor %xmm1, %xmm1; pxor %xmm2, %xmm2; pxor %xmm3, %xmm3");
	if (__builtin_cpu_supports("avx512f"))
		__asm__ volatile("vpxorq %zmm16, %zmm16, %zmm16; vpxorq %zmm17, %zmm17, %zmm17;"
		                 "vpxorq %zmm18, %zmm18, %zmm18; vpxorq %zmm19, %zmm19, %zmm19;"
		                 "vpxorq %zmm20, %zmm20, %zmm20; vpxorq %zmm21, %zmm21, %zmm21;"
		                 "vpxorq %zmm22, %zmm22, %zmm22; vpxorq %zmm23, %zmm23, %zmm23;"
		                 "vpxorq %zmm24, %zmm24, %zmm24; vpxorq %zmm25, %zmm25, %zmm25;"
		                 "vpxorq %zmm26, %zmm26, %zmm26; vpxorq %zmm27, %zmm27, %zmm27;"
		                 "vpxorq %zmm28, %zmm28, %zmm28; vpxorq %zmm29, %zmm29, %zmm29;"
		                 "vpxorq %zmm30, %zmm30, %zmm30; vpxorq %zmm31, %zmm31, %zmm31");
#endif
}

/* What calls have left on the stack is not to hold anything. */
static __attribute__((noinline)) void wipe_stack(void)
{
	volatile char waste[65536];

	for (size_t i = 0; i < sizeof(waste); i++)
		waste[i] = 0;
	wipe_registers();
}

/* Blocks that a thread's cache and the fastbins take, in an arena of its own. */
static void *thread(void *arg)
{
	void *some[120];
	uintptr_t k = (uintptr_t)arg;

	for (int i = 0; i < 120; i++)
		some[i] = malloc(24 + 16 * (size_t)(i % 6));
	for (int i = 0; i < 120; i++)
		if (i % 3)
			free(some[i]);
		else
			keep(some[i], 24 + 16 * (size_t)(i % 6));
	for (uintptr_t i = 0; i < 300 + 50 * k; i++)
		keep_new(100 + 10 * k);
	if (k == 1) /* several heaps of 64 MB */
		for (int i = 0; i < 1500; i++)
			keep_new(100000);
	memset(some, 0, sizeof(some));
	__asm__ volatile("" : : "r"(some) : "memory");
	if (k == 2)
		return NULL; /* its cache is given back */
	wipe_stack();
	pthread_barrier_wait(&parked);
	pthread_barrier_wait(&parked); /* for ever: main does not come a second time */
	return NULL;
}

static __attribute__((noinline)) void threads(void)
{
	pthread_t t[THREADS];

	pthread_barrier_init(&parked, NULL, THREADS); /* main, and all but the one that ends */
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&t[i], NULL, thread, (void *)i))
			abort();
	pthread_join(t[2], NULL);
	pthread_barrier_wait(&parked);
}

static __attribute__((noinline)) void mapped(void)
{
	void *p;

	for (int i = 0; i < 5; i++)
		keep_new(1000000 + 4096 * (size_t)i);
	for (size_t align = 64; align <= (2u << 20); align *= 4)
		keep(memalign(align, 700000 + align), 700000 + align);
	p = memalign(8192, 500000);
	p = realloc(p, 9000000);
	keep(p, 9000000);
	p = malloc(3000000);
	p = realloc(p, 400000);
	keep(p, 400000);
	free(malloc(2000000));
	/* mappings that are none of malloc's, beside those that are */
	p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p != MAP_FAILED)
		memset(p, 7, 1 << 20);
}

/* Blocks that nothing points to, but for the complements of their addresses. */
static __attribute__((noinline)) void plant_leaks(void)
{
	for (int i = 0; i < 16; i++) {
		void *p = malloc(40 + 8 * (size_t)i);

		if (!p)
			abort();
		memset(p, 0x5a, malloc_usable_size(p));
		lost[nlost++] = ~(uintptr_t)p;
	}
}

static __attribute__((noinline)) void foreign(void)
{
	for (int i = 0; i < 4; i++) {
		char *p = sbrk(12344 + 4096 * i); /* not even a multiple of 16 */

		if (p == (char *)-1) /* musl has no such thing */
			return;
		memset(p, i % 2 ? 0x21 : 0, 12344);
		churn(3000);
	}
}

/* No room behind the heap: what malloc needs from now on it maps in pieces. */
static __attribute__((noinline)) void blocked(void)
{
	uintptr_t end = ((uintptr_t)sbrk(0) + 4095) & ~(uintptr_t)4095;

	if (mmap((void *)end, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	    MAP_FAILED)
		abort();
	for (int i = 0; i < 12; i++) {
		for (int k = 0; k < 30; k++)
			keep_new(30000 + 1000 * (size_t)k);
		churn(2000);
	}
}

static __attribute__((noinline)) void trimmed(void)
{
	size_t before = nlive;

	for (int i = 0; i < 400; i++)
		keep_new(50000);
	while (nlive > before)
		drop(nlive - 1);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "mix";
	char c;

	if (!strcmp(mode, "blocks")) {
		size_t n = strtoul(argv[2], NULL, 10), size = strtoul(argv[3], NULL, 10);

		for (size_t i = 0; i < n; i++)
			memset(malloc(size), 1, 8);
		tell();
	} else if (strcmp(mode, "none")) {
		churn(!strcmp(mode, "small") ? 1000 : 4000);
		if (!strcmp(mode, "small"))
			while (nlive > 60)
				drop(nlive - 1);
		if (!strcmp(mode, "mix") || !strcmp(mode, "threads"))
			threads();
		if (!strcmp(mode, "mix") || !strcmp(mode, "foreign"))
			foreign();
		if (!strcmp(mode, "blocked"))
			blocked();
		if (!strcmp(mode, "mix") || !strcmp(mode, "mapped"))
			mapped();
		if (!strcmp(mode, "mix") || !strcmp(mode, "trimmed"))
			trimmed();
		if (strcmp(mode, "small"))
			churn(2000);
		memset(live + nlive, 0, (MAX_LIVE - nlive) * sizeof(live[0]));
		plant_leaks();
		tell();
	}
	wipe_stack();
	say("ready\n");
	flush();
	while (read(0, &c, 1) > 0)
		;
	_exit(0);
}
