/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger as a file: made once, mapped once, grown by giving storage to parts
 * of it, never moved.
 *
 * The file is far larger than what is used: every section has its final place, and
 * pages get storage just before they are first touched.  Touching a page of a full
 * tmpfs would be a SIGBUS in the target, so storage is asked for first, with an error
 * for an answer: MADV_POPULATE_WRITE (Linux 5.14), which needs no descriptor and so also
 * works after the target has closed all of them, changed its root or its user.
 * On older kernels the file is opened again by its path and fallocate()d.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "track/attach.h"
#include "track/dropin.h"

#define MiB ((uint64_t)1 << 20)
#define GiB ((uint64_t)1 << 30)

static bool have_populate;

/* ---- small text helpers: no stdio here --------------------------------------- */

static char *put_str(char *p, char *end, const char *s)
{
	while (*s && p < end - 1)
		*p++ = *s++;
	*p = '\0';
	return p;
}

static char *put_num(char *p, char *end, uint64_t v)
{
	char digits[24];
	int n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n && p < end - 1)
		*p++ = digits[--n];
	*p = '\0';
	return p;
}

/* At most n-1 bytes of a file, NUL-terminated; the number of bytes. */
static size_t slurp(const char *path, char *buf, size_t n)
{
	long fd = sys_open(path, O_RDONLY, 0), r;
	size_t got = 0;

	buf[0] = '\0';
	if (sys_failed(fd))
		return 0;
	while (got < n - 1) {
		r = sys_read((int)fd, buf + got, n - 1 - got);
		if (r == -EINTR)
			continue;
		if (r <= 0)
			break;
		got += (size_t)r;
	}
	sys_close((int)fd);
	buf[got] = '\0';
	return got;
}

/* ---- storage -------------------------------------------------------------------- */

bool ledger_ensure(const void *from, size_t len)
{
	uint64_t lo = (uint64_t)from & ~4095ull, hi = ((uint64_t)from + len + 4095) & ~4095ull;
	uint64_t base = (uint64_t)g.ledger;
	long r, fd;

	if (lo < base || hi > base + g.ledger_size || hi < lo)
		return false;
	if (have_populate) {
		do
			r = sys_madvise((void *)lo, hi - lo, MADV_POPULATE_WRITE);
		while (r == -EINTR || r == -EAGAIN);
		if (!r)
			return true;
		if (r != -EINVAL) {
			loss(LOSS_NO_SPACE);
			return false;
		}
		have_populate = false;
	}
	fd = sys_open(g.ledger_path, O_RDWR, 0);
	if (sys_failed(fd)) {
		loss(LOSS_NO_SPACE);
		return false;
	}
	do
		r = sys_fallocate((int)fd, 0, lo - base, hi - lo);
	while (r == -EINTR);
	sys_close((int)fd);
	if (r)
		loss(LOSS_NO_SPACE);
	return !r;
}

static struct growing point_space;

bool points_room(uint64_t n)
{
	return growing_need(&point_space, n * sizeof(struct ledger_point));
}

bool growing_need(struct growing *gr, uint64_t bytes)
{
	uint64_t want;

	if (bytes <= gr->ready)
		return true;
	if (bytes > gr->size)
		return false;
	want = (bytes + gr->step - 1) / gr->step * gr->step;
	if (want > gr->size)
		want = gr->size;
	if (!ledger_ensure(gr->base + gr->ready, want - gr->ready)) {
		/* The last free pages of a small file system: take just what is needed. */
		want = (bytes + 4095) & ~4095ull;
		if (!ledger_ensure(gr->base + gr->ready, want - gr->ready))
			return false;
	}
	gr->ready = want;
	/* Large sections grow in larger steps: fewer calls, at most 1/8 more than used. */
	if (gr->step < 4 * MiB && gr->ready > 8 * gr->step)
		gr->step *= 2;
	return true;
}

/* ---- identity --------------------------------------------------------------------- */

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void read_boot_id(uint8_t id[16])
{
	char text[64];
	size_t n = slurp("/proc/sys/kernel/random/boot_id", text, sizeof(text)), k = 0;

	for (size_t i = 0; i + 1 < n && k < 16;) {
		if (hex(text[i]) < 0) {
			i++;
			continue;
		}
		id[k++] = (uint8_t)(hex(text[i]) << 4 | (hex(text[i + 1]) & 15));
		i += 2;
	}
}

static uint64_t read_start_ticks(void)
{
	char text[1024], *p;
	uint64_t v = 0;
	int field = 2;

	slurp("/proc/self/stat", text, sizeof(text));
	/* Field 2 is "(name)", and the name may hold blanks and parentheses. */
	p = strrchr(text, ')');
	if (!p)
		return 0;
	for (p++; *p && field < 22; p++)
		if (*p == ' ')
			field++;
	for (; *p >= '0' && *p <= '9'; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	return v;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts = { 0, 0 };

	sys6(SYS_clock_gettime, clock, (long)&ts, 0, 0, 0, 0);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void fill_identity(struct ledger_header *h, uint64_t start_ticks)
{
	char *p = h->command;
	size_t n;
	long r;

	h->start_ticks = start_ticks;
	h->start_mono_ns = clock_ns(CLOCK_MONOTONIC);
	h->start_real_ns = clock_ns(CLOCK_REALTIME);
	read_boot_id(h->boot_id);
	r = sys_readlink("/proc/self/exe", h->exe, sizeof(h->exe) - 1);
	if (sys_failed(r))
		h->exe[0] = '\0';
	n = slurp("/proc/self/cmdline", p, sizeof(h->command));
	while (n && p[n - 1] == '\0')
		n--;
	for (size_t i = 0; i < n; i++)
		if (p[i] == '\0' || p[i] == '\n' || p[i] == '\t')
			p[i] = ' ';
}

/* ---- geometry ------------------------------------------------------------------------ */

/*
 * Reserved sizes; `scale` halves the large ones until the mapping fits into the
 * target's address space limit (ulimit -v).
 */
static uint64_t lay_out(struct ledger_header *h, unsigned int scale)
{
	uint64_t sites = ((uint64_t)1 << 19) >> scale;
	uint64_t off = sizeof(struct ledger_header);
	uint64_t size[LEDGER_NSECTIONS];

	h->nshards = 64u >> scale;
	if (h->nshards < 2)
		h->nshards = 2;
	h->max_sites = (uint32_t)sites;
	size[LEDGER_MODULES] = 8192 * sizeof(struct ledger_module);
	size[LEDGER_STRINGS] = 2 * MiB;
	size[LEDGER_THREADS] = LEDGER_MAX_THREADS * sizeof(struct ledger_thread);
	size[LEDGER_NODES] = sites * 32 * sizeof(struct ledger_node);
	size[LEDGER_SITES] = sites * sizeof(struct ledger_site);
	size[LEDGER_COUNTERS] = sites * h->nshards * sizeof(struct ledger_counters);
	size[LEDGER_TAILS] = sites * h->nshards * sizeof(struct ledger_tail);
	size[LEDGER_CLASSES] = h->nshards * LEDGER_SIZE_CLASSES * sizeof(struct ledger_class);
	size[LEDGER_PEAK] = 2 * sites * sizeof(struct ledger_peak);
	size[LEDGER_TIMELINE] = LEDGER_MAX_POINTS * sizeof(struct ledger_point);
	size[LEDGER_ROOT] = LEDGER_ROOT_SLOTS * sizeof(uint64_t);
	size[LEDGER_DIR] = (512ull >> scale) * LEDGER_DIR_SLOTS * sizeof(uint64_t);
	size[LEDGER_BUCKETS] = (16 * GiB) >> scale;
	for (unsigned int i = 0; i < LEDGER_NSECTIONS; i++) {
		off = (off + 4095) & ~4095ull;
		h->section[i].offset = off;
		h->section[i].size = size[i];
		off += size[i];
	}
	h->marks.offset = (off + 4095) & ~4095ull;
	h->marks.size = ((uint64_t)LEDGER_MAX_MARKS >> scale) * sizeof(struct ledger_mark);
	off = h->marks.offset + h->marks.size;
	h->file_size = (off + 4095) & ~4095ull;
	return h->file_size;
}

#define MAX_SCALE 6

/* ulimit -f */
static uint64_t file_size_limit(void)
{
	uint64_t limit[2] = { 0, 0 };

	if (sys6(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)limit, 0, 0))
		return UINT64_MAX;
	return limit[0];
}

static void *section(enum ledger_section_id id)
{
	return g.ledger + g.hdr->section[id].offset;
}

/* ---- making it ------------------------------------------------------------------------- */

/* A directory of ours: made if missing; refused when another user could have prepared it. */
static bool prepare_dir(const char *dir)
{
	struct stat st;
	long r = sys_mkdir(dir, 0700);

	if (sys_failed(r) && r != -EEXIST)
		return false;
	r = sys_stat_nofollow(dir, &st);
	return !sys_failed(r) && S_ISDIR(st.st_mode) &&
	       (st.st_uid == sys_getuid() || sys_getuid() == 0 || !(st.st_mode & 022));
}

/*
 * An earlier program of this very process left a ledger: say that it went on as another.  One that nobody wants after
 * its program goes: then true.
 */
static bool mark_execed(const char *path, int pid, uint64_t start_ticks)
{
	struct ledger_header h;
	uint32_t state = LEDGER_EXECED;
	long fd = sys_open(path, O_RDWR | O_NOFOLLOW, 0);
	bool gone = false;

	if (sys_failed(fd))
		return false;
	if (sys_pread((int)fd, &h, sizeof(h), 0) != (long)sizeof(h) || h.magic != LEDGER_MAGIC ||
	    h.pid != pid || h.start_ticks != start_ticks) {
		; /* another's, or not one yet */
	} else if (h.flags & LEDGER_F_TRANSIENT) {
		gone = !sys_unlink(path);
	} else if (h.state == LEDGER_LIVE) {
		uint64_t now = clock_ns(CLOCK_MONOTONIC);

		sys_pwrite((int)fd, &now, sizeof(now), offsetof(struct ledger_header, end_mono_ns));
		sys_pwrite((int)fd, &state, sizeof(state), offsetof(struct ledger_header, state));
	}
	sys_close((int)fd);
	return gone;
}

static void path_of(char *path, size_t size, int pid, uint32_t seq)
{
	char *end = path + size, *p = put_str(path, end, opt.dir);

	p = put_str(p, end, "/");
	p = put_num(p, end, (uint64_t)pid);
	p = put_str(p, end, ".");
	p = put_num(p, end, seq);
	put_str(p, end, ".ledger");
}

/* A file that somebody else has made, for the next ledger. */
static int given_fd = -1, given_pid;
static unsigned int given_uid;
static char given_path[sizeof(g.ledger_path)];

void ledger_adopt(int fd, const char *path, int pid, unsigned int uid)
{
	given_fd = fd;
	given_pid = pid;
	given_uid = uid;
	put_str(given_path, given_path + sizeof(given_path), path);
}

static long make_file(int pid, uint64_t start_ticks, uint32_t *ret_seq)
{
	uint32_t seq;
	long fd = -ENOENT;

	if (given_fd >= 0) {
		fd = given_fd;
		given_fd = -1;
		memcpy(g.ledger_path, given_path, sizeof(g.ledger_path));
		*ret_seq = 0;
		return fd;
	}
	if (!opt.dir[0]) {
		char *end = opt.dir + sizeof(opt.dir), *p = put_str(opt.dir, end, "/dev/shm/seep-");

		put_num(p, end, sys_getuid());
	}
	if (!prepare_dir(opt.dir)) {
		say("cannot use the ledger directory ", opt.dir);
		return -EACCES;
	}
	for (seq = 0; seq < 10000; seq++) {
		path_of(g.ledger_path, sizeof(g.ledger_path), pid, seq);
		fd = sys_open(g.ledger_path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
		if (fd == -EEXIST && mark_execed(g.ledger_path, pid, start_ticks))
			fd = sys_open(g.ledger_path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
		if (fd != -EEXIST)
			break;
	}
	*ret_seq = seq;
	return fd;
}

static bool ready_sections(void)
{
	struct ledger_header *h = g.hdr;

	g.modules = section(LEDGER_MODULES);
	g.strings = section(LEDGER_STRINGS);
	g.threads = section(LEDGER_THREADS);
	g.nodes = section(LEDGER_NODES);
	g.sites = section(LEDGER_SITES);
	g.peak = section(LEDGER_PEAK);
	g.points = section(LEDGER_TIMELINE);
	g.root = section(LEDGER_ROOT);
	g.dirs = section(LEDGER_DIR);
	g.buckets = section(LEDGER_BUCKETS);
	g.max_modules = h->section[LEDGER_MODULES].size / sizeof(struct ledger_module);
	g.max_strings = h->section[LEDGER_STRINGS].size;
	g.max_nodes = h->section[LEDGER_NODES].size / sizeof(struct ledger_node);
	g.max_sites = h->max_sites;
	g.max_dirs = h->section[LEDGER_DIR].size / (LEDGER_DIR_SLOTS * sizeof(uint64_t));
	g.max_buckets = h->section[LEDGER_BUCKETS].size / sizeof(struct ledger_block);
	g.nshards = h->nshards;
	point_space = (struct growing){ .base = (uint8_t *)g.points,
		                        .size = h->section[LEDGER_TIMELINE].size,
		                        .ready = 4096,
		                        .step = 4096 };
	/* Written by index from the start, so their first pages must be there. */
	return ledger_ensure(g.modules, 4096) && ledger_ensure(g.strings, 4096) &&
	       ledger_ensure(g.threads, 4096) && ledger_ensure(g.nodes, 4096) &&
	       ledger_ensure(g.sites, 4096) && ledger_ensure(g.points, 4096);
}

/* Zeros, where the ledger of an earlier attachment was; shared, so that nobody takes all of it for heap to look through. */
static void *left_map;
static uint64_t left_size;

static void release(void *map, uint64_t size)
{
	/* Where it was attached before, stragglers may still come: nothing but zeros is there for them. */
	if (!attach_loaded_late() ||
	    sys_failed((long)sys_mmap(map, size, PROT_READ | PROT_WRITE,
	                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0)))
		sys_munmap(map, size);
	else {
		left_map = map;
		left_size = size;
	}
}

void ledger_let_go(void)
{
	/* A kernel that counts what might be used refuses that much: then the file stays mapped. */
	if (!sys_failed((long)sys_mmap(g.ledger, g.ledger_size, PROT_READ | PROT_WRITE,
	                               MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
	                               0))) {
		left_map = g.ledger;
		left_size = g.ledger_size;
	}
}

uint64_t ledger_clock_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

bool ledger_create(bool forked)
{
	static struct ledger_header draft; /* too large for a small stack; made under init's lock */
	struct ledger_header *h = &draft;
	struct ledger_control control = { .active = opt.active && !opt.minimal,
		                          .mode = opt.sampled ? LEDGER_SAMPLED : LEDGER_FULL,
		                          .period = opt.period };
	int parent = g.hdr ? g.pid : 0, pid = sys_getpid();
	uint64_t start_ticks = read_start_ticks();
	unsigned int scale;
	uint32_t seq = 0;
	bool again = false, given;
	void *map = NULL;
	long fd, r;

	/* A child goes on as its parent was told to meanwhile. */
	if (forked && g.hdr)
		control = g.hdr->control;
	memset(h, 0, sizeof(*h));
	g.hdr = NULL;
	given = given_fd >= 0;
	fd = make_file(pid, start_ticks, &seq);
	if (sys_failed(fd)) {
		say("cannot create the ledger ", g.ledger_path);
		return false;
	}
	for (scale = 0; scale <= MAX_SCALE; scale++) {
		/* Beyond the limit ftruncate would be a deadly signal, not an error. */
		if (lay_out(h, scale) > file_size_limit())
			continue;
		r = sys_ftruncate((int)fd, h->file_size);
		if (r)
			continue;
		/* Where the last one was, when there was one: threads may still look there. */
		again = left_map && left_size == h->file_size;
		map = sys_mmap(again ? left_map : NULL, h->file_size, PROT_READ | PROT_WRITE,
		               MAP_SHARED | MAP_NORESERVE | (again ? MAP_FIXED : 0), (int)fd, 0);
		if (!sys_failed((long)map))
			break;
		map = NULL;
	}
	/* The header and first pages get storage through the descriptor, which every kernel can. */
	r = map ? sys_fallocate((int)fd, 0, 0, sizeof(*h)) : -ENOMEM;
	sys_close((int)fd);
	if (r && r != -EOPNOTSUPP)
		goto fail;

	g.ledger = map;
	g.ledger_size = h->file_size;
	g.pid = pid;
	have_populate = true;
	h->version = LEDGER_VERSION;
	h->header_size = sizeof(*h);
	h->state = LEDGER_STARTING;
	h->pid = given ? given_pid : pid;
	h->ppid = sys_getppid();
	h->uid = given ? given_uid : sys_getuid();
	h->exec_seq = seq;
	h->page_size = 4096;
	h->tick_shift = LEDGER_TICK_SHIFT;
	h->mode = control.mode == LEDGER_SAMPLED ? LEDGER_SAMPLED : LEDGER_FULL;
	h->nperiods = 2;
	h->periods[0] = 0;
	h->periods[1] = control.period;
	h->flags = LEDGER_F_SINGLE | (forked ? LEDGER_F_FORKED : 0) |
	           (opt.minimal && !g.main_entered ? LEDGER_F_ATTACHED : 0) |
	           (dropin.transient ? LEDGER_F_TRANSIENT : 0) |
	           (attach_loaded_late() && !forked ? LEDGER_F_ATTACHED : 0);
	h->parent_pid_ledger = forked ? parent : 0;
	h->control.active = control.active != 0;
	h->control.mode = h->mode;
	h->control.period = control.period;
	h->control.generation = 1;
	h->nsites = 1; /* site 0: stack unknown */
	h->nnodes = 1; /* node 0: root */
	h->nthreads = 1;
	h->strings_used = 1;
	h->point_interval_ns = 10000000;
	fill_identity(h, start_ticks);
	if (!ledger_ensure(map, sizeof(*h)))
		goto fail_mapped;
	memcpy(map, h, sizeof(*h));
	g.hdr = map;
	if (!ready_sections()) {
		g.hdr = NULL;
		goto fail_mapped;
	}
	marks_init();
	g.hdr->private_bytes = g.private_bytes;
	/* The magic comes last: a file without it is no ledger yet. */
	store_release(&g.hdr->magic, LEDGER_MAGIC);
	store_release(&control_word, &g.hdr->control.generation);
	return true;

fail_mapped:
	release(map, h->file_size);
	map = NULL;
fail:
	if (map)
		release(map, h->file_size);
	if (!given)
		sys_unlink(g.ledger_path);
	say("no room for the ledger ", g.ledger_path);
	g.ledger = NULL;
	return false;
}

void ledger_finish(uint32_t state)
{
	if (!g.hdr)
		return;
	g.hdr->end_mono_ns = clock_ns(CLOCK_MONOTONIC);
	store_release(&g.hdr->state, state);
}
