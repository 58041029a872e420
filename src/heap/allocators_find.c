/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which allocators are in a process.
 *
 * A shared library exports what it can be asked with, and its hash table is in memory: a look-up is a handful of
 * small reads, whatever file it came from.  What is linked into the executable is exported only by accident; there
 * the file's .symtab knows, and any prefix jemalloc was built with shows as well (the program's author chose it).  The
 * symbol tables of libraries outside the system's directories are read, too: a plug-in can bring an allocator along.
 *
 * Where a borrowed thread must not be found is noted on the way: in the C library, the loader, every module that is
 * an allocator or stands in front of one, and the vdso, which allocators call with locks held to read the clock.
 */
#include "heap/allocators_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "proc/dynsym.h"
#include "proc/procfs.h"
#include "proc/refusal.h"
#include "sym/find.h"
#include "wire/attach.h"

#define FILES_READ 64u /* symbol tables of libraries */

static const struct kind {
	const char *name;
	const char *sign; /* a module that defines this is one */
	bool prefixed;    /* names may have a prefix */
	const char *functions[ALLOCATOR_FUNCTIONS];
} kinds[ALLOCATOR_KINDS] = {
	[ALLOCATOR_GLIBC] = { .name = "glibc", .sign = "gnu_get_libc_version" },
	[ALLOCATOR_MUSL] = { .name = "musl" },
	[ALLOCATOR_JEMALLOC] = { .name = "jemalloc",
	                         .sign = "mallctlnametomib",
	                         .prefixed = true,
	                         .functions = { [JE_MALLCTL] = "mallctl",
	                                        [JE_STATS_PRINT] = "malloc_stats_print" } },
	[ALLOCATOR_GPERFTOOLS] = { .name = "gperftools",
	                           .sign = "MallocExtension_GetNumericProperty",
	                           .functions = { [GP_GET] = "MallocExtension_GetNumericProperty",
	                                          [GP_SET] = "MallocExtension_SetNumericProperty",
	                                          [GP_RELEASE_ALL] =
	                                                  "MallocExtension_ReleaseFreeMemory",
	                                          [GP_RELEASE] = "MallocExtension_ReleaseToSystem",
	                                          [GP_STATS] = "MallocExtension_GetStats",
	                                          [GP_VERSION] = "tc_version",
	                                          [GP_SET_RATE] =
	                                                  "MallocExtension_SetMemoryReleaseRate",
	                                          [GP_GET_RATE] =
	                                                  "MallocExtension_GetMemoryReleaseRate",
	                                          [GP_INSTANCE] = "_ZN15MallocExtension8instanceEv",
	                                          [GP_SET_METHOD] =
	                                                  "_ZN22TCMallocImplementation20SetMemoryReleaseRateEd",
	                                          [GP_GET_METHOD] =
	                                                  "_ZN22TCMallocImplementation20GetMemoryReleaseRateEv",
	                                          [GP_BASE_SET] =
	                                                  "_ZN15MallocExtension20SetMemoryReleaseRateEd",
	                                          [GP_BASE_GET] =
	                                                  "_ZN15MallocExtension20GetMemoryReleaseRateEv",
	                                          [GP_TABLE] = "_ZTV15MallocExtension" } },
	[ALLOCATOR_TCMALLOC] = { .name = "tcmalloc",
	                         .sign = "MallocExtension_Internal_GetNumericProperty",
	                         .functions = { [TC_GET] =
	                                                "MallocExtension_Internal_GetNumericProperty",
	                                        [TC_RELEASE] =
	                                                "MallocExtension_Internal_ReleaseMemoryToSystem",
	                                        [TC_STATS_TEXT] =
	                                                "MallocExtension_Internal_GetStatsInPbtxt",
	                                        [TC_SET_RATE] =
	                                                "MallocExtension_Internal_SetBackgroundReleaseRate",
	                                        [TC_GET_RATE] =
	                                                "MallocExtension_Internal_GetBackgroundReleaseRate",
	                                        [TC_SET_CACHE] =
	                                                "MallocExtension_Internal_SetMaxTotalThreadCacheBytes",
	                                        [TC_GET_CACHE] =
	                                                "MallocExtension_Internal_GetMaxTotalThreadCacheBytes",
	                                        [TC_GET_CPU_CACHE] =
	                                                "MallocExtension_Internal_GetMaxPerCpuCacheSize",
	                                        [TC_SET_CPU_CACHE] =
	                                                "MallocExtension_Internal_SetMaxPerCpuCacheSize",
	                                        [TC_BACKGROUND] =
	                                                "MallocExtension_Internal_ProcessBackgroundActions" } },
	[ALLOCATOR_MIMALLOC] = { .name = "mimalloc",
	                         .sign = "mi_process_info",
	                         .functions = { [MI_VERSION] = "mi_version",
	                                        [MI_COLLECT] = "mi_collect",
	                                        [MI_PROCESS_INFO] = "mi_process_info",
	                                        [MI_STATS_PRINT_OUT] = "mi_stats_print_out",
	                                        [MI_OPTION_GET] = "mi_option_get",
	                                        [MI_OPTION_SET] = "mi_option_set",
	                                        [MI_OPTION_GET_CLAMP] = "mi_option_get_clamp",
	                                        [MI_STATS_MERGE] = "mi_stats_merge",
	                                        [MI_STATS_GET] = "mi_stats_get" } },
};

/* As distributions and wrappers build it; a program's own prefix shows in its .symtab. */
static const char *const prefixes[] = { "", "je_", "_rjem_", "jemalloc_" };

struct finder {
	struct allocators *as;
	struct dynsym symbols;
	size_t room, files;
};

static void note(struct allocators *as, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct allocators *as, const char *fmt, ...)
{
	char **grown = realloc(as->notes, (as->nnotes + 1) * sizeof(*grown)), *text;
	va_list ap;
	int n;

	if (!grown)
		return;
	as->notes = grown;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n >= 0)
		as->notes[as->nnotes++] = text;
}

static struct allocator *add(struct finder *f, enum allocator_kind kind,
                             const struct dynsym_module *m, const char *prefix)
{
	struct allocators *as = f->as;
	struct allocator *a;

	for (size_t i = 0; i < as->n; i++)
		if (as->items[i].kind == kind && as->items[i].start == m->start &&
		    !strcmp(as->items[i].prefix, prefix))
			return &as->items[i];
	if (as->n == f->room) {
		size_t room = f->room ? f->room * 2 : 4;
		struct allocator *grown = realloc(as->items, room * sizeof(*grown));

		if (!grown)
			return NULL;
		as->items = grown;
		f->room = room;
	}
	a = &as->items[as->n];
	*a = (struct allocator){ .kind = kind,
		                 .name = kinds[kind].name,
		                 .module = strdup(m->path),
		                 .in_program = m->executable,
		                 .start = m->start,
		                 .end = m->end };
	snprintf(a->prefix, sizeof(a->prefix), "%s", prefix);
	if (!a->module)
		return NULL;
	as->n++;
	return a;
}

static void unsafe(struct finder *f, uint64_t start, uint64_t end)
{
	struct borrow_call *c = &f->as->private->call;

	for (size_t i = 0; i < c->nunsafe; i++)
		if (c->unsafe[i].start == start)
			return;
	if (c->nunsafe < BORROW_RANGES)
		c->unsafe[c->nunsafe++] = (struct borrow_range){ start, end };
	else
		note(f->as, "more than %d modules have allocators in them", BORROW_RANGES);
}

/* ---- exported functions ------------------------------------------------------------------ */

static void look_at_exports(struct finder *f, const struct dynsym_module *m)
{
	for (size_t k = 0; k < ALLOCATOR_KINDS; k++) {
		size_t n = kinds[k].prefixed ? ARRAY_SIZE(prefixes) : 1;

		for (size_t p = 0; p < n && kinds[k].sign; p++) {
			char name[96];
			struct allocator *a;

			snprintf(name, sizeof(name), "%s%s", prefixes[p], kinds[k].sign);
			if (!dynsym_find(&f->symbols, m, name))
				continue;
			a = add(f, (enum allocator_kind)k, m, prefixes[p]);
			for (size_t i = 0; a && i < ALLOCATOR_FUNCTIONS; i++) {
				if (!kinds[k].functions[i])
					continue;
				snprintf(name, sizeof(name), "%s%s", prefixes[p],
				         kinds[k].functions[i]);
				a->functions[i] = dynsym_find(&f->symbols, m, name);
			}
		}
	}
}

/* ---- symbol tables of files ------------------------------------------------------------------ */

struct file_look {
	struct finder *f;
	const struct dynsym_module *m;
	bool second; /* the signs were met: now their functions */
	bool found, defines_malloc, is_glibc, is_musl;
	uint64_t errno_location;
};

static bool ends_with(const char *name, const char *end, size_t *ret_before)
{
	size_t n = strlen(name), e = strlen(end);

	if (n < e || strcmp(name + n - e, end) != 0)
		return false;
	*ret_before = n - e;
	return true;
}

static bool each_first(void *arg, const char *name, uint64_t vaddr)
{
	struct file_look *l = arg;
	size_t before;

	for (size_t k = 0; k < ALLOCATOR_KINDS; k++) {
		char prefix[sizeof(((struct allocator *)NULL)->prefix)];

		if (!kinds[k].sign || k == ALLOCATOR_GLIBC)
			continue;
		if (kinds[k].prefixed ? !ends_with(name, kinds[k].sign, &before)
		                      : (before = 0, strcmp(name, kinds[k].sign) != 0))
			continue;
		/* je_ctl_nametomib and the like are not it, nor is a mangled name. */
		if (before >= sizeof(prefix) || !strncmp(name, "_Z", 2))
			continue;
		snprintf(prefix, sizeof(prefix), "%.*s", (int)before, name);
		if (add(l->f, (enum allocator_kind)k, l->m, prefix))
			l->found = true;
	}
	if (!strcmp(name, "__errno_location") || !strcmp(name, "___errno_location"))
		l->errno_location = l->m->bias + vaddr;
	l->defines_malloc |= !strcmp(name, "malloc");
	l->is_glibc |= !strcmp(name, "_int_malloc");
	l->is_musl |= !strcmp(name, "__libc_malloc_impl");
	return true;
}

static bool each_second(void *arg, const char *name, uint64_t vaddr)
{
	struct file_look *l = arg;

	for (size_t i = 0; i < l->f->as->n; i++) {
		struct allocator *a = &l->f->as->items[i];
		size_t n = strlen(a->prefix);

		if (a->start != l->m->start || strncmp(name, a->prefix, n) != 0)
			continue;
		for (size_t k = 0; k < ALLOCATOR_FUNCTIONS; k++)
			if (kinds[a->kind].functions[k] && !a->functions[k] &&
			    !strcmp(name + n, kinds[a->kind].functions[k]))
				a->functions[k] = l->m->bias + vaddr;
	}
	return true;
}

/* The file a module came from, in whatever namespace: -1: not to be had. */
static int open_module(const struct finder *f, const struct dynsym_module *m)
{
	pid_t pid = f->as->pid;
	_cleanup_free_ char *path = NULL;
	int fd;

	if ((m->executable ? asprintf(&path, "/proc/%d/exe", (int)pid)
	                   : asprintf(&path, "/proc/%d/root%s", (int)pid, m->path)) < 0) {
		path = NULL;
		return -1;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 || m->executable)
		return fd;
	/* Deleted or hidden: the mapping itself leads to it, for root. */
	for (size_t i = 0; i < f->symbols.maps.n; i++) {
		const struct image_map *map = &f->symbols.maps.items[i];
		char link[96];

		if (map->start != m->start)
			continue;
		snprintf(link, sizeof(link), "/proc/%d/map_files/%llx-%llx", (int)pid,
		         (unsigned long long)map->start, (unsigned long long)map->end);
		return open(link, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	}
	return -1;
}

static bool is_system_library(const char *path)
{
	return !strncmp(path, "/lib", 4) || !strncmp(path, "/usr/lib", 8);
}

static void look_at_file(struct finder *f, const struct dynsym_module *m)
{
	struct file_look l = { .f = f, .m = m };
	struct seep_error *err;
	int fd;

	if (!m->executable && (is_system_library(m->path) || f->files++ >= FILES_READ))
		return;
	fd = open_module(f, m);
	if (fd < 0) {
		if (m->executable)
			note(f->as,
			     "the program's file could not be read (%s): an allocator linked "
			     "into it is not seen",
			     strerror(errno));
		return;
	}
	err = sym_each_function(fd, m->path, each_first, &l);
	seep_error_free(err);
	if (m->executable && l.is_glibc)
		add(f, ALLOCATOR_GLIBC, m, "");
	if (m->executable && l.is_musl)
		add(f, ALLOCATOR_MUSL, m, "");
	if (l.errno_location && m->executable && !f->as->private->errno_location)
		f->as->private->errno_location = l.errno_location;
	for (size_t i = 0; i < f->as->n; i++)
		if (f->as->items[i].start == m->start)
			f->as->items[i].is_malloc |= l.defines_malloc && m->executable;
	if (!l.found)
		return;
	fd = open_module(f, m);
	if (fd >= 0)
		seep_error_free(sym_each_function(fd, m->path, each_second, &l));
}

/* ---- the rest ------------------------------------------------------------------------------------ */

/* Methods that have no C function: by the place the base class's have in its table. */
static void find_slots(struct finder *f, struct allocator *a)
{
	uint64_t table[48];

	if (a->kind != ALLOCATOR_GPERFTOOLS || !a->functions[GP_TABLE])
		return;
	for (size_t i = 2; i < ARRAY_SIZE(table); i++) { /* offset to top, type, then methods */
		uint64_t at = a->functions[GP_TABLE] + i * 8;

		if (!dynsym_memory(&f->symbols, at, &table[i], 8))
			return;
		if (table[i] && table[i] == a->functions[GP_BASE_SET])
			a->functions[GP_SET_SLOT] = (i - 2) * 8;
		if (table[i] && table[i] == a->functions[GP_BASE_GET])
			a->functions[GP_GET_SLOT] = (i - 2) * 8;
	}
}

/* "stable release version 2.36" stands in glibc's read-only data. */
static void glibc_version(struct finder *f, struct allocator *a)
{
	static const char words[] = " release version ";
	enum { CHUNK = 65536, OVERLAP = 64 };
	_cleanup_free_ char *buf = malloc(CHUNK + OVERLAP);

	for (size_t i = 0; buf && i < f->symbols.maps.n; i++) {
		const struct image_map *m = &f->symbols.maps.items[i];

		if (m->start < a->start || m->end > a->end ||
		    m->flags & (IMAGE_WRITE | IMAGE_EXEC) || !(m->flags & IMAGE_READ))
			continue;
		for (uint64_t at = m->start; at < m->end; at += CHUNK) {
			size_t len = m->end - at < CHUNK + OVERLAP ? m->end - at : CHUNK + OVERLAP;
			const char *hit;

			if (!dynsym_memory(&f->symbols, at, buf, len))
				break;
			hit = memmem(buf, len, words, sizeof(words) - 1);
			if (!hit || hit + sizeof(words) + 8 > buf + len)
				continue;
			hit += sizeof(words) - 1;
			for (size_t k = 0;
			     k < 8 && ((hit[k] >= '0' && hit[k] <= '9') || hit[k] == '.'); k++)
				a->version[k] = hit[k];
			if (a->version[0] && a->version[strlen(a->version) - 1] == '.')
				a->version[strlen(a->version) - 1] = '\0';
			return;
		}
	}
}

static void find_musl(struct finder *f, const struct dynsym_module *m)
{
	/* Its loader and C library are one file. */
	if (!m->executable && dynsym_find(&f->symbols, m, "__libc_start_main") &&
	    !dynsym_find(&f->symbols, m, "gnu_get_libc_version"))
		add(f, ALLOCATOR_MUSL, m, "");
}

static void look_at_module(struct finder *f, const struct dynsym_module *m)
{
	static const char *const danger[] = { "malloc", "pthread_create", "dlopen",
		                              "_dl_allocate_tls", "__libc_start_main" };
	size_t before = f->as->n;

	/* The tracker answers for gperftools and jemalloc; the real ones are asked. */
	if (dynsym_find(&f->symbols, m, ATTACH_STATUS)) {
		unsafe(f, m->start, m->end);
		return;
	}
	look_at_exports(f, m);
	find_musl(f, m);
	look_at_file(f, m);
	for (size_t i = 0; i < ARRAY_SIZE(danger); i++)
		if (dynsym_find(&f->symbols, m, danger[i]))
			unsafe(f, m->start, m->end);
	if (f->as->n > before)
		unsafe(f, m->start, m->end);
	for (size_t i = before; i < f->as->n; i++) {
		struct allocator *a = &f->as->items[i];

		a->is_malloc |= a->prefix[0] == '\0' && dynsym_find(&f->symbols, m, "malloc");
		find_slots(f, a);
		if (a->kind == ALLOCATOR_GLIBC)
			glibc_version(f, a);
	}
}

/*
 * Of several that define malloc() one is bound: the program's own, else the library loaded first, which with addresses
 * given out downwards is the highest; the C library's comes last.
 */
static int rank(const struct allocator *a)
{
	return !a->is_malloc                               ? 0
	       : a->in_program && a->kind > ALLOCATOR_MUSL ? 3
	       : a->kind <= ALLOCATOR_MUSL                 ? 1
	                                                   : 2;
}

static int by_rank(const void *x, const void *y)
{
	const struct allocator *a = x, *b = y;

	if (rank(a) != rank(b))
		return rank(b) - rank(a);
	return a->start < b->start ? 1 : a->start > b->start ? -1 : 0;
}

struct seep_error *allocators_find(pid_t pid, struct allocators **ret)
{
	_cleanup_allocators_ struct allocators *as = calloc(1, sizeof(*as));
	struct finder f = { .as = as };
	struct procfs_status st;
	struct seep_error *err;
	int r = procfs_status(pid, &st);

	if (!as || !(as->private = calloc(1, sizeof(*as->private))))
		return &seep_error_nomem;
	if (r)
		return refusal_explain(pid, -r, 0);
	as->pid = pid;
	memcpy(as->private->name, st.name, sizeof(st.name));
	err = dynsym_read(pid, &f.symbols);
	if (err) {
		seep_error_free(err);
		return refusal_explain(pid, errno ? errno : EPERM, 0);
	}
	for (size_t i = 0; i < f.symbols.n; i++) {
		const struct dynsym_module *m = &f.symbols.modules[i];
		uint64_t at = dynsym_find(&f.symbols, m, "__errno_location");

		if (at && !as->private->errno_location)
			as->private->errno_location = at;
		look_at_module(&f, m);
	}
	for (size_t i = 0; i < f.symbols.maps.n; i++)
		if (!strcmp(f.symbols.maps.items[i].path, "[vdso]"))
			unsafe(&f, f.symbols.maps.items[i].start, f.symbols.maps.items[i].end);
	if (!f.symbols.n)
		note(as, "its memory could not be read");
	qsort(as->items, as->n, sizeof(*as->items), by_rank);
	for (size_t i = 1; i < as->n; i++)
		as->items[i].is_malloc = false;
	dynsym_release(&f.symbols);
	*ret = TAKE(as);
	return NULL;
}

void allocators_free(struct allocators *as)
{
	if (!as)
		return;
	for (size_t i = 0; i < as->n; i++)
		free(as->items[i].module);
	for (size_t i = 0; i < as->nnotes; i++)
		free(as->notes[i]);
	free(as->items);
	free(as->notes);
	free(as->private);
	free(as);
}
