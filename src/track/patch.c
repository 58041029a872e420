/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pointers to functions, in all loaded modules.
 *
 * A call that leaves its module goes through a word the loader has filled in: one of the procedure linkage
 * table (JUMP_SLOT), of the global offset table (GLOB_DAT, -fno-plt), or a pointer in initialized data
 * (R_X86_64_64).  The relocations that say where these words are stay in memory.  A word is replaced when its symbol is
 * one of ours and its value is the function that stands behind our hook; or when it still leads to the module's
 * own lazy binding.  Anything else, another library's wrapper, a symbol bound elsewhere, is left alone.
 *
 *     module      reloc: slot, symbol "malloc" ──► *slot == real.malloc ? *slot = hook
 *     records     slot, what it was, what it is, whose module
 *
 * The loader calls malloc through pointers of its own, which no relocation names; they stand side by side
 * in its read-only data, and are recognized by their values.
 *
 * Slots on pages that the loader made read-only are written between two mprotect() calls; the protections
 * are read from /proc/self/maps, so whatever they were they are again.
 *
 * Threads run meanwhile: a slot is one aligned word, and both of its values are right.  One that another thread
 * binds lazily at this very moment may lose our value; a second round finds that.
 *
 * Everything happens inside dl_iterate_phdr()'s callback, the look at the protections and their return too: the loader's
 * list and the mappings of what is in it do not change meanwhile.  Outside of it a library may go between the look and
 * the return, and another's code come to lie where its read-only data was.
 *
 * A module is in the list before it is relocated, and only afterwards its pages become read-only: by the thread that
 * loads it, at any moment.  A module of which that is still to come is left for a later pass.
 */
#include "track/patch.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include "track/attach.h"
#include "track/loader.h"

extern ElfW(Dyn) _DYNAMIC[] __attribute__((visibility("hidden")));

/* ---- whose pointers ------------------------------------------------------------------- */

/* The addresses of the hooks: what this library exports, bound here at link time (-Bsymbolic-functions). */
#define HOOK(ret, name, args, call) extern char at_##name[] __asm__(#name);
#define HOOK_OPT(ret, name, args, call) HOOK(ret, name, args, call)
#include "track/hooks.def"
#undef HOOK
#undef HOOK_OPT

struct target {
	const char *name;
	void *hook;
	void **real;
};

#define HOOK(ret, name, args, call) { #name, at_##name, (void **)&real.name },
#define HOOK_OPT(ret, name, args, call) HOOK(ret, name, args, call)
static const struct target exported[] = {
#include "track/hooks.def"
};
#undef HOOK
#undef HOOK_OPT

static const struct target late[] = {
	{ "dlopen", (void *)late_dlopen, (void **)&late_real.dlopen },
	{ "dlsym", (void *)late_dlsym, (void **)&late_real.dlsym },
};

#define INDEX_SIZE 256u
static const struct target *by_name[INDEX_SIZE];
static bool indexed;

static uint32_t hash_of(const char *s)
{
	uint32_t h = 5381;

	for (; *s; s++)
		h = h * 33 + (uint8_t)*s;
	return h ^ h >> 11;
}

/* What matters from a program's beginning only, or would count a block twice. */
static bool wanted(const struct target *t)
{
	static const char *const not_late[] = { "exit", "_exit", "_Exit", "quick_exit",
		                                "__libc_start_main" };

	for (size_t i = 0; i < sizeof(not_late) / sizeof(not_late[0]); i++)
		if (!strcmp(t->name, not_late[i]))
			return false;
	if (!strncmp(t->name, "__lsan_", 7))
		return false;
	if (!cxx_direct && (!strncmp(t->name, "_Zn", 3) || !strncmp(t->name, "_Zd", 3)))
		return false;
	return *t->real != NULL;
}

static void index_add(const struct target *t, size_t n)
{
	for (; n; n--, t++) {
		uint32_t i = hash_of(t->name);

		if (!wanted(t))
			continue;
		while (by_name[i % INDEX_SIZE])
			i++;
		by_name[i % INDEX_SIZE] = t;
	}
}

static void make_index(void)
{
	_Static_assert(sizeof(exported) / sizeof(exported[0]) + sizeof(late) / sizeof(late[0]) <
	                       INDEX_SIZE / 2,
	               "the index has room");

	if (indexed)
		return;
	index_add(exported, sizeof(exported) / sizeof(exported[0]));
	index_add(late, sizeof(late) / sizeof(late[0]));
	indexed = true;
}

static const struct target *target_of(const char *name)
{
	for (uint32_t i = hash_of(name);; i++) {
		const struct target *t = by_name[i % INDEX_SIZE];

		if (!t || !strcmp(t->name, name))
			return t;
	}
}

void *patch_hook_of(const char *name, void *found)
{
	const struct target *t = indexed ? target_of(name) : NULL;

	return t && *t->real == found ? t->hook : found;
}

bool patch_knows(const char *name)
{
	return indexed && target_of(name);
}

/* ---- what was changed ------------------------------------------------------------------------- */

struct record {
	uint64_t *slot;
	uint64_t old, hook;
	const void *dynamic; /* of its module */
};

struct known {
	const void *dynamic;
	uint64_t bias;
	bool alive;
	bool done;         /* its slots were looked at */
	uint64_t since_ns; /* first seen, not ready then */
};

/* Pages that are still writable after so long were meant to be. */
#define PATIENCE_NS 2000000000ull
static uint64_t nunready;
static uint64_t loads_seen; /* modules loaded ever, at the last pass */

static struct record *records;
static struct known *knowns;
static uint64_t nrecords, records_room, nknown, known_room;
static struct lock patch_lock;

static void *grow(void *items, uint64_t n, uint64_t *room, size_t size)
{
	uint64_t more = *room ? *room * 2 : 1024;
	void *to;

	if (n < *room)
		return items;
	to = mem_map(more * size);
	if (!to)
		return NULL;
	if (items) {
		memcpy(to, items, n * size);
		mem_unmap(items, *room * size);
	}
	*room = more;
	return to;
}

static bool record_add(uint64_t *slot, uint64_t old, uint64_t hook, const void *dynamic)
{
	void *p = grow(records, nrecords, &records_room, sizeof(*records));

	if (!p)
		return false;
	records = p;
	records[nrecords++] = (struct record){ slot, old, hook, dynamic };
	return true;
}

static struct record *record_of(const uint64_t *slot)
{
	for (uint64_t i = 0; i < nrecords; i++)
		if (records[i].slot == slot)
			return &records[i];
	return NULL;
}

static struct known *known_of(const void *dynamic, uint64_t bias)
{
	for (uint64_t i = 0; i < nknown; i++)
		if (knowns[i].dynamic == dynamic && knowns[i].bias == bias)
			return &knowns[i];
	return NULL;
}

/* ---- protections ------------------------------------------------------------------------------ */

struct vma {
	uint64_t start, end;
	int prot; /* PROT_* */
	bool opened;
};

static struct vma *vmas; /* ascending */
static uint64_t nvmas, vmas_room;

static bool vma_add(const char *line, size_t len)
{
	struct vma v = { 0, 0, 0, false };
	const char *p = line, *end = line + len;
	uint64_t *field = &v.start;
	void *m;

	for (; p < end && *p != ' '; p++) {
		if (*p == '-')
			field = &v.end;
		else
			*field = *field << 4 | (uint64_t)(*p >= 'a' ? *p - 'a' + 10 : *p - '0');
	}
	if (end - p < 5)
		return true;
	v.prot = (p[1] == 'r' ? PROT_READ : 0) | (p[2] == 'w' ? PROT_WRITE : 0) |
	         (p[3] == 'x' ? PROT_EXEC : 0);
	m = grow(vmas, nvmas, &vmas_room, sizeof(*vmas));
	if (!m)
		return false;
	vmas = m;
	vmas[nvmas++] = v;
	return true;
}

static bool vmas_read(void)
{
	static char text[64 << 10];
	long fd = sys_open("/proc/self/maps", O_RDONLY, 0), r;
	size_t have = 0;
	bool ok = true;

	nvmas = 0;
	if (sys_failed(fd))
		return false;
	while (ok && (r = sys_read((int)fd, text + have, sizeof(text) - have)) > 0) {
		char *p = text, *nl;

		have += (size_t)r;
		while (ok && (nl = memchr(p, '\n', (size_t)(text + have - p)))) {
			ok = vma_add(p, (size_t)(nl - p));
			p = nl + 1;
		}
		have = (size_t)(text + have - p);
		memmove(text, p, have);
		if (have == sizeof(text)) /* no line is that long */
			ok = false;
	}
	sys_close((int)fd);
	return ok && nvmas;
}

static struct vma *vma_of(uint64_t address)
{
	uint64_t lo = 0, hi = nvmas;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (vmas[mid].end <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < nvmas && vmas[lo].start <= address ? &vmas[lo] : NULL;
}

static bool vma_open(struct vma *v)
{
	if (v->prot & PROT_WRITE || v->opened)
		return true;
	if (sys_mprotect((void *)v->start, v->end - v->start, v->prot | PROT_WRITE))
		return false;
	v->opened = true;
	return true;
}

static void vmas_close(void)
{
	for (uint64_t i = 0; i < nvmas; i++) {
		if (!vmas[i].opened)
			continue;
		sys_mprotect((void *)vmas[i].start, vmas[i].end - vmas[i].start, vmas[i].prot);
		vmas[i].opened = false;
	}
}

static bool slot_write(uint64_t *slot, uint64_t value)
{
	struct vma *v = vma_of((uint64_t)slot);

	if (!v || (uint64_t)slot & 7 || !vma_open(v))
		return false;
	store_release(slot, value);
	return true;
}

/* ---- a module ---------------------------------------------------------------------------------- */

struct module_tables {
	const struct dl_phdr_info *info;
	const void *dynamic;
	const ElfW(Sym) * sym;
	const char *str;
	uint64_t str_size;
	const ElfW(Rela) * rela[2]; /* of data, of the PLT */
	uint64_t nrela[2];
};

static const void *pointer_of(const struct dl_phdr_info *info, uint64_t v)
{
	return (const void *)(v < info->dlpi_addr ? v + info->dlpi_addr : v);
}

static bool tables_of(const struct dl_phdr_info *info, struct module_tables *t)
{
	*t = (struct module_tables){ .info = info };
	for (unsigned int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			t->dynamic = (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
	if (!t->dynamic || t->dynamic == _DYNAMIC)
		return false;
	for (const ElfW(Dyn) *d = t->dynamic; d->d_tag != DT_NULL; d++) {
		switch (d->d_tag) {
		case DT_SYMTAB:
			t->sym = pointer_of(info, d->d_un.d_ptr);
			break;
		case DT_STRTAB:
			t->str = pointer_of(info, d->d_un.d_ptr);
			break;
		case DT_STRSZ:
			t->str_size = d->d_un.d_val;
			break;
		case DT_RELA:
			t->rela[0] = pointer_of(info, d->d_un.d_ptr);
			break;
		case DT_RELASZ:
			t->nrela[0] = d->d_un.d_val / sizeof(ElfW(Rela));
			break;
		case DT_JMPREL:
			t->rela[1] = pointer_of(info, d->d_un.d_ptr);
			break;
		case DT_PLTRELSZ:
			t->nrela[1] = d->d_un.d_val / sizeof(ElfW(Rela));
			break;
		}
	}
	return t->sym && t->str;
}

/* An address in code of the module itself: where a slot that nobody has called through yet leads. */
static bool own_code(const struct dl_phdr_info *info, uint64_t address)
{
	for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X) &&
		    address - (info->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
			return true;
	}
	return false;
}

static void slot_patch(const struct module_tables *m, const ElfW(Rela) * r)
{
	unsigned int type = ELF64_R_TYPE(r->r_info), sym = ELF64_R_SYM(r->r_info);
	uint64_t *slot = (uint64_t *)(m->info->dlpi_addr + r->r_offset), old;
	const struct target *t;
	struct record *known;
	struct vma *v;

	if ((type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT && type != R_X86_64_64) ||
	    !sym || (type == R_X86_64_64 && r->r_addend) || m->sym[sym].st_name >= m->str_size)
		return;
	t = target_of(m->str + m->sym[sym].st_name);
	if (!t)
		return;
	v = vma_of((uint64_t)slot);
	if (!v || !(v->prot & PROT_READ) || (uint64_t)slot & 7)
		return;
	old = load_relaxed(slot);
	if (old == (uint64_t)t->hook)
		return;
	if (old != (uint64_t)*t->real &&
	    !(type == R_X86_64_JUMP_SLOT && m->sym[sym].st_shndx == SHN_UNDEF &&
	      own_code(m->info, old)))
		return;
	known = record_of(slot); /* bound lazily since, or another module's in the same place */
	if (known) {
		if (known->dynamic != m->dynamic)
			*known = (struct record){ slot, old, (uint64_t)t->hook, m->dynamic };
	} else if (!record_add(slot, old, (uint64_t)t->hook, m->dynamic)) {
		return;
	}
	slot_write(slot, (uint64_t)t->hook);
}

/* The loader's pointers to the allocator (glibc 2.31 on: __rtld_malloc and three more). */
static void loader_patch(const struct module_tables *m)
{
	static const char *const names[] = { "malloc", "free", "calloc", "realloc" };
	const struct dl_phdr_info *info = m->info;

	for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uint64_t at = (info->dlpi_addr + ph->p_vaddr + 7) & ~7ull;
		uint64_t end = info->dlpi_addr + ph->p_vaddr + ph->p_memsz;

		if (ph->p_type != PT_GNU_RELRO)
			continue;
		for (; at + 8 <= end; at += 8) {
			uint64_t *slot = (uint64_t *)at;

			for (unsigned int k = 0; k < 4; k++) {
				const struct target *t = target_of(names[k]);

				if (!t || *slot != (uint64_t)*t->real || record_of(slot))
					continue;
				if (record_add(slot, *slot, (uint64_t)t->hook, m->dynamic))
					slot_write(slot, (uint64_t)t->hook);
				break;
			}
		}
	}
}

static bool is_loader(const struct module_tables *m)
{
	return m->info->dlpi_addr == (uint64_t)loader_list()->r_ldbase;
}

/* What the loader makes read-only when it has relocated the module is not so yet (as _dl_protect_relro() counts pages). */
static bool unready(const struct dl_phdr_info *info)
{
	for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uint64_t start = (info->dlpi_addr + ph->p_vaddr) & ~4095ull;
		uint64_t end = (info->dlpi_addr + ph->p_vaddr + ph->p_memsz) & ~4095ull;
		const struct vma *v;

		if (ph->p_type != PT_GNU_RELRO || start == end)
			continue;
		v = vma_of(start);
		if (!v || v->prot & PROT_WRITE)
			return true;
	}
	return false;
}

struct pass {
	bool again, first;
	bool ok;
	int (*module)(struct dl_phdr_info *, size_t, void *);
	void *arg;
};

static int module_patch(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct pass *pass = arg;
	struct module_tables m;
	struct known *k;
	void *p;

	bool first = pass->first; /* the program itself, which runs */

	(void)size;
	pass->first = false;
	if (!tables_of(info, &m) || !vma_of((uint64_t)m.dynamic))
		return 0;
	k = known_of(m.dynamic, info->dlpi_addr);
	if (k && k->done && !pass->again)
		return 0;
	if (!k) {
		p = grow(knowns, nknown, &known_room, sizeof(*knowns));
		if (!p)
			return 0;
		knowns = p;
		k = &knowns[nknown++];
		*k = (struct known){ .dynamic = m.dynamic, .bias = info->dlpi_addr, .alive = true };
	}
	if (!k->done && !first && unready(info)) {
		uint64_t now = ledger_clock_ns();

		if (!k->since_ns)
			k->since_ns = now;
		if (now - k->since_ns < PATIENCE_NS) {
			nunready++;
			return 0;
		}
	}
	k->done = true;
	if (is_loader(&m))
		loader_patch(&m);
	for (unsigned int i = 0; i < 2; i++)
		for (uint64_t j = 0; m.rela[i] && j < m.nrela[i]; j++)
			slot_patch(&m, &m.rela[i][j]);
	return 0;
}

/* The first callback does it all, in a walk of its own: the lock that keeps modules where they are is held from here on. */
static int whole_pass(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct pass *pass = arg;

	(void)size;
	pass->ok = vmas_read();
	if (pass->ok) {
		dl_iterate_phdr(pass->module, pass->arg);
		vmas_close();
		store_relaxed(&loads_seen, (uint64_t)info->dlpi_adds);
	}
	return 1;
}

bool patch_all(bool again)
{
	struct pass pass = { .again = again, .first = true, .module = module_patch };

	if (!lock_take(&patch_lock))
		return false;
	make_index();
	nunready = 0;
	pass.arg = &pass;
	dl_iterate_phdr(whole_pass, &pass);
	lock_give(&patch_lock);
	return pass.ok;
}

bool patch_unready(void)
{
	return load_relaxed(&nunready) != 0;
}

static int loads_now(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(uint64_t *)arg = info->dlpi_adds;
	return 1;
}

bool patch_stale(void)
{
	uint64_t loads = 0;

	dl_iterate_phdr(loads_now, &loads);
	return loads != load_relaxed(&loads_seen) || patch_unready();
}

/* ---- and back ------------------------------------------------------------------------------------ */

static int module_alive(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct module_tables m;
	struct known *k;

	(void)size;
	(void)arg;
	k = tables_of(info, &m) ? known_of(m.dynamic, info->dlpi_addr) : NULL;
	if (k)
		k->alive = true;
	return 0;
}

/* Under the lock: forgets what belongs to modules that are gone. */
static void prune(void)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < nknown; i++)
		knowns[i].alive = false;
	dl_iterate_phdr(module_alive, NULL);
	for (uint64_t i = 0; i < nknown; i++)
		if (knowns[i].alive)
			knowns[n++] = knowns[i];
	if (n == nknown)
		return;
	nknown = n;
	n = 0;
	for (uint64_t i = 0; i < nrecords; i++) {
		bool alive = false;

		for (uint64_t j = 0; j < nknown && !alive; j++)
			alive = knowns[j].dynamic == records[i].dynamic;
		if (alive)
			records[n++] = records[i];
	}
	nrecords = n;
}

void patch_prune(void)
{
	if (!nrecords || !lock_take(&patch_lock))
		return;
	prune();
	lock_give(&patch_lock);
}

static int module_restore(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct patch_sums *sums = arg;
	struct module_tables m;

	(void)size;
	if (!tables_of(info, &m) || !known_of(m.dynamic, info->dlpi_addr))
		return 0;
	sums->modules++;
	for (uint64_t i = 0; i < nrecords; i++) {
		struct record *r = &records[i];

		if (r->dynamic != m.dynamic)
			continue;
		if (load_relaxed(r->slot) != r->hook || !slot_write(r->slot, r->old))
			sums->kept++;
		else
			sums->slots++;
	}
	return 0;
}

void patch_restore(struct patch_sums *ret)
{
	struct pass pass = { .module = module_restore, .arg = ret };

	*ret = (struct patch_sums){ 0 };
	if (!lock_take(&patch_lock))
		return;
	dl_iterate_phdr(whole_pass, &pass);
	if (pass.ok)
		nrecords = nknown = nunready = 0;
	lock_give(&patch_lock);
}

void patch_count(struct patch_sums *ret)
{
	ret->slots = nrecords;
	ret->modules = nknown;
	ret->kept = 0;
}

bool patch_active(void)
{
	return load_relaxed(&nrecords) != 0;
}
