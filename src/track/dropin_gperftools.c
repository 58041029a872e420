/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gperftools' heap profiler: <gperftools/heap-profiler.h> and its environment.
 *
 * Files are PREFIX.0001.heap, PREFIX.0002.heap, ...  A program that a profiled one started finds a mark in HEAPPROFILE (the
 * first character's high bit, as gperftools leaves it) and writes PREFIX_PID.0001.heap.  So does a forked
 * child here; with gperftools it goes on with its parent's names, and one overwrites the other's files.
 *
 * A program linked against tcmalloc calls these too, since we come first: tcmalloc's own start from
 * HEAPPROFILE ends up here, and its profiler stays off.  The rest of its interface is left to it.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "track/dropin.h"

static char prefix[DROPIN_PATH]; /* of the files */
static char base_prefix[DROPIN_PATH];
static bool running, child, ever;
static uint32_t dumps;
static struct dropin_since since;
static struct {
	uint64_t allocated, freed, high; /* at the last profile */
	uint64_t ns;
} last;

static bool started; /* turned recording on */

static void set_prefix(const char *base)
{
	char *end = prefix + sizeof(prefix) - 16, *p = text_str(prefix, end, base);

	if (!child)
		return;
	p = text_str(p, end + 2, "_");
	text_num(p, prefix + sizeof(prefix), (uint64_t)sys_getpid(), 0);
}

void gperftools_options(const char *value)
{
	text_str(dropin.heapprofile, dropin.heapprofile + DROPIN_PATH, value);
	if (dropin.heapprofile[0] & 0x80) {
		dropin.heapprofile[0] &= 0x7f;
		child = true;
	}
}

/* ---- files ------------------------------------------------------------------------------------ */

static struct dropin_profile profile(void)
{
	struct dropin_profile p = { DROPIN_GPERFTOOLS, &since, 1u << LEDGER_HEAP, true };

	if (dropin.mmap || dropin.only_mmap)
		p.kinds |= 1u << LEDGER_MMAP;
	if (dropin.only_mmap)
		p.kinds &= ~(1u << LEDGER_HEAP);
	return p;
}

/* Locked. */
static void dump(const char *reason)
{
	static char path[DROPIN_PATH + 32];
	char *end = path + sizeof(path), *p = text_str(path, end, prefix);
	struct dropin_profile what = profile();
	struct dropin_totals totals;

	p = text_str(p, end, ".");
	p = text_zeros(p, end, ++dumps, 4);
	text_str(p, end, ".heap");
	if (!dropin.quiet)
		SAY("Dumping heap profile to ", path, " (", reason ? reason : "", ")");
	if (dropin_write(&what, path, &totals))
		SAY("Failed dumping heap profile to ", path);
}

static void amount(char *p, char *end, uint64_t bytes, const char *what)
{
	if (bytes >> 20) {
		p = text_str(text_num(p, end, bytes >> 20, 0), end, " MB");
	} else if (bytes >> 10) {
		p = text_str(text_num(p, end, bytes >> 10, 0), end, " kB");
	} else {
		p = text_str(text_num(p, end, bytes, 0), end, " bytes");
	}
	text_str(p, end, what);
}

/* ---- thresholds --------------------------------------------------------------------------------- */

bool gperftools_armed(void)
{
	return running && (dropin.alloc_interval || dropin.free_interval || dropin.inuse_interval ||
	                   dropin.time_interval);
}

static uint64_t freed(uint64_t allocated, uint64_t in_use)
{
	return allocated > in_use ? allocated - in_use : 0;
}

static void note(uint64_t allocated, uint64_t in_use, uint64_t ns)
{
	last.allocated = allocated;
	last.freed = freed(allocated, in_use);
	if (in_use > last.high)
		last.high = in_use;
	last.ns = ns;
}

/* Whether it is time; *left becomes at most what is left until then. */
static bool reached(uint64_t now, uint64_t before, uint64_t interval, uint64_t *left)
{
	uint64_t since_then = now > before ? now - before : 0;

	if (!interval)
		return false;
	if (since_then >= interval)
		return true;
	if (interval - since_then < *left)
		*left = interval - since_then;
	return false;
}

uint64_t gperftools_look(uint64_t allocated, uint64_t in_use, uint64_t ns)
{
	char reason[96], *end = reason + sizeof(reason);
	uint64_t left = UINT64_MAX, mask;

	if (!running)
		return left;
	if (reached(allocated, last.allocated, dropin.alloc_interval, &left)) {
		char *p = text_str(text_num(reason, end, allocated >> 20, 0), end,
		                   " MB allocated cumulatively, ");

		text_str(text_num(p, end, in_use >> 20, 0), end, " MB currently in use");
	} else if (reached(freed(allocated, in_use), last.freed, dropin.free_interval, &left)) {
		char *p = text_str(text_num(reason, end, freed(allocated, in_use) >> 20, 0), end,
		                   " MB freed cumulatively, ");

		text_str(text_num(p, end, in_use >> 20, 0), end, " MB currently in use");
	} else if (reached(in_use, last.high, dropin.inuse_interval, &left)) {
		text_str(text_num(reason, end, in_use >> 20, 0), end, " MB currently in use");
	} else if (dropin.time_interval && ns > last.ns &&
	           (ns - last.ns) / 1000000000 >= dropin.time_interval) {
		text_str(text_num(reason, end, (ns - last.ns) / 1000000000, 0), end,
		         " sec since the last dump");
	} else {
		return left;
	}
	if (!dropin_try(&mask))
		return left;
	if (running) {
		dump(reason);
		note(allocated, in_use, ns);
	}
	dropin_leave(mask);
	return 0;
}

/* ---- on and off ------------------------------------------------------------------------------------ */

/* Locked. */
static void start(const char *base, bool whole)
{
	int64_t in_use = load_relaxed(&g.inuse);

	if (!dropin.quiet)
		SAY("Starting tracking the heap");
	text_str(base_prefix, base_prefix + sizeof(base_prefix), base);
	set_prefix(base);
	if (whole) {
		dropin_forget(&since);
		since.whole = true;
	} else {
		started = !dropin_is_active();
		dropin_active(true);
		dropin_begin(&since);
	}
	running = ever = true;
	dropin_arm();
	last.high = 0;
	note(dropin_watched(), in_use > 0 ? (uint64_t)in_use : 0, dropin_now_ns());
}

/* Profiles an earlier run left under the same prefix would be taken for this one's. */
static void remove_old(void)
{
	static char entries[4096], dir[DROPIN_PATH], path[DROPIN_PATH + 280];
	struct { /* struct linux_dirent64 */
		uint64_t ino, off;
		uint16_t len;
		uint8_t type;
		char name[];
	} __attribute__((packed)) const *e;
	const char *slash = strrchr(prefix, '/'), *name = slash ? slash + 1 : prefix;
	size_t n = strlen(name);
	long fd, r;

	text_str(dir, dir + sizeof(dir), slash ? prefix : ".");
	if (slash)
		dir[slash == prefix ? 1 : slash - prefix] = '\0';
	fd = sys_open(dir, O_RDONLY | O_DIRECTORY, 0);
	while (!sys_failed(fd) &&
	       (r = sys6(SYS_getdents64, fd, (long)entries, sizeof(entries), 0, 0, 0)) > 0) {
		for (long at = 0; at < r; at += e->len) {
			const char *p;

			e = (const void *)(entries + at);
			p = e->name + n;
			if (strncmp(e->name, name, n) != 0 || *p != '.' || p[1] < '0' || p[1] > '9')
				continue;
			for (p++; *p >= '0' && *p <= '9'; p++)
				;
			if (strncmp(p, ".heap", 6) != 0)
				continue;
			text_str(text_str(text_str(path, path + sizeof(path), dir),
			                  path + sizeof(path), "/"),
			         path + sizeof(path), e->name);
			sys_unlink(path);
		}
	}
	if (!sys_failed(fd))
		sys_close((int)fd);
}

static void on_signal(int signo)
{
	uint64_t mask;

	(void)signo;
	if (!dropin_working() || !dropin_try(&mask))
		return;
	if (running)
		dump("signal");
	dropin_leave(mask);
}

/* The C library's, whose signal frames unwinders know; found so as not to be imported. */
static void install_handler(int signo)
{
	int (*set)(int, const struct sigaction *, struct sigaction *) = NULL;
	struct sigaction sa, old;
	const char *module;
	void *p = symbol_next("sigaction", &module);
	char digits[8];

	memset(&sa, 0, sizeof(sa));
	memset(&old, 0, sizeof(old));
	sa.sa_handler = on_signal;
	sa.sa_flags = SA_RESTART | SA_ONSTACK;
	memcpy(&set, &p, sizeof(p));
	text_num(digits, digits + sizeof(digits), (uint64_t)signo, 0);
	if (!set || set(signo, NULL, &old)) {
		SAY("HeapProfiler: cannot use signal ", digits, " (HEAPPROFILESIGNAL)");
		return;
	}
	/* tcmalloc's own, which has nothing to write, gives way. */
	if (old.sa_handler != SIG_DFL && !real.HeapProfilerStart) {
		SAY("HeapProfiler: signal ", digits, " (HEAPPROFILESIGNAL) is already in use");
		return;
	}
	if (!set(signo, &sa, NULL) && !dropin.quiet)
		SAY("Using signal ", digits, " as heap profiling switch");
}

void gperftools_start(void)
{
	char *env = getenv("HEAPPROFILE");
	uint64_t mask;

	if (!dropin.heapprofile[0])
		return;
	/* For the programs that this one starts. */
	if (env && *env)
		*env = (char)(*env | 0x80);
	if (dropin.signal)
		install_handler(dropin.signal);
	if (!dropin_enter(&mask))
		return;
	if (!running) {
		set_prefix(dropin.heapprofile);
		if (dropin.cleanup)
			remove_old();
		start(dropin.heapprofile, true);
	}
	dropin_leave(mask);
}

void gperftools_end(void)
{
	char reason[64], *p = text_str(reason, reason + sizeof(reason), "Exiting, ");
	int64_t in_use = load_relaxed(&g.inuse);
	uint64_t mask;

	if (!running || !dropin_enter(&mask))
		return;
	amount(p, reason + sizeof(reason), in_use > 0 ? (uint64_t)in_use : 0, " in use");
	dump(reason);
	running = false; /* tcmalloc's own end would come here too */
	dropin_leave(mask);
}

void gperftools_forked(void)
{
	if (!running)
		return;
	child = true;
	set_prefix(base_prefix);
	dumps = 0;
	/* Its ledger begins here. */
	dropin_forget(&since);
	since.whole = true;
	last = (__typeof__(last)){ 0 };
}

/* ---- the interface ------------------------------------------------------------------------------------ */

EXPORT void HeapProfilerStart(const char *name)
{
	uint64_t mask;

	if (!name || !dropin_working()) {
		if (real.HeapProfilerStart && name)
			real.HeapProfilerStart(name);
		return;
	}
	/* tcmalloc's constructor may come before ours, with the name that we would take. */
	if (!dropin_enter(&mask))
		return;
	if (!running)
		start(name, dropin.heapprofile[0] != '\0' && !ever);
	dropin_leave(mask);
}

EXPORT int IsHeapProfilerRunning(void)
{
	if (!dropin_working())
		return real.IsHeapProfilerRunning ? real.IsHeapProfilerRunning() : 0;
	return running;
}

EXPORT void HeapProfilerStop(void)
{
	uint64_t mask;

	if (!dropin_working()) {
		if (real.HeapProfilerStop)
			real.HeapProfilerStop();
		return;
	}
	if (!dropin_enter(&mask))
		return;
	if (running) {
		running = false;
		dropin_forget(&since);
		dropin_arm();
		if (started)
			dropin_active(false);
		started = false;
	}
	dropin_leave(mask);
}

EXPORT void HeapProfilerDump(const char *reason)
{
	uint64_t mask;

	if (!dropin_working()) {
		if (real.HeapProfilerDump)
			real.HeapProfilerDump(reason);
		return;
	}
	if (!dropin_enter(&mask))
		return;
	if (running)
		dump(reason);
	dropin_leave(mask);
}

/* The caller frees it, so it comes from the program's own malloc. */
EXPORT char *GetHeapProfile(void)
{
	struct dropin_profile what;
	uint64_t mask, len = 0, size = 0;
	char *text = NULL, *copy;

	if (!dropin_working() && real.GetHeapProfile)
		return real.GetHeapProfile();
	if (dropin_working() && dropin_enter(&mask)) {
		what = profile();
		if (running)
			text = dropin_text(&what, &len, &size);
		dropin_leave(mask);
	}
	copy = malloc(len + 1);
	if (copy) {
		if (text)
			memcpy(copy, text, len);
		copy[len] = '\0';
	}
	if (text)
		sys_munmap(text, size);
	return copy;
}
