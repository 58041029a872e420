/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is mapped where.  Modules enter the table when an address of theirs is first seen on
 * a stack, so nothing is done for the hundreds of libraries that never allocate, and
 * dlopen needs no hook (a wrapper would change the caller that dlopen searches RUNPATHs of).
 *
 * loader.c says which module an address lies in.  A module is taken as gone when dlclose() unmapped it, or
 * when another one is found at its addresses: then all that was derived from its code
 * (rows, memoized stacks) is forgotten, and its number is never used again but for the same file at
 * the same place, so an address means one function in one module for ever.
 */
#include <elf.h>
#include <link.h>
#include <string.h>

#include "track/loader.h"
#include "track/track.h"

#define MAX_MODULES 8192u

static struct module *table; /* MAX_MODULES, mapped */
static uint32_t count;       /* published with release */
static uint32_t sequence;    /* loads and unloads seen, for load_seq and unload_seq */
static struct lock table_lock;
static struct growing module_space, string_space;

void modules_init(void)
{
	if (!table)
		table = mem_map(MAX_MODULES * sizeof(*table));
	memset(&module_space, 0, sizeof(module_space));
	memset(&string_space, 0, sizeof(string_space));
	module_space.base = (uint8_t *)g.modules;
	module_space.size = g.max_modules * sizeof(struct ledger_module);
	module_space.ready = 4096;
	module_space.step = 16 << 10;
	string_space.base = (uint8_t *)g.strings;
	string_space.size = g.max_strings;
	string_space.ready = 4096;
	string_space.step = 16 << 10;
	string_space.used = 1;
}

void modules_forked(void)
{
	/* Same modules, but another ledger, in which they have no numbers yet. */
	count = 0;
	sequence = 0;
	table_lock.word = 0;
	loader_forked();
	modules_init();
}

bool module_range(uint64_t pc, uint64_t *ret_start, uint64_t *ret_end)
{
	struct loaded f;

	if (!loader_find(pc, &f))
		return false;
	*ret_start = f.start;
	*ret_end = f.end;
	return true;
}

/* ---- into the ledger ----------------------------------------------------------------- */

static void read_build_id(const struct loaded *f, struct ledger_module *lm)
{
	unsigned int n;
	const ElfW(Phdr) *ph = program_headers((const void *)f->start, f->end - f->start, &n);

	for (unsigned int i = 0; ph && i < n; i++) {
		uint64_t p = f->bias + ph[i].p_vaddr, end = p + ph[i].p_memsz;

		if (ph[i].p_type != PT_NOTE || p < f->start || end > f->end || end < p)
			continue;
		while (end - p >= sizeof(ElfW(Nhdr))) {
			const ElfW(Nhdr) *nh = (const void *)p;
			uint64_t name = p + sizeof(*nh),
				 desc = name + ((nh->n_namesz + 3ull) & ~3ull);
			uint64_t next = desc + ((nh->n_descsz + 3ull) & ~3ull);

			if (desc < p || next < p || next > end)
				break;
			if (nh->n_type == NT_GNU_BUILD_ID && nh->n_namesz == 4 &&
			    !memcmp((void *)name, "GNU", 4)) {
				lm->build_id_len = nh->n_descsz > 20 ? 20 : (uint8_t)nh->n_descsz;
				memcpy(lm->build_id, (void *)desc, lm->build_id_len);
				return;
			}
			p = next;
		}
	}
}

static uint64_t add_string(const char *s)
{
	uint64_t at = string_space.used, n = strlen(s) + 1;

	if (!*s || !growing_need(&string_space, at + n))
		return 0;
	memcpy(g.strings + at, s, n);
	string_space.used = at + n;
	store_release(&g.hdr->strings_used, string_space.used);
	return at;
}

/*
 * The loader knows this library by the name it was given, and /proc/self/fd/N is another file in every process that reads
 * the ledger, and soon in this one.
 */
static char own_path[4096];

void module_name_self(const char *link)
{
	static const char deleted[] = " (deleted)"; /* of a copy in memory, too */
	const size_t tail = sizeof(deleted) - 1;
	long n = sys_readlink(link, own_path, sizeof(own_path) - 1);

	if (sys_failed(n))
		n = 0;
	if ((size_t)n > tail && !memcmp(own_path + n - tail, deleted, tail))
		n -= (long)tail;
	own_path[n] = '\0';
}

static bool is_self(const struct loaded *f)
{
	uint64_t here = (uint64_t)module_name_self;

	return f->start <= here && here < f->end;
}

/* Everything but its numbers; the path is valid until the next call. */
static const char *identify(const struct loaded *f, struct ledger_module *lm)
{
	static char path[4096]; /* under table_lock: no room for it on a fiber's stack */
	struct stat st;
	long r;

	*lm = (struct ledger_module){ .start = f->start, .end = f->end, .bias = f->bias };
	read_build_id(f, lm);
	path[0] = '\0';
	if (own_path[0] && is_self(f)) {
		memcpy(path, own_path, sizeof(path));
	} else if (f->name && f->name[0] == '/') {
		size_t n = strlen(f->name);

		if (n < sizeof(path))
			memcpy(path, f->name, n + 1);
	} else if (f->name && !strncmp(f->name, "linux-vdso", 10)) {
		memcpy(path, "[vdso]", 7);
	} else if (f->name && f->name[0]) {
		/* A relative name: from the directory that is current now, which nearly always is right. */
		r = sys6(SYS_getcwd, (long)path, sizeof(path) / 2, 0, 0, 0, 0);
		if (r > 0) {
			size_t n = strlen(path), k = strlen(f->name);

			if (n + k + 2 < sizeof(path)) {
				path[n] = '/';
				memcpy(path + n + 1, f->name, k + 1);
			}
		}
	} else {
		r = sys_readlink("/proc/self/exe", path, sizeof(path) - 1);
		path[sys_failed(r) ? 0 : r] = '\0';
	}
	if (path[0] == '/' &&
	    !sys_failed(sys6(SYS_newfstatat, AT_FDCWD, (long)path, (long)&st, 0, 0, 0))) {
		lm->dev = st.st_dev;
		lm->inode = st.st_ino;
		lm->mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000ull +
		               (uint64_t)st.st_mtim.tv_nsec;
	}
	return path;
}

static void forget(struct module *m)
{
	m->live = false;
	sequence++;
	if (m->id)
		store_release(&g.modules[m->id - 1].unload_seq, sequence);
}

static bool same_module(const struct ledger_module *a, const struct ledger_module *b,
                        const char *path)
{
	return a->start == b->start && a->end == b->end && a->bias == b->bias && a->dev == b->dev &&
	       a->inode == b->inode && a->mtime_ns == b->mtime_ns &&
	       a->build_id_len == b->build_id_len &&
	       !memcmp(a->build_id, b->build_id, sizeof(a->build_id)) &&
	       !strcmp(g.strings + a->path, path);
}

/*
 * A file that comes and goes comes back to the place it left, mostly: then its addresses mean what they meant, and it takes
 * no new number, no new stacks, and no place in the table.
 */
static const struct module *revive(const struct loaded *f, const struct ledger_module *lm,
                                   const char *path)
{
	for (uint32_t i = count; i-- > 0;) {
		struct module *m = &table[i];

		if (m->live || !m->id || !same_module(&g.modules[m->id - 1], lm, path))
			continue;
		sequence++;
		store_release(&g.modules[m->id - 1].unload_seq, 0u);
		m->eh_hdr = f->eh_hdr;
		store_release(&m->live, true);
		return m;
	}
	return NULL;
}

static const struct module *add(const struct loaded *f)
{
	struct ledger_module found_module;
	const struct module *known;
	const char *path;
	struct module *m;
	bool replaced = false;
	uint64_t id;

	for (uint32_t i = 0; i < count; i++) {
		if (table[i].live && table[i].start < f->end && f->start < table[i].end) {
			forget(&table[i]);
			replaced = true;
		}
	}
	if (replaced)
		unwind_flush();
	path = identify(f, &found_module);
	known = revive(f, &found_module, path);
	if (known)
		return known;
	if (count == MAX_MODULES) {
		loss(LOSS_MODULES_FULL);
		return NULL;
	}
	m = &table[count];
	*m = (struct module){ f->start, f->end, 0, f->eh_hdr, true };
	id = g.hdr->nmodules;
	if (id < g.max_modules &&
	    growing_need(&module_space, (id + 1) * sizeof(struct ledger_module))) {
		found_module.load_seq = ++sequence;
		found_module.path = add_string(path);
		g.modules[id] = found_module;
		store_release(&g.hdr->nmodules, id + 1);
		m->id = (uint32_t)id + 1;
	} else {
		loss(LOSS_MODULES_FULL);
	}
	store_release(&count, count + 1);
	return m;
}

const struct module *module_of(uint64_t pc)
{
	uint32_t n = load_acquire(&count);
	const struct module *m = NULL;
	struct loaded f;

	for (uint32_t i = n; i-- > 0;)
		if (pc >= table[i].start && pc < table[i].end && table[i].live)
			return &table[i];
	if (!table || !loader_find(pc, &f) || !lock_take(&table_lock))
		return NULL;
	/* Another thread may have added it meanwhile. */
	for (uint32_t i = count; i-- > 0 && !m;)
		if (pc >= table[i].start && pc < table[i].end && table[i].live)
			m = &table[i];
	if (!m)
		m = add(&f);
	lock_give(&table_lock);
	return m;
}

bool module_runs(uint64_t pc)
{
	const struct module *m = module_of(pc);
	const ElfW(Phdr) *ph = NULL;
	uint64_t first = UINT64_MAX, bias;
	unsigned int n = 0;

	if (m)
		ph = program_headers((const void *)m->start, m->end - m->start, &n);
	for (unsigned int i = 0; ph && i < n; i++)
		if (ph[i].p_type == PT_LOAD && ph[i].p_vaddr < first)
			first = ph[i].p_vaddr;
	bias = m ? m->start - (first & ~4095ull) : 0;
	for (unsigned int i = 0; ph && i < n; i++)
		if (ph[i].p_type == PT_LOAD && (ph[i].p_flags & PF_X) &&
		    pc - (bias + ph[i].p_vaddr) < ph[i].p_memsz)
			return true;
	return false;
}

void modules_changed(void)
{
	bool gone = false;

	loader_changed();
	if (!table || !lock_take(&table_lock))
		return;
	for (uint32_t i = 0; i < count; i++) {
		struct loaded f;

		if (!table[i].live || (loader_find(table[i].start, &f) &&
		                       f.start == table[i].start && f.end == table[i].end))
			continue;
		forget(&table[i]);
		gone = true;
	}
	lock_give(&table_lock);
	if (gone)
		unwind_flush();
}
