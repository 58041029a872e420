/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded before libseep.so: compares the stack the tracker recorded for every allocation,
 * frame for frame, with the one libunwind finds from the same place.
 *
 * It stands in front of the tracker's malloc, so it tests the product as it is: after each
 * call it looks the new block up in the process's own ledger, follows site and trie, and
 * walks with libunwind from its own frame.  What the two find above this library's frame must
 * be equal.  With UNWIND_CHECK_EVERY=N only every Nth allocation of a thread is compared.
 *
 * At exit one line goes to the file UNWIND_CHECK_OUT: compared, equal, frames, and the first
 * UNWIND_CHECK_SHOW (12) differences in full, with module and offset for addr2line.  A child process adds
 * its own.  UNWIND_CHECK_LEDGERS is the tracker's `dir`.
 */
#define UNW_LOCAL_ONLY
#include <dlfcn.h>
#include <fcntl.h>
#include <libunwind.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/ledger.h"

#define MAX LEDGER_MAX_DEPTH

static struct {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
} next;

static unsigned char *ledger;
static const struct ledger_header *hdr;
static pid_t owner;
static unsigned long every = 1, show = 12;
static char out_path[512];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
	unsigned long compared, equal, frames, unrecorded, deepest, signals, cut, shown;
	char text[1 << 18];
	size_t len;
} result;

static __thread int inside __attribute__((tls_model("initial-exec")));
static __thread unsigned long seen __attribute__((tls_model("initial-exec")));

static void __attribute__((format(printf, 1, 2))) note(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(result.text + result.len, sizeof(result.text) - result.len, fmt, ap);
	va_end(ap);
	if (n > 0 && result.len + (size_t)n < sizeof(result.text))
		result.len += (size_t)n;
}

static void resolve(void)
{
	next.malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	next.calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
	next.realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
	next.posix_memalign = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
}

static void open_ledger(void)
{
	const char *dir = getenv("UNWIND_CHECK_LEDGERS");
	char path[600];
	struct stat st;
	int fd = -1;

	owner = getpid();
	for (int seq = 20; dir && seq >= 0 && fd < 0; seq--) {
		snprintf(path, sizeof(path), "%s/%d.%d.ledger", dir, (int)owner, seq);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0) {
		void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd,
		               0);

		if (p != MAP_FAILED) {
			ledger = p;
			hdr = p;
		}
	}
	close(fd);
}

static void *section(int id)
{
	return ledger + hdr->section[id].offset;
}

static const struct ledger_block *find(uint64_t addr)
{
	const uint64_t *root = section(LEDGER_ROOT), *dirs = section(LEDGER_DIR);
	const struct ledger_block *b = section(LEDGER_BUCKETS);
	uint64_t dir = root[addr >> LEDGER_ROOT_SHIFT], w;

	if (!dir)
		return NULL;
	w = dirs[(dir - 1) * LEDGER_DIR_SLOTS + (addr >> LEDGER_DIR_SHIFT & (LEDGER_DIR_SLOTS - 1))];
	if (!w)
		return NULL;
	b += LEDGER_DIR_BUCKET(w);
	for (unsigned int i = 0; i < 1u << LEDGER_DIR_LOG2(w); i++)
		if ((b[i].head & LEDGER_BLOCK_MATCH) == (LEDGER_BLOCK_VALID | (addr & 0xff8)))
			return &b[i];
	return NULL;
}

static void describe(const char *who, const uint64_t *pcs, unsigned int n)
{
	note(" %s", who);
	for (unsigned int i = 0; i < n; i++) {
		Dl_info info;

		if (dladdr((void *)(pcs[i] - 1), &info) && info.dli_fname)
			note(" %s+%#lx(%s)",
			     strrchr(info.dli_fname, '/') ? strrchr(info.dli_fname, '/') + 1
			                                  : info.dli_fname,
			     (unsigned long)(pcs[i] - (uint64_t)info.dli_fbase),
			     info.dli_sname ? info.dli_sname : "?");
		else
			note(" %#lx", (unsigned long)pcs[i]);
	}
	note("\n");
}

/* All return addresses above this function, by libunwind. */
static __attribute__((noinline)) unsigned int walk(uint64_t *pcs, bool *ret_signal)
{
	unw_context_t uc;
	unw_cursor_t c;
	unw_word_t ip;
	unsigned int n = 0;
	bool signal;

	unw_getcontext(&uc);
	unw_init_local(&c, &uc);
	while (n < MAX + 2) {
		if (unw_step(&c) <= 0 || unw_get_reg(&c, UNW_REG_IP, &ip) || ip < 4096)
			break;
		/* Interrupted, not calling: the tracker stores its pc + 1. */
		signal = unw_is_signal_frame(&c) > 0;
		*ret_signal |= signal;
		pcs[n++] = ip + (signal ? 1 : 0);
	}
	return n;
}

static __attribute__((noinline)) void compare(void *p)
{
	static __thread uint64_t theirs[MAX + 8], ours[MAX + 8];
	const struct ledger_node *nodes = section(LEDGER_NODES);
	const struct ledger_site *sites = section(LEDGER_SITES);
	const struct ledger_block *b = find((uint64_t)p);
	unsigned int n, m = 0, skip = 0;
	bool signal = false, same;
	uint32_t node;

	n = walk(theirs, &signal);
	pthread_mutex_lock(&lock);
	if (!b) {
		result.unrecorded++;
		goto out;
	}
	for (node = sites[LEDGER_BLOCK_SITE(b->body)].node; node && m < MAX + 8;
	     node = nodes[node].parent)
		ours[m++] = nodes[node].key & LEDGER_PC_MASK;
	/* ours: the hook here, the target ...; theirs: this function, the hook, the target ... */
	for (skip = 0; skip < 4 && skip < n && m > 1 && theirs[skip] != ours[1]; skip++)
		;
	if (m == MAX && n - skip > m - 1)
		n = m - 1 + skip; /* both cut at the tracker's depth */
	same = m > 1 && n - skip == m - 1 &&
	       !memcmp(theirs + skip, ours + 1, (m - 1) * sizeof(ours[0]));
	result.compared++;
	result.equal += same;
	result.frames += m;
	result.signals += signal;
	result.cut += sites[LEDGER_BLOCK_SITE(b->body)].flags != 0;
	if (m > result.deepest)
		result.deepest = m;
	if (!same && result.shown < show) {
		result.shown++;
		note("difference, block %p, flags %u\n", p, sites[LEDGER_BLOCK_SITE(b->body)].flags);
		describe("tracker  ", ours + 1, m - 1);
		describe("libunwind", theirs + (skip < 4 ? skip : 0), n - (skip < 4 ? skip : 0));
	}
out:
	pthread_mutex_unlock(&lock);
}

static bool wanted(void *p)
{
	return p && hdr && !inside && ++seen % every == 0 && getpid() == owner;
}

#define CHECK(p)                    \
	do {                        \
		if (wanted(p)) {    \
			inside = 1; \
			compare(p); \
			inside = 0; \
		}                   \
	} while (0)

__attribute__((visibility("default"))) void *malloc(size_t n)
{
	void *p;

	if (!next.malloc) {
		if (inside)
			return NULL;
		inside = 1;
		resolve();
		inside = 0;
	}
	p = next.malloc(n);
	CHECK(p);
	return p;
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t m)
{
	static char early[65536];
	static size_t used;
	void *p;

	if (!next.calloc) {
		/* dlsym's own, never freed */
		p = early + used;
		used += (n * m + 15) & ~15ul;
		return used <= sizeof(early) ? p : NULL;
	}
	p = next.calloc(n, m);
	CHECK(p);
	return p;
}

__attribute__((visibility("default"))) void *realloc(void *q, size_t n)
{
	void *p;

	if (!next.realloc)
		resolve();
	p = next.realloc(q, n);
	CHECK(p);
	return p;
}

__attribute__((visibility("default"))) int posix_memalign(void **q, size_t a, size_t n)
{
	int r;

	if (!next.posix_memalign)
		resolve();
	r = next.posix_memalign(q, a, n);
	if (!r)
		CHECK(*q);
	return r;
}

static void __attribute__((constructor)) begin(void)
{
	const char *s = getenv("UNWIND_CHECK_EVERY"), *o = getenv("UNWIND_CHECK_OUT"),
		   *m = getenv("UNWIND_CHECK_SHOW");

	inside = 1;
	if (!next.malloc)
		resolve();
	if (s && atol(s) > 0)
		every = (unsigned long)atol(s);
	if (m)
		show = (unsigned long)atol(m);
	snprintf(out_path, sizeof(out_path), "%s", o ? o : "/dev/stderr");
	open_ledger();
	inside = 0;
}

static void __attribute__((destructor)) end(void)
{
	char line[512];
	int fd, n;

	if (getpid() != owner || !hdr)
		return;
	inside = 1;
	fd = open(out_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	n = snprintf(
		line, sizeof(line),
		"compared %lu equal %lu frames %lu deepest %lu signal %lu cut %lu unrecorded %lu fast %lu slow %lu\n",
		result.compared, result.equal, result.frames, result.deepest, result.signals,
		result.cut, result.unrecorded, (unsigned long)hdr->unwinds_fast,
		(unsigned long)hdr->unwinds_slow);
	if (fd >= 0) {
		if (write(fd, line, (size_t)n) < 0 || write(fd, result.text, result.len) < 0)
			n = 0;
		close(fd);
	}
}
