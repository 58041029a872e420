/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jemalloc's heap profiler: MALLOC_CONF=prof:true,... and mallctl("prof.*").
 *
 * Whose answer it is: prof.*, thread.prof.* and the options of profiling are ours while events are recorded, unless the
 * program has a jemalloc that profiles (its opt.prof is true): then they are its own, and no file is ours, for
 * two profilers would write under the same names.  Everything else is handed on to the program's jemalloc.
 * Without one, a few numbers that are known are given, and the rest is ENOENT, as from a jemalloc built without it.
 *
 * Names become numbers ("MIBs") whose first is one jemalloc has no node for, so both kinds may live side by side.
 *
 * The rules of reading and writing are jemalloc's: a length that is not the type's is EINVAL (and as many bytes as fit are
 * copied), writing what is read-only EPERM, and so on; compared with the real one in tests/e2e/dropin.py.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "track/dropin.h"

#define MIB_OURS 0x7365657000000000u /* + enum control, in the first place */
#define GDUMP_STEP \
	(2ull << 20) /* jemalloc's total grows by its own mappings; this is as much as many of them */

static struct dropin_since since = { .whole = true };
static uint32_t sequence, interval_sequence, manual_sequence, high_sequence;
static uint64_t last_allocated, high;
static bool handed_over; /* to the program's own jemalloc */

/* ---- MALLOC_CONF ----------------------------------------------------------------------------- */

void jemalloc_options(const char *conf)
{
	static char link[512];
	long r;

	/* A program with its own mallctl in front of us asks that one, and profiles itself. */
	if (symbol_before_us("mallctl"))
		return;
	/* Where jemalloc looks, in its order: a later setting wins. */
	r = sys_readlink("/etc/malloc.conf", link, sizeof(link) - 1);
	if (!sys_failed(r)) {
		link[r] = '\0';
		conf_parse(link);
	}
	conf_parse(conf);
	if (dropin.prof_leak_error)
		dropin.prof_leak = true;
}

/* ---- files --------------------------------------------------------------------------------------- */

static struct dropin_profile profile(void)
{
	return (struct dropin_profile){ DROPIN_JEMALLOC, &since, 1u << LEDGER_HEAP,
		                        dropin.prof_accum };
}

static long write_to(const char *path, struct dropin_totals *totals)
{
	struct dropin_profile what = profile();

	return dropin_write(&what, path, totals);
}

/* <prefix>.<pid>.<seq>.<letter><n>.heap; the final one has no n.  Locked. */
static long dump(char letter, uint32_t *counter, struct dropin_totals *totals)
{
	static char path[DROPIN_PATH + 64];
	char *end = path + sizeof(path), *p = text_str(path, end, dropin.prefix);
	char kind[3] = { '.', letter, '\0' };
	long r;

	if (!dropin.prefix[0])
		return -ENOENT;
	p = text_str(p, end, ".");
	p = text_num(p, end, (uint64_t)sys_getpid(), 0);
	p = text_str(p, end, ".");
	p = text_num(p, end, sequence++, 0);
	p = text_str(p, end, kind);
	if (counter)
		p = text_num(p, end, (*counter)++, 0);
	text_str(p, end, ".heap");
	r = write_to(path, totals);
	/* Who asked by mallctl() is told by its result. */
	if (r && letter != 'm')
		SAY("<jemalloc>: failed to open \"", path, "\"");
	return r;
}

bool jemalloc_armed(void)
{
	return dropin.prof && (dropin.prof_gdump || dropin.lg_interval >= 0);
}

uint64_t jemalloc_look(uint64_t allocated, uint64_t in_use)
{
	uint64_t left = UINT64_MAX, mask, interval = 0;
	struct dropin_totals totals;
	bool due = false, grown = false;

	if (!jemalloc_armed())
		return left;
	if (dropin.lg_interval >= 0) {
		interval = 1ull << dropin.lg_interval;
		due = allocated > last_allocated && allocated - last_allocated >= interval;
		left = due ? 0
		           : interval - (allocated > last_allocated ? allocated - last_allocated
		                                                    : 0);
	}
	if (dropin.prof_gdump) {
		grown = in_use >= high + GDUMP_STEP;
		left = 0;
	}
	if ((!due && !grown) || !dropin_try(&mask))
		return left;
	if (due) {
		last_allocated = allocated;
		dump('i', &interval_sequence, &totals);
	}
	if (grown) {
		high = in_use;
		dump('u', &high_sequence, &totals);
	}
	dropin_leave(mask);
	return 0;
}

/* ---- beginning and end ----------------------------------------------------------------------------- */

static void *theirs(const char *name)
{
	const char *module;

	return symbol_next(name, &module);
}

static int their_mallctl(const char *name, void *oldp, size_t *oldlenp, void *newp, size_t newlen)
{
	int (*fn)(const char *, void *, size_t *, void *, size_t) = real.mallctl;
	void *p;

	if (!fn) {
		p = theirs("mallctl"); /* loaded since */
		memcpy(&fn, &p, sizeof(p));
	}
	return fn ? fn(name, oldp, oldlenp, newp, newlen) : ENOENT;
}

/* The program's jemalloc read the same MALLOC_CONF, and does it all. */
static bool they_profile(void)
{
	bool profiles = false;
	size_t len = sizeof(profiles);

	return real.mallctl && !real.mallctl("opt.prof", &profiles, &len, NULL, 0) && profiles;
}

void jemalloc_start(void)
{
	if (they_profile()) {
		dropin.prof = false;
		handed_over = true;
	}
	if (dropin.prof)
		last_allocated = dropin_allocated();
}

static void leak_summary(const struct dropin_totals *t, uint64_t bytes, uint64_t objects)
{
	char number[3][24];

	if (!t->stacks)
		return;
	text_num(number[0], number[0] + 24, bytes, 0);
	text_num(number[1], number[1] + 24, objects, 0);
	text_num(number[2], number[2] + 24, t->stacks, 0);
	SAY("<jemalloc>: Leak approximation summary: ~", number[0], bytes == 1 ? " byte" : " bytes",
	    ", ~", number[1], objects == 1 ? " object" : " objects", ", >= ", number[2],
	    t->stacks == 1 ? " context" : " contexts");
	SAY("<jemalloc>: Run jeprof on dump output for leak detail");
}

void jemalloc_end(void)
{
	struct dropin_totals totals = { 0 };
	uint64_t mask;

	if (!dropin.prof || !dropin.prof_final || !dropin_enter(&mask))
		return;
	dump('f', NULL, &totals);
	if (dropin.prof_leak && dropin.prefix[0])
		leak_summary(&totals, totals.estimated_bytes, totals.estimated_blocks);
	dropin_leave(mask);
	if (dropin.prof_leak_error && totals.stacks && dropin.prefix[0]) {
		SAY("<jemalloc>: Exiting with error code because memory leaks were detected");
		dropin_gone();
		ledger_finish(LEDGER_EXITED);
		for (;;)
			sys6(SYS_exit_group, 1, 0, 0, 0, 0, 0);
	}
}

void jemalloc_forked(void)
{
	sequence = interval_sequence = manual_sequence = high_sequence = 0;
	last_allocated = high = 0;
	dropin_forget(&since);
	since.whole = true;
}

/* ---- the controls ------------------------------------------------------------------------------------ */

enum control {
	PROF_ACTIVE,
	PROF_DUMP,
	PROF_GDUMP,
	PROF_INTERVAL,
	PROF_LG_SAMPLE,
	PROF_PREFIX,
	PROF_RESET,
	PROF_THREAD_ACTIVE_INIT,
	THREAD_PROF_ACTIVE,
	THREAD_PROF_NAME,
	CONFIG_PROF,
	OPT_PROF,
	OPT_PROF_ACTIVE,
	OPT_PROF_ACCUM,
	OPT_PROF_FINAL,
	OPT_PROF_GDUMP,
	OPT_PROF_LEAK,
	OPT_PROF_LEAK_ERROR,
	OPT_PROF_THREAD_ACTIVE_INIT,
	OPT_PROF_PREFIX,
	OPT_LG_PROF_SAMPLE,
	OPT_LG_PROF_INTERVAL,
	/* only where there is no jemalloc */
	VERSION,
	EPOCH,
	STATS_ALLOCATED,
	STATS_ACTIVE,
	STATS_RESIDENT,
	STATS_MAPPED,
	NCONTROLS,
	FIRST_OTHER = VERSION
};

static const char *const control_names[NCONTROLS] = {
	[PROF_ACTIVE] = "prof.active",
	[PROF_DUMP] = "prof.dump",
	[PROF_GDUMP] = "prof.gdump",
	[PROF_INTERVAL] = "prof.interval",
	[PROF_LG_SAMPLE] = "prof.lg_sample",
	[PROF_PREFIX] = "prof.prefix",
	[PROF_RESET] = "prof.reset",
	[PROF_THREAD_ACTIVE_INIT] = "prof.thread_active_init",
	[THREAD_PROF_ACTIVE] = "thread.prof.active",
	[THREAD_PROF_NAME] = "thread.prof.name",
	[CONFIG_PROF] = "config.prof",
	[OPT_PROF] = "opt.prof",
	[OPT_PROF_ACTIVE] = "opt.prof_active",
	[OPT_PROF_ACCUM] = "opt.prof_accum",
	[OPT_PROF_FINAL] = "opt.prof_final",
	[OPT_PROF_GDUMP] = "opt.prof_gdump",
	[OPT_PROF_LEAK] = "opt.prof_leak",
	[OPT_PROF_LEAK_ERROR] = "opt.prof_leak_error",
	[OPT_PROF_THREAD_ACTIVE_INIT] = "opt.prof_thread_active_init",
	[OPT_PROF_PREFIX] = "opt.prof_prefix",
	[OPT_LG_PROF_SAMPLE] = "opt.lg_prof_sample",
	[OPT_LG_PROF_INTERVAL] = "opt.lg_prof_interval",
	[VERSION] = "version",
	[EPOCH] = "epoch",
	[STATS_ALLOCATED] = "stats.allocated",
	[STATS_ACTIVE] = "stats.active",
	[STATS_RESIDENT] = "stats.resident",
	[STATS_MAPPED] = "stats.mapped",
};

struct access {
	void *oldp;
	size_t *oldlenp;
	void *newp;
	size_t newlen;
};

static int give(const struct access *a, const void *value, size_t size)
{
	size_t n;

	if (!a->oldp || !a->oldlenp)
		return 0;
	n = *a->oldlenp < size ? *a->oldlenp : size;
	memcpy(a->oldp, value, n);
	if (*a->oldlenp == size)
		return 0;
	*a->oldlenp = n;
	return EINVAL;
}

static int read_only(const struct access *a, const void *value, size_t size)
{
	return a->newp || a->newlen ? EPERM : give(a, value, size);
}

static int flag_only(const struct access *a, bool value)
{
	return read_only(a, &value, sizeof(value));
}

static int size_only(const struct access *a, size_t value)
{
	return read_only(a, &value, sizeof(value));
}

static bool writes(const struct access *a)
{
	return a->newp != NULL;
}

/* Reads and then maybe writes a bool: *ret is what was written, or what it is. */
static int flag(const struct access *a, bool now, bool *ret)
{
	*ret = now;
	if (writes(a) && a->newlen != sizeof(bool))
		return EINVAL;
	if (writes(a))
		memcpy(ret, a->newp, sizeof(bool));
	return give(a, &now, sizeof(now));
}

/* What cannot be read: a pointer or size to be written. */
static int write_only(const struct access *a, void *ret, size_t size)
{
	if (a->oldp || a->oldlenp)
		return EPERM;
	if (writes(a) && a->newlen != size)
		return EINVAL;
	if (writes(a))
		memcpy(ret, a->newp, size);
	return 0;
}

static uint64_t sample_now(void)
{
	const struct ledger_control *c = &g.hdr->control;
	uint64_t period = load_relaxed(&c->period);

	if (load_relaxed(&c->mode) != LEDGER_SAMPLED || period < 2)
		return 0;
	return 63 - (uint64_t)__builtin_clzll(period);
}

static int prof_dump(const struct access *a)
{
	struct dropin_totals totals;
	const char *path = NULL;
	uint64_t mask;
	long failed;
	int r = write_only(a, &path, sizeof(path));

	if (r)
		return r;
	if (!dropin_enter(&mask))
		return EAGAIN;
	failed = path ? write_to(path, &totals) : dump('m', &manual_sequence, &totals);
	dropin_leave(mask);
	return failed ? EFAULT : 0;
}

static int prof_reset(const struct access *a)
{
	size_t lg = sample_now();
	uint64_t mask;
	int r = write_only(a, &lg, sizeof(lg));

	if (r)
		return r;
	if (!dropin_enter(&mask))
		return EAGAIN;
	if (writes(a))
		dropin_period(1ull << (lg < 63 ? lg : 63));
	dropin_begin(&since);
	dropin_leave(mask);
	return 0;
}

static int prof_prefix(const struct access *a)
{
	const char *prefix = NULL;
	int r = write_only(a, &prefix, sizeof(prefix));
	uint64_t mask;

	if (r || !writes(a))
		return r;
	if (!prefix || strlen(prefix) >= sizeof(dropin.prefix))
		return EFAULT;
	if (!dropin_enter(&mask))
		return EAGAIN;
	memcpy(dropin.prefix, prefix, strlen(prefix) + 1);
	dropin_leave(mask);
	return 0;
}

static int thread_name(const struct access *a)
{
	const char *name = NULL;
	struct ledger_thread *lt =
		&g.threads[t_self->index < LEDGER_THREAD_OTHER ? t_self->index : 0];

	if (!writes(a)) {
		name = lt->name;
		return read_only(a, &name, sizeof(name));
	}
	if (a->oldp || a->oldlenp)
		return EPERM;
	if (a->newlen != sizeof(name))
		return EINVAL;
	memcpy(&name, a->newp, sizeof(name));
	for (const char *p = name; p && *p; p++)
		if ((*p < ' ' && *p != '\t') || *p == 0x7f)
			return EFAULT;
	if (!name)
		return EFAULT;
	if (t_self->index && t_self->index < LEDGER_THREAD_OTHER)
		text_str(lt->name, lt->name + sizeof(lt->name), name);
	return 0;
}

/* Bytes; field of /proc/self/statm. */
static size_t statm(int field)
{
	char text[256], *p = text;
	long fd = sys_open("/proc/self/statm", O_RDONLY, 0), r;
	size_t v = 0;

	if (sys_failed(fd))
		return 0;
	r = sys_read((int)fd, text, sizeof(text) - 1);
	sys_close((int)fd);
	text[r > 0 ? r : 0] = '\0';
	for (; field; field--)
		while (*p && *p++ != ' ')
			;
	for (; *p >= '0' && *p <= '9'; p++)
		v = v * 10 + (size_t)(*p - '0');
	return v * 4096;
}

static int epoch(const struct access *a)
{
	static uint64_t count;
	uint64_t now, want;

	if (writes(a) && a->newlen != sizeof(want))
		return EINVAL;
	now = writes(a) ? __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) : load_relaxed(&count);
	return give(a, &now, sizeof(now));
}

static int options_control(enum control c, const struct access *a)
{
	const char *prefix = dropin.prefix;

	switch (c) {
	case OPT_PROF: /* there is something to dump, whoever asked for it */
	case CONFIG_PROF:
		return flag_only(a, true);
	case OPT_PROF_ACTIVE:
		return flag_only(a, dropin.prof_active);
	case OPT_PROF_ACCUM:
		return flag_only(a, dropin.prof_accum);
	case OPT_PROF_FINAL:
		return flag_only(a, dropin.prof_final);
	case OPT_PROF_GDUMP:
		return flag_only(a, dropin.prof_gdump);
	case OPT_PROF_LEAK:
		return flag_only(a, dropin.prof_leak);
	case OPT_PROF_LEAK_ERROR:
		return flag_only(a, dropin.prof_leak_error);
	case OPT_PROF_THREAD_ACTIVE_INIT:
		return flag_only(a, dropin.prof_thread_active_init);
	case OPT_PROF_PREFIX:
		return read_only(a, &prefix, sizeof(prefix));
	case OPT_LG_PROF_SAMPLE:
		return size_only(a, dropin.lg_sample);
	case OPT_LG_PROF_INTERVAL:
		return read_only(a, &dropin.lg_interval, sizeof(dropin.lg_interval));
	default:
		return ENOENT;
	}
}

static int other_control(enum control c, const struct access *a)
{
	const char *version = "0.0.0-0-gseep-" SEEP_VERSION;

	switch (c) {
	case VERSION:
		return read_only(a, &version, sizeof(version));
	case EPOCH:
		return epoch(a);
	case STATS_ALLOCATED:
		return size_only(a, dropin_in_use(1u << LEDGER_HEAP));
	case STATS_ACTIVE:
		return size_only(a, (dropin_in_use(1u << LEDGER_HEAP) + 4095) & ~4095ull);
	case STATS_RESIDENT:
		return size_only(a, statm(1));
	case STATS_MAPPED:
		return size_only(a, statm(0));
	default:
		return ENOENT;
	}
}

static int control(enum control c, const struct access *a)
{
	uint64_t interval = dropin.lg_interval >= 0 ? 1ull << dropin.lg_interval : 0;
	bool on;
	int r;

	switch (c) {
	case PROF_ACTIVE:
		r = flag(a, dropin_is_active(), &on);
		if (!r)
			dropin_active(on);
		return r;
	case PROF_DUMP:
		return prof_dump(a);
	case PROF_GDUMP:
		r = flag(a, dropin.prof_gdump, &on);
		if (!r && on != dropin.prof_gdump) {
			dropin.prof_gdump = on;
			dropin.prof |= on;
			dropin_arm();
		}
		return r;
	case PROF_INTERVAL:
		return read_only(a, &interval, sizeof(interval));
	case PROF_LG_SAMPLE:
		return size_only(a, sample_now());
	case PROF_PREFIX:
		return prof_prefix(a);
	case PROF_RESET:
		return prof_reset(a);
	case PROF_THREAD_ACTIVE_INIT:
		r = flag(a, !dropin.threads_inactive, &on);
		if (!r)
			dropin.threads_inactive = !on;
		return r;
	case THREAD_PROF_ACTIVE:
		r = flag(a, !t_self->inactive, &on);
		if (!r)
			dropin_thread_active(on);
		return r;
	case THREAD_PROF_NAME:
		return thread_name(a);
	default:
		return c < FIRST_OTHER ? options_control(c, a) : other_control(c, a);
	}
}

/* Which of ours that name is; NCONTROLS: none, or the program's jemalloc answers. */
static enum control control_named(const char *name)
{
	size_t n = handed_over ? 0 : theirs("mallctl") ? FIRST_OTHER : NCONTROLS;

	if (!dropin_working())
		return NCONTROLS;
	for (size_t i = 0; name && i < n; i++)
		if (!strncmp(control_names[i], name, strlen(control_names[i]) + 1))
			return (enum control)i;
	return NCONTROLS;
}

EXPORT int mallctl(const char *name, void *oldp, size_t *oldlenp, void *newp, size_t newlen)
{
	enum control c = control_named(name);

	if (c == NCONTROLS)
		return their_mallctl(name, oldp, oldlenp, newp, newlen);
	return control(c, &(struct access){ oldp, oldlenp, newp, newlen });
}

EXPORT int mallctlnametomib(const char *name, size_t *mib, size_t *miblen)
{
	enum control c = control_named(name);
	size_t found[4] = { MIB_OURS + c }, depth = 1;

	if (c == NCONTROLS)
		return real.mallctlnametomib ? real.mallctlnametomib(name, mib, miblen) : ENOENT;
	for (const char *p = name; *p; p++)
		depth += *p == '.';
	if (*miblen > depth)
		*miblen = depth;
	memcpy(mib, found, *miblen * sizeof(*mib));
	return 0;
}

EXPORT int mallctlbymib(const size_t *mib, size_t miblen, void *oldp, size_t *oldlenp, void *newp,
                        size_t newlen)
{
	if (!miblen || mib[0] - MIB_OURS >= NCONTROLS)
		return real.mallctlbymib
		               ? real.mallctlbymib(mib, miblen, oldp, oldlenp, newp, newlen)
		               : ENOENT;
	if (!dropin_working())
		return ENOENT;
	return control((enum control)(mib[0] - MIB_OURS),
	               &(struct access){ oldp, oldlenp, newp, newlen });
}
