/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which module an address lies in, as the loader says.
 *
 * From glibc 2.35 on _dl_find_object answers, without a lock.  Older ones, and musl, keep a list for debuggers (_r_debug) that any
 * thread may change meanwhile, under a lock that must not be taken on an event's path.  So the list is copied, and what it
 * leads to is read by the kernel, process_vm_readv() of this process: an address that is gone is an error then, and no
 * SIGSEGV in somebody else's program.
 *
 *     _r_debug → link_map ⇄ link_map ⇄ … ⇄ link_map → NULL
 *                                  last two: as they were copied?  Then nothing but new ones can have come behind them.
 *
 * Modules are appended, and so a look at the last two says whether the copy is complete: two system calls for an address
 * that belongs to no module (code made at run time), instead of a walk.  What is found is looked at once more before it is
 * believed.  A copy is made anew after each dlclose(), when the last two are not what they were, and at a miss when
 * it is a second old, should something have been unloaded in a way nobody saw.
 */
#include "track/loader.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/uio.h>

#include "track/attach.h"

#define MAX_LISTED 8192u
#define PAGE 4096u
#define STALE_NS 1000000000ull

struct find_result { /* struct dl_find_object of <dlfcn.h>, glibc 2.35 */
	unsigned long long flags;
	void *map_start, *map_end;
	struct link_map *map;
	void *eh_frame;
	unsigned long long pad[7];
};
/* Looked up, not linked: the library would not load where it is missing. */
static int (*find_object)(void *address, struct find_result *result);

struct listed {
	struct loaded module; /* start == end: nothing is known but that it is there */
	const struct link_map *at;
};

static struct listed *list; /* MAX_LISTED, mapped at first use */
static uint32_t count;
static uint64_t copied_ns;
static struct lock list_lock;

void loader_init(void)
{
	if (!find_object)
		find_object = (__typeof__(find_object))symbol_anywhere("_dl_find_object");
}

void loader_forked(void)
{
	list_lock.word = 0;
	count = 0;
}

const ElfW(Phdr) * program_headers(const void *first, uint64_t size, unsigned int *ret_n)
{
	const ElfW(Ehdr) *eh = first;

	if (size < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 ||
	    eh->e_phentsize != sizeof(ElfW(Phdr)) || eh->e_phoff > PAGE - sizeof(ElfW(Phdr)) ||
	    eh->e_phoff + (uint64_t)eh->e_phnum * sizeof(ElfW(Phdr)) > size)
		return NULL;
	*ret_n = eh->e_phnum;
	return (const void *)((const uint8_t *)first + eh->e_phoff);
}

/* ---- a copy of the list --------------------------------------------------------------- */

static bool peek(void *to, const void *from, size_t n)
{
	struct iovec here = { to, n }, there = { (void *)from, n };
	long r = sys6(SYS_process_vm_readv, sys_getpid(), (long)&here, 1, (long)&there, 1, 0);

	/* Where a filter of system calls forbids it, however it says so, it is read as well as it goes. */
	if (sys_failed(r) && r != -EFAULT) {
		memcpy(to, from, n);
		return true;
	}
	return r == (long)n;
}

static void from_headers(const ElfW(Phdr) * ph, unsigned int n, struct loaded *m)
{
	uint64_t lo = UINT64_MAX, hi = 0;

	for (unsigned int i = 0; i < n; i++) {
		uint64_t a = m->bias + ph[i].p_vaddr;

		if (ph[i].p_type == PT_LOAD) {
			lo = a < lo ? a : lo;
			hi = a + ph[i].p_memsz > hi ? a + ph[i].p_memsz : hi;
		} else if (ph[i].p_type == PT_GNU_EH_FRAME) {
			m->eh_hdr = (const uint8_t *)a;
		}
	}
	if (lo < hi) {
		m->start = lo & ~(uint64_t)(PAGE - 1);
		m->end = (hi + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	}
}

/* Locked. */
static void note(const struct link_map *at, const struct link_map *l)
{
	static uint8_t first[PAGE]; /* no room for it on a fiber's stack */
	struct listed *new = &list[count++];
	const ElfW(Phdr) *ph = NULL;
	unsigned int n = 0;

	*new = (struct listed){ { .bias = l->l_addr, .name = l->l_name }, at };
	if (!l->l_addr && count == 1) {
		/* A program that is linked to its addresses: it stays, and the kernel says where its headers are. */
		ph = (const void *)getauxval(AT_PHDR);
		n = (unsigned int)getauxval(AT_PHNUM);
	} else if (l->l_addr && !(l->l_addr & (PAGE - 1)) &&
	           peek(first, (void *)l->l_addr, sizeof(first))) {
		ph = program_headers(first, sizeof(first), &n);
	}
	if (ph)
		from_headers(ph, n, &new->module);
}

/* What is behind the last one that was copied.  Locked. */
static void copy_from(const struct link_map *at)
{
	struct link_map l;

	for (; at && count < MAX_LISTED && peek(&l, at, sizeof(l)); at = l.l_next)
		note(at, &l);
}

static void copy_anew(void)
{
	count = 0;
	copied_ns = ledger_clock_ns();
	copy_from(loader_list()->r_map);
}

/* Copies what is new.  False: nothing is.  Locked. */
static bool copy_more(void)
{
	struct link_map last, before;
	uint32_t had = count;

	if (count < 2 || !peek(&last, list[count - 1].at, sizeof(last)) ||
	    !peek(&before, list[count - 2].at, sizeof(before)) || last.l_prev != list[count - 2].at ||
	    before.l_next != list[count - 1].at || ledger_clock_ns() - copied_ns > STALE_NS) {
		copy_anew();
		return true;
	}
	copy_from(last.l_next);
	return count != had;
}

static bool still_there(const struct listed *i)
{
	struct link_map l;

	return peek(&l, i->at, sizeof(l)) && l.l_addr == i->module.bias &&
	       l.l_name == i->module.name;
}

static const struct listed *lookup(uint64_t pc)
{
	for (uint32_t i = 0; i < count; i++)
		if (pc - list[i].module.start < list[i].module.end - list[i].module.start)
			return &list[i];
	return NULL;
}

static bool find_listed(uint64_t pc, struct loaded *ret)
{
	const struct listed *i;

	if (!lock_take(&list_lock))
		return false;
	if (!list)
		list = mem_map(MAX_LISTED * sizeof(*list));
	i = list ? lookup(pc) : NULL;
	if (i && !still_there(i)) {
		copy_anew();
		i = lookup(pc);
	} else if (list && !i && copy_more()) {
		i = lookup(pc);
	}
	if (i)
		*ret = i->module;
	lock_give(&list_lock);
	return i != NULL;
}

/* ---- either way ---------------------------------------------------------------------- */

bool loader_find(uint64_t pc, struct loaded *ret)
{
	struct find_result r;

	if (!find_object)
		return find_listed(pc, ret);
	memset(&r, 0, sizeof(r));
	if (find_object((void *)pc, &r) != 0)
		return false;
	*ret = (struct loaded){ (uint64_t)r.map_start, (uint64_t)r.map_end,
		                r.map ? r.map->l_addr : 0, r.eh_frame, r.map ? r.map->l_name : "" };
	return true;
}

void loader_changed(void)
{
	if (find_object || !list || !lock_take(&list_lock))
		return;
	count = 0;
	lock_give(&list_lock);
}
