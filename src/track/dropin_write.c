/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two text formats other heap profilers write, made in the process itself.
 *
 *   collect   for each site: in use, ever allocated            → sums[], mapped, kept for the next time
 *   emit      header, a line for each stack, /proc/self/maps   → a file, or a mapping
 *   publish   the file gets its name when it is complete
 *
 * Sums come first, so that the header's total is that of the lines below it while other threads go on.
 *
 * A file is written without a name (O_TMPFILE) and linked when it is done: a process killed half-way leaves nothing.
 * Where the file system has no such files, or the name is taken, a temporary name is renamed over it.  What
 * is no regular file (/dev/stderr, a pipe) is just written to.
 *
 * In a sampled ledger a site's numbers are estimates; the readers of these formats expect what was sampled and scale it
 * themselves, so each estimate is multiplied by the probability that a block of the site's average size is
 * sampled with (docs/FORMATS.md).  gperftools' exact format is not scaled by anyone.
 */
#include "track/dropin.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "track/event.h"

struct sums {
	uint64_t blocks, bytes, alloc_blocks,
		alloc_bytes; /* blocks in units of COUNT_ONE until scaled */
};

/* All of this is used with the drop-in's lock held (dropin.h). */
static struct sums *sums;
static uint64_t sums_room, nsums;

static struct {
	int fd; /* < 0: into memory */
	char *base;
	uint64_t len, size;
	long error;
} out;
static char buffer[16384];

/* ---- text -------------------------------------------------------------------------------- */

char *text_str(char *p, char *end, const char *s)
{
	while (*s && p < end - 1)
		*p++ = *s++;
	*p = '\0';
	return p;
}

static char *number(char *p, char *end, uint64_t v, int width, char fill)
{
	char digits[24];
	int n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	for (; width > n && p < end - 1; width--)
		*p++ = fill;
	while (n && p < end - 1)
		*p++ = digits[--n];
	*p = '\0';
	return p;
}

char *text_num(char *p, char *end, uint64_t v, int width)
{
	return number(p, end, v, width, ' ');
}

char *text_zeros(char *p, char *end, uint64_t v, int digits)
{
	return number(p, end, v, digits, '0');
}

void text_say(const char *const *parts)
{
	struct { /* struct iovec */
		const char *base;
		size_t len;
	} line[16];
	int n = 0;

	for (; *parts && n < 15; parts++, n++) {
		line[n].base = *parts;
		line[n].len = strlen(*parts);
	}
	line[n].base = "\n";
	line[n++].len = 1;
	sys6(SYS_writev, 2, (long)line, n, 0, 0, 0);
}

/* ---- output ------------------------------------------------------------------------------- */

/* A pipe's reader may be slow, but not for ever: we hold a lock. */
static long wait_writable(int fd)
{
	struct { /* struct pollfd */
		int32_t fd;
		int16_t events, revents;
	} p = { fd, 4 /* POLLOUT */, 0 };
	struct timespec patience = { 2, 0 };

	return sys6(SYS_ppoll, (long)&p, 1, (long)&patience, 0, 0, 0) == 1 ? 0 : -EAGAIN;
}

static void out_flush(void)
{
	const char *p = buffer;

	while (out.len && !out.error) {
		long r = sys_write(out.fd, p, out.len);

		if (r > 0) {
			p += r;
			out.len -= (uint64_t)r;
		} else if (r == -EAGAIN) {
			out.error = wait_writable(out.fd);
		} else if (r != -EINTR) {
			out.error = r ? r : -EIO;
		}
	}
	out.len = 0;
}

/* Room for n bytes at the end of what was written; NULL: there is none. */
static char *out_room(uint64_t n)
{
	long more;

	if (out.error)
		return NULL;
	if (out.len + n <= out.size)
		return out.base + out.len;
	if (out.fd >= 0) {
		out_flush();
		return out.error ? NULL : out.base;
	}
	more = sys6(SYS_mremap, (long)out.base, (long)out.size, (long)out.size * 2, MREMAP_MAYMOVE,
	            0, 0);
	if (sys_failed(more)) {
		out.error = more;
		return NULL;
	}
	out.base = (char *)more;
	out.size *= 2;
	return out_room(n);
}

#define PIECE 64u /* the most that put() is given at once */

static void put(const char *s)
{
	char *p = out_room(PIECE);

	if (p)
		out.len += (uint64_t)(text_str(p, p + PIECE, s) - p);
}

static void put_number(uint64_t v, int width)
{
	char *p = out_room(PIECE);

	if (p)
		out.len += (uint64_t)(text_num(p, p + PIECE, v, width) - p);
}

static void put_address(uint64_t v)
{
	char *p = out_room(PIECE);
	int digit = 15;

	if (!p)
		return;
	*p++ = ' ';
	*p++ = '0';
	*p++ = 'x';
	while (digit > 7 && !(v >> 4 * digit))
		digit--;
	for (out.len += 4 + (uint64_t)digit; digit >= 0; digit--)
		*p++ = "0123456789abcdef"[v >> 4 * digit & 15];
}

static void put_file(const char *path)
{
	long fd = sys_open(path, O_RDONLY, 0), r = 1;

	while (!sys_failed(fd) && r > 0) {
		char *p = out_room(4096);

		if (!p)
			break;
		do
			r = sys_read((int)fd, p, 4096);
		while (r == -EINTR);
		if (r > 0)
			out.len += (uint64_t)r;
	}
	if (!sys_failed(fd))
		sys_close((int)fd);
}

/* ---- sums ----------------------------------------------------------------------------------- */

static bool sums_need(uint64_t n)
{
	struct sums *more, *old = sums;
	uint64_t room = n + n / 2 + 512, old_room = sums_room;

	nsums = n;
	if (n <= sums_room)
		return true;
	more = mem_map(room * sizeof(*more));
	if (!more)
		return false;
	/* First the new one, then the old one goes: a child may be forked in between. */
	store_release(&sums, more);
	store_release(&sums_room, room);
	if (old)
		mem_unmap(old, old_room * sizeof(*old));
	return true;
}

static uint64_t positive(uint64_t v)
{
	return (int64_t)v > 0 ? v : 0;
}

static void sum_counters(uint32_t site, struct sums *s)
{
	const struct ledger_counters *base =
		(const void *)(g.ledger + g.hdr->section[LEDGER_COUNTERS].offset);

	*s = (struct sums){ 0 };
	for (uint32_t i = 0; i < shards_used(); i++) {
		const struct ledger_counters *c = base + (uint64_t)i * g.max_sites + site;

		if (!shard_has(i, site))
			continue;
		s->alloc_blocks += load_relaxed(&c->alloc_count);
		s->alloc_bytes += load_relaxed(&c->alloc_bytes);
		s->blocks -= load_relaxed(&c->free_count);
		s->bytes -= load_relaxed(&c->free_bytes);
	}
	/* Another thread may have counted a free whose allocation was not summed yet. */
	s->blocks = positive(s->blocks + s->alloc_blocks);
	s->bytes = positive(s->bytes + s->alloc_bytes);
}

/* A block born since; sums[].blocks and .bytes were emptied. */
static void count_block(const struct ledger_block *b, uint32_t tick)
{
	uint64_t size = LEDGER_BLOCK_SIZE(b->body), site = LEDGER_BLOCK_SITE(b->body);
	unsigned int period = LEDGER_BLOCK_PERIOD(b->head);
	double p, w = 1;

	if (LEDGER_BLOCK_BIRTH(b->head) < tick || site >= nsums)
		return;
	if (period)
		w = sampler_weight(size, g.hdr->periods[period], &p);
	sums[site].blocks += (uint64_t)(w * COUNT_ONE + 0.5);
	sums[site].bytes += (uint64_t)(w * (double)size + 0.5);
}

/* Its bucket may move while it is read: then it is read again. */
static void count_page(const uint64_t *word, uint32_t tick)
{
	static struct ledger_block found[1u << LEDGER_BUCKET_MAX_LOG2];
	uint32_t n = 0;

	for (int tries = 0; tries < 4; tries++) {
		uint64_t w = load_acquire(word);
		const struct ledger_block *b = g.buckets + LEDGER_DIR_BUCKET(w);

		n = 0;
		for (uint32_t i = 0; w && i < 1u << LEDGER_DIR_LOG2(w); i++) {
			struct ledger_block copy = { load_acquire(&b[i].head),
				                     load_relaxed(&b[i].body) };

			if ((copy.head & LEDGER_BLOCK_VALID) && n < sizeof(found) / sizeof(found[0]))
				found[n++] = copy;
		}
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (LEDGER_DIR_BUCKET(load_relaxed(word)) == LEDGER_DIR_BUCKET(w))
			break;
	}
	for (uint32_t i = 0; i < n; i++)
		count_block(&found[i], tick);
}

static void count_blocks(uint32_t tick)
{
	for (uint32_t top = 0; top < LEDGER_ROOT_SLOTS; top++) {
		uint64_t **pages = load_acquire(&live_root[top]);

		for (uint32_t i = 0; pages && i < DIR_PAGES; i++) {
			const uint64_t *words = load_acquire(&pages[i]);

			for (uint32_t k = 0; words && k < DIR_PAGE_WORDS; k++)
				if (load_relaxed(&words[k]))
					count_page(&words[k], tick);
		}
	}
}

static bool collect(const struct dropin_since *since)
{
	uint64_t n = load_acquire(&g.hdr->nsites);

	if (!sums_need(n))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		struct sums *s = &sums[i];

		sum_counters(i, s);
		if (since->whole)
			continue;
		s->blocks = s->bytes = 0;
		if (i < since->nbase) {
			s->alloc_blocks = positive(s->alloc_blocks - since->base[i].count);
			s->alloc_bytes = positive(s->alloc_bytes - since->base[i].bytes);
		}
	}
	if (!since->whole)
		count_blocks(since->tick);
	return true;
}

/* ---- scaling ---------------------------------------------------------------------------------- */

/* The period in force; 0: every block is recorded. */
static uint64_t period_now(void)
{
	const struct ledger_control *c = &g.hdr->control;
	uint64_t period = load_relaxed(&c->period);

	return load_relaxed(&c->mode) == LEDGER_SAMPLED && period > 1 ? period : 0;
}

/*
 * `period` 0: as they are.  A reader divides by what it finds: neither number may be 0 when the other is not, and
 * without bytes there is no average to scale by.
 */
static void scale(uint64_t *blocks, uint64_t *bytes, uint64_t period)
{
	uint64_t count = *blocks, bits = period >> 40 ? 0 : 16;
	double p, size;

	*blocks = (count + COUNT_ONE / 2) >> LEDGER_COUNT_SHIFT;
	if (period && count && *bytes) {
		/* The average is no whole number of bytes; only its ratio to the period counts. */
		size = (double)*bytes * COUNT_ONE / (double)count * (double)(1ull << bits);
		sampler_weight(size < 1e18 ? (uint64_t)size : (uint64_t)1e18, period << bits, &p);
		*blocks = (uint64_t)((double)count / COUNT_ONE * p + 0.5);
		*bytes = (uint64_t)((double)*bytes * p + 0.5);
	}
	if (*bytes && !*blocks)
		*blocks = 1;
	if (period && *blocks && !*bytes)
		*blocks = 0;
}

static void scale_all(const struct dropin_profile *p, uint64_t period, struct dropin_totals *total)
{
	*total = (struct dropin_totals){ 0 };
	for (uint32_t i = 0; i < nsums; i++) {
		struct sums *s = &sums[i];

		if (!(p->kinds >> g.sites[i].kind & 1) || (!s->alloc_blocks && !s->blocks)) {
			*s = (struct sums){ 0 };
			continue;
		}
		total->estimated_blocks += (s->blocks + COUNT_ONE / 2) >> LEDGER_COUNT_SHIFT;
		total->estimated_bytes += s->bytes;
		scale(&s->blocks, &s->bytes, period);
		scale(&s->alloc_blocks, &s->alloc_bytes, period);
		if (!p->accum)
			s->alloc_blocks = s->alloc_bytes = 0;
		/* Events of other threads between two sums. */
		else if (s->alloc_blocks < s->blocks || s->alloc_bytes < s->bytes)
			s->alloc_blocks = s->blocks, s->alloc_bytes = s->bytes;
		total->blocks += s->blocks;
		total->bytes += s->bytes;
		total->alloc_blocks += s->alloc_blocks;
		total->alloc_bytes += s->alloc_bytes;
		total->stacks += s->blocks != 0;
	}
}

/* ---- the formats ------------------------------------------------------------------------------- */

static void put_stack(uint32_t site)
{
	uint32_t node = g.sites[site].node;

	for (unsigned int guard = 0; node && guard <= LEDGER_MAX_DEPTH; guard++) {
		put_address(g.nodes[node].key & LEDGER_PC_MASK);
		node = g.nodes[node].parent;
	}
}

static void put_values(const char *begin, const char *between, int width, uint64_t blocks,
                       uint64_t bytes, uint64_t alloc_blocks, uint64_t alloc_bytes)
{
	int wide = width ? width + 2 : 0;

	put(begin);
	put_number(blocks, width);
	put(": ");
	put_number(bytes, wide);
	put(between);
	put_number(alloc_blocks, width);
	put(": ");
	put_number(alloc_bytes, wide);
	put("]");
}

static void emit_gperftools(uint64_t period, const struct dropin_totals *total)
{
	put_values("heap profile: ", " [", 6, total->blocks, total->bytes, total->alloc_blocks,
	           total->alloc_bytes);
	if (period) {
		put(" @ heap_v2/");
		put_number(period, 0);
		put("\n");
	} else {
		put(" @ heapprofile\n");
	}
	for (uint32_t i = 0; i < nsums; i++) {
		const struct sums *s = &sums[i];

		if (!s->blocks && !s->alloc_blocks)
			continue;
		put_values("", " [", 6, s->blocks, s->bytes, s->alloc_blocks, s->alloc_bytes);
		put(" @");
		put_stack(i);
		put("\n");
	}
}

static void emit_jemalloc(uint64_t period, const struct dropin_totals *total)
{
	put("heap_v2/");
	put_number(period, 0);
	put_values("\n  t*: ", " [", 0, total->blocks, total->bytes, total->alloc_blocks,
	           total->alloc_bytes);
	put("\n");
	for (uint32_t i = 0; i < nsums; i++) {
		const struct sums *s = &sums[i];

		if (!s->blocks && !s->alloc_blocks)
			continue;
		put("@");
		put_stack(i);
		put_values("\n  t*: ", " [", 0, s->blocks, s->bytes, s->alloc_blocks,
		           s->alloc_bytes);
		put("\n");
	}
}

static void emit(const struct dropin_profile *p, struct dropin_totals *total)
{
	uint64_t period = period_now();

	/* jemalloc's readers scale even when every block was recorded: then with 1. */
	if (!period && p->format == DROPIN_JEMALLOC)
		period = 1;
	scale_all(p, period, total);
	if (p->format == DROPIN_JEMALLOC)
		emit_jemalloc(period, total);
	else
		emit_gperftools(period, total);
	put("\nMAPPED_LIBRARIES:\n");
	put_file("/proc/self/maps");
}

/* ---- files --------------------------------------------------------------------------------------- */

enum way { NAMELESS, RENAMED, DIRECT };

static char aside[DROPIN_PATH + 32]; /* a temporary name, or the directory */

static void temporary_name(const char *path)
{
	char *end = aside + sizeof(aside), *p = text_str(aside, end, path);

	p = text_str(p, end, ".");
	p = text_num(p, end, (uint64_t)sys_getpid(), 0);
	text_str(p, end, ".tmp");
}

static long open_nameless(const char *path)
{
	char *slash;

	text_str(aside, aside + DROPIN_PATH, path);
	slash = strrchr(aside, '/');
	if (!slash)
		text_str(aside, aside + DROPIN_PATH, ".");
	else
		slash[slash == aside] = '\0';
	return sys_open(aside, O_TMPFILE | O_WRONLY, 0644);
}

static long open_way(const char *path, enum way way)
{
	long fd, high;

	if (way == NAMELESS) {
		fd = open_nameless(path);
	} else if (way == RENAMED) {
		temporary_name(path);
		sys_unlink(aside);
		fd = sys_open(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
	} else {
		fd = sys_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY, 0644);
	}
	/* A program may have closed its standard descriptors: messages must not get into the file. */
	if (fd >= 0 && fd <= 2) {
		high = sys6(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3, 0, 0, 0);
		sys_close((int)fd);
		fd = high;
	}
	return fd;
}

static long publish_nameless(int fd, const char *path)
{
	char *end = buffer + 64, *p = text_str(buffer, end, "/proc/self/fd/");
	long r;

	text_num(p, end, (uint64_t)fd, 0);
	r = sys6(SYS_linkat, AT_FDCWD, (long)buffer, AT_FDCWD, (long)path, AT_SYMLINK_FOLLOW, 0);
	if (r != -EEXIST)
		return r;
	temporary_name(path);
	sys_unlink(aside);
	r = sys6(SYS_linkat, AT_FDCWD, (long)buffer, AT_FDCWD, (long)aside, AT_SYMLINK_FOLLOW, 0);
	if (!r)
		r = sys6(SYS_rename, (long)aside, (long)path, 0, 0, 0, 0);
	if (r)
		sys_unlink(aside);
	return r;
}

static long write_way(const struct dropin_profile *p, const char *path, enum way way,
                      struct dropin_totals *total, bool *ret_refused)
{
	long fd = open_way(path, way), r;

	*ret_refused = sys_failed(fd);
	if (sys_failed(fd))
		return fd;
	out.fd = (int)fd;
	out.base = buffer;
	out.size = sizeof(buffer);
	out.len = 0;
	out.error = 0;
	emit(p, total);
	out_flush();
	r = out.error;
	if (!r && way == NAMELESS) {
		r = publish_nameless((int)fd, path);
		*ret_refused = r != 0;
	} else if (!r && way == RENAMED) {
		r = sys6(SYS_rename, (long)aside, (long)path, 0, 0, 0, 0);
	}
	if (r && way == RENAMED)
		sys_unlink(aside);
	sys_close((int)fd);
	return r;
}

/* The signal of a broken pipe or of ulimit -f would come when signals are let in again. */
static void drop_write_signals(long error)
{
	uint64_t set = error == -EPIPE ? 1ull << (13 - 1) : 1ull << (25 - 1); /* SIGPIPE, SIGXFSZ */
	struct timespec now = { 0, 0 };

	if (error == -EPIPE || error == -EFBIG)
		sys6(SYS_rt_sigtimedwait, (long)&set, 0, (long)&now, sizeof(set), 0, 0);
}

long dropin_write(const struct dropin_profile *p, const char *path, struct dropin_totals *ret_totals)
{
	enum way way = NAMELESS;
	bool refused;
	struct stat st;
	long r;

	if (!*path)
		return -ENOENT;
	if (strlen(path) >= DROPIN_PATH)
		return -ENAMETOOLONG;
	if (!collect(p->since))
		return -ENOMEM;
	if (!sys_failed(sys_stat_nofollow(path, &st)) && !S_ISREG(st.st_mode))
		way = DIRECT;
	r = write_way(p, path, way, ret_totals, &refused);
	if (r && refused && way == NAMELESS) {
		/* What emit() scaled is collected anew. */
		if (!collect(p->since))
			return -ENOMEM;
		r = write_way(p, path, RENAMED, ret_totals, &refused);
	}
	drop_write_signals(r);
	return r;
}

char *dropin_text(const struct dropin_profile *p, uint64_t *ret_len, uint64_t *ret_size)
{
	struct dropin_totals total;
	void *map;

	if (!collect(p->since))
		return NULL;
	map = sys_mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sys_failed((long)map))
		return NULL;
	out.fd = -1;
	out.base = map;
	out.size = 1 << 20;
	out.len = 0;
	out.error = 0;
	emit(p, &total);
	put("");
	if (out.error) {
		sys_munmap(out.base, out.size);
		return NULL;
	}
	*ret_len = out.len;
	*ret_size = out.size;
	return out.base;
}

/* ---- since when ------------------------------------------------------------------------------------- */

static uint64_t tick_now(void)
{
	struct timespec ts = { 0, 0 };
	uint64_t ns;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	ns = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	return ns > g.mono_base ? (ns - g.mono_base) >> LEDGER_TICK_SHIFT : 0;
}

/* A block's birth is known to the tick, some ms: the next one is waited for. */
static uint32_t next_tick(void)
{
	uint64_t begin = tick_now(), now = begin;
	struct timespec ms = { 0, 1000000 };

	for (int i = 0; i < 50 && now == begin; i++) {
		sys6(SYS_nanosleep, (long)&ms, 0, 0, 0, 0, 0);
		now = tick_now();
	}
	/* This thread would else go by its last look for some events. */
	if (t_self->state == T_READY)
		t_self->now_left = 0;
	return (uint32_t)now;
}

void dropin_forget(struct dropin_since *s)
{
	struct ledger_peak *base = s->base;
	uint64_t size = s->base_size;

	/* In this order: a child may be forked in between, and would unmap what has come there since. */
	*s = (struct dropin_since){ 0 };
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (base)
		mem_unmap(base, size);
}

void dropin_begin(struct dropin_since *s)
{
	uint64_t n;

	dropin_forget(s);
	s->tick = next_tick();
	n = load_acquire(&g.hdr->nsites);
	s->base_size = n * sizeof(*s->base);
	s->base = mem_map(s->base_size);
	if (!s->base)
		return; /* then what was ever allocated is that of the whole process */
	for (uint32_t i = 0; i < n; i++) {
		struct sums now;

		sum_counters(i, &now);
		s->base[i] = (struct ledger_peak){ now.alloc_blocks, now.alloc_bytes };
	}
	s->nbase = (uint32_t)n;
}

uint64_t dropin_in_use(unsigned int kinds)
{
	uint64_t n = load_acquire(&g.hdr->nsites), bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct sums now;

		if (!(kinds >> g.sites[i].kind & 1))
			continue;
		sum_counters(i, &now);
		bytes += now.bytes;
	}
	return bytes;
}
