/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of core files.
 *
 * A core's PT_LOAD segments become mappings.  Where a segment's bytes are not in the core, because the kernel
 * leaves out what is unchanged in a file, or because the core was cut off, the mapping is split:
 *
 *     PT_LOAD   |<----------------- memsz ------------------>|
 *     in core   |<--- filesz --->|
 *     mappings  |  core file     |  IMAGE_ABSENT, or the file mapped there  |
 *
 * core_mapped.c sees to the files.
 *
 * All reading is by pread(): a core can be on a full disk or be cut while it is read, and a mapping of it would end
 * seep with SIGBUS.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/read_at.h"
#include "proc/core.h"
#include "proc/modules.h"

#define NOTES_MAX (512ull << 20)
#define SPAN_MAX (1ull << 47) /* of user addresses */

/* ---- reading ---------------------------------------------------------------- */

static size_t core_read(const struct image *img, uint64_t addr, void *buf, size_t len)
{
	const struct core *c = img->priv;
	size_t done = 0;

	while (done < len) {
		const struct image_map *m = image_map_of(img, addr + done);
		const struct core_source *s;
		uint64_t n;
		size_t got;

		if (!m || !(m->flags & IMAGE_READ))
			break;
		s = &c->sources[m - img->maps];
		n = m->end - (addr + done);
		if (n > len - done)
			n = len - done;
		got = s->fd < 0 ? 0
		                : read_at(s->fd, s->off + (addr + done - m->start),
		                          (char *)buf + done, n);
		done += got;
		if (got < n)
			break;
	}
	return done;
}

static void core_resident(const struct image *img, uint64_t start, uint64_t npages, uint8_t *ret)
{
	const struct core *c = img->priv;
	uint64_t done = 0;

	memset(ret, 0, npages);
	while (done < npages) {
		uint64_t addr = start + done * img->page_size, n;
		size_t i = image_map_after(img, addr);

		if (i == img->nmaps)
			break;
		if (img->maps[i].start > addr) {
			n = (img->maps[i].start - addr + img->page_size - 1) / img->page_size;
		} else {
			n = (img->maps[i].end - addr + img->page_size - 1) / img->page_size;
			if (n > npages - done)
				n = npages - done;
			memset(ret + done, c->sources[i].fd >= 0, n);
		}
		done = n < npages - done ? done + n : npages;
	}
}

static void core_release(struct image *img)
{
	struct core *c = img->priv;

	for (size_t i = 0; i < c->nnote_data; i++)
		free(c->note_data[i]);
	for (size_t i = 0; i < c->nfiles; i++) {
		free(c->files[i].path);
		if (c->files[i].fd >= 0)
			close(c->files[i].fd);
	}
	if (c->file.fd >= 0)
		close(c->file.fd);
	core_notes_release(&c->notes);
	modules_free(img->modules, img->nmodules);
	free(c->note_data);
	free(c->files);
	free(c->sources);
	free(c->words);
	free(c->exe);
	free(img->maps);
	free(img->threads);
	free(c);
	free(img);
}

static const struct image_ops core_ops = {
	.read = core_read,
	.resident = core_resident,
	.release = core_release,
};

/* ---- headers ---------------------------------------------------------------- */

static struct seep_error *check_header(const char *path, const Elf64_Ehdr *eh, size_t len)
{
	struct seep_error *err;

	if (len < EI_NIDENT || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0)
		return seep_error_hint(seep_error_new(0, "%s is not a core file", path),
		                       "`seep check` takes a process, its name, or an ELF core file");
	if (eh->e_ident[EI_CLASS] != ELFCLASS64)
		return seep_error_hint(
			seep_error_new(0, "%s is of a 32-bit program; seep reads 64-bit ones", path),
			"build the program for 64 bits to check it");
	if (eh->e_ident[EI_DATA] != ELFDATA2LSB || len < sizeof(*eh) || eh->e_machine != EM_X86_64)
		return seep_error_hint(
			seep_error_new(0, "%s is of another machine (ELF machine %u), not x86-64",
		                       path, len < sizeof(*eh) ? 0u : (unsigned int)eh->e_machine),
			"check it with a seep built for that machine");
	if (eh->e_type != ET_CORE) {
		err = seep_error_new(0, "%s is a program or library, not a core file", path);
		return seep_error_hint(err,
		                       "a core comes first, then the program: seep check CORE %s",
		                       path);
	}
	if (eh->e_phentsize != sizeof(Elf64_Phdr))
		return seep_error_new(0, "%s is damaged: its program headers have a size of %u",
		                      path, (unsigned int)eh->e_phentsize);
	return NULL;
}

/* All program headers that are in the file; malloc'ed. */
static struct seep_error *read_phdrs(const char *path, const struct core_file *f,
                                     const Elf64_Ehdr *eh, Elf64_Phdr **ret, size_t *ret_n)
{
	uint64_t n = eh->e_phnum;
	_cleanup_free_ Elf64_Phdr *ph = NULL;
	Elf64_Shdr sh;

	if (n == PN_XNUM) { /* too many for 16 bits: the number is in the first section header */
		if (read_at(f->fd, eh->e_shoff, &sh, sizeof(sh)) != sizeof(sh))
			return seep_error_new(0,
			                      "%s is damaged: it says it has many segments, and not "
			                      "how many",
			                      path);
		n = sh.sh_info;
	}
	if (!n || eh->e_phoff >= f->size)
		return seep_error_hint(seep_error_new(0, "%s has no program headers", path),
		                       "it was cut off when it was written: a full disk, or a limit "
		                       "(`ulimit -c unlimited`)");
	if (n > (f->size - eh->e_phoff) / sizeof(*ph))
		n = (f->size - eh->e_phoff) / sizeof(*ph);
	ph = malloc(n * sizeof(*ph) + 1);
	if (!ph)
		return &seep_error_nomem;
	n = read_at(f->fd, eh->e_phoff, ph, n * sizeof(*ph)) / sizeof(*ph);
	if (!n)
		return seep_error_new(0, "%s ends within its program headers", path);
	*ret = TAKE(ph);
	*ret_n = n;
	return NULL;
}

/* How much of [off, off + len) is in the file. */
static uint64_t present(const struct core_file *f, uint64_t off, uint64_t len)
{
	if (off >= f->size)
		return 0;
	return len < f->size - off ? len : f->size - off;
}

static struct seep_error *read_notes(struct image *img, const Elf64_Phdr *ph, size_t nph)
{
	struct core *c = img->priv;
	uint64_t total = 0;

	for (size_t i = 0; i < nph; i++) {
		uint64_t len = present(&c->file, ph[i].p_offset, ph[i].p_filesz);
		void **grown, *data;

		if (ph[i].p_type != PT_NOTE || !len)
			continue;
		if (len > NOTES_MAX - total) {
			image_note(img,
			           "more than %llu MiB of notes in the core: the rest is not read",
			           NOTES_MAX >> 20);
			break;
		}
		total += len;
		grown = realloc(c->note_data, (c->nnote_data + 1) * sizeof(*grown));
		if (!grown)
			return &seep_error_nomem;
		c->note_data = grown;
		data = malloc(len);
		if (!data)
			return &seep_error_nomem;
		c->note_data[c->nnote_data++] = data;
		len = read_at(c->file.fd, ph[i].p_offset, data, len);
		if (core_notes_parse(data, len, ph[i].p_align, &c->notes))
			return &seep_error_nomem;
	}
	return NULL;
}

/* ---- mappings --------------------------------------------------------------- */

static int by_vaddr(const void *a, const void *b)
{
	uint64_t x = ((const Elf64_Phdr *)a)->p_vaddr, y = ((const Elf64_Phdr *)b)->p_vaddr;

	return (x > y) - (x < y);
}

static void add_map(struct image *img, uint64_t start, uint64_t end, uint32_t flags, int fd,
                    uint64_t off)
{
	struct core *c = img->priv;
	const struct core_mapped *f = core_notes_file(&c->notes, start);
	struct image_map *m = &img->maps[img->nmaps];

	*m = (struct image_map){ .start = start, .end = end, .flags = flags, .path = "" };
	if (f) {
		m->path = f->path;
		m->offset = f->offset + (start - f->start);
	} else if (c->notes.auxv.sysinfo_ehdr == start) {
		m->path = "[vdso]";
	}
	if (fd < 0)
		m->flags |= IMAGE_ABSENT;
	c->sources[img->nmaps++] = (struct core_source){ fd, off };
}

static struct seep_error *make_maps(struct image *img, Elf64_Phdr *ph, size_t nph)
{
	struct core *c = img->priv;
	uint64_t missing = 0, whole = 0, last = 0;
	size_t bad = 0;

	img->maps = calloc(2 * nph + 1, sizeof(*img->maps));
	c->sources = calloc(2 * nph + 1, sizeof(*c->sources));
	if (!img->maps || !c->sources)
		return &seep_error_nomem;
	for (size_t i = 0; i < nph; i++)
		if (ph[i].p_type == PT_LOAD || ph[i].p_type == PT_NOTE)
			if (ph[i].p_filesz <= UINT64_MAX - ph[i].p_offset &&
			    ph[i].p_offset + ph[i].p_filesz > whole)
				whole = ph[i].p_offset + ph[i].p_filesz;
	qsort(ph, nph, sizeof(*ph), by_vaddr);
	for (size_t i = 0; i < nph; i++) {
		const Elf64_Phdr *p = &ph[i];
		uint64_t start = p->p_vaddr, end, dumped, kept;
		uint32_t flags = 0;

		if (p->p_type != PT_LOAD || !p->p_memsz)
			continue;
		/* The vsyscall page lies above all; the kernel does not dump it anyway. */
		if (start >= SPAN_MAX || p->p_memsz > SPAN_MAX - start || start % CORE_PAGE ||
		    start < last) {
			bad += start < SPAN_MAX;
			continue;
		}
		end = (start + p->p_memsz + CORE_PAGE - 1) & ~(CORE_PAGE - 1);
		last = end;
		flags |= p->p_flags & PF_R ? IMAGE_READ : 0;
		flags |= p->p_flags & PF_W ? IMAGE_WRITE : 0;
		flags |= p->p_flags & PF_X ? IMAGE_EXEC : 0;
		dumped = p->p_filesz < p->p_memsz ? p->p_filesz : p->p_memsz;
		kept = present(&c->file, p->p_offset, dumped);
		missing += dumped - kept;
		kept = kept == p->p_memsz ? end - start : kept & ~(CORE_PAGE - 1);
		if (kept)
			add_map(img, start, start + kept, flags, c->file.fd, p->p_offset);
		if (start + kept < end)
			add_map(img, start + kept, end, flags, -1, 0);
	}
	if (bad)
		image_note(img,
		           "%zu segments of the core are left out: they overlap or have no "
		           "possible address",
		           bad);
	if (c->file.cut)
		image_note(img, "the compressed core ends too early: %llu bytes could be unpacked",
		           (unsigned long long)c->file.size);
	if (whole > c->file.size)
		image_note(img,
		           "the core is cut off: %llu of %llu bytes are missing (%llu of memory)",
		           (unsigned long long)(whole - c->file.size), (unsigned long long)whole,
		           (unsigned long long)missing);
	return NULL;
}

/* ---- threads ---------------------------------------------------------------- */

static struct seep_error *make_threads(struct image *img)
{
	struct core *c = img->priv;
	const struct core_notes *notes = &c->notes;
	size_t general = sizeof(struct user_regs_struct) / 8, words = 0;

	for (size_t i = 0; i < notes->nthreads; i++)
		words += general + notes->threads[i].vector_len / 8;
	img->threads = calloc(notes->nthreads + 1, sizeof(*img->threads));
	c->words = calloc(words + 1, sizeof(*c->words));
	if (!img->threads || !c->words)
		return &seep_error_nomem;
	words = 0;
	for (unsigned int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < notes->nthreads; i++) {
			const struct core_thread *t = &notes->threads[i];
			struct image_thread *it = &img->threads[img->nthreads];

			if ((t->tid == notes->pid) != (pass == 0))
				continue;
			*it = (struct image_thread){
				.tid = t->tid,
				.pc = t->regs.rip,
				.sp = t->regs.rsp,
				.fp = t->regs.rbp,
				.tls = t->regs.fs_base,
				.words = c->words + words,
				.nwords = general + t->vector_len / 8,
				.ngeneral = (uint32_t)general,
			};
			memcpy(c->words + words, &t->regs, sizeof(t->regs));
			if (t->vector)
				memcpy(c->words + words + general, t->vector,
				       t->vector_len & ~(size_t)7);
			words += it->nwords;
			if (pass == 0)
				memcpy(it->name, notes->name, sizeof(it->name) - 1);
			img->nthreads++;
		}
	if (!img->nthreads)
		image_note(img,
		           "the core has no registers: stacks cannot be told from other memory");
	else if (img->threads[0].tid == notes->pid) { /* cores name no stack; its sp does */
		size_t i = image_map_after(img, img->threads[0].sp);

		if (i < img->nmaps && img->maps[i].start <= img->threads[0].sp &&
		    !img->maps[i].path[0])
			img->maps[i].path = "[stack]";
	}
	return NULL;
}

/* ---- opening ---------------------------------------------------------------- */

struct seep_error *image_open_core(const char *path, const char *exe, struct image **ret_image)
{
	_cleanup_image_ struct image *img = calloc(1, sizeof(*img));
	struct core *c = calloc(1, sizeof(*c));
	_cleanup_free_ Elf64_Phdr *ph = NULL;
	const struct core_mapped *main_file;
	const char *exe_path = NULL;
	Elf64_Ehdr eh = { 0 };
	struct seep_error *err;
	size_t nph = 0, n;

	if (!img || !c) {
		free(c);
		free(TAKE(img));
		return &seep_error_nomem;
	}
	*img = (struct image){ .kind = IMAGE_CORE,
		               .exe = "",
		               .command = "",
		               .page_size = CORE_PAGE,
		               .ops = &core_ops,
		               .priv = c };
	c->file.fd = -1;
	if (exe && access(exe, R_OK))
		return seep_error_new(errno, "cannot read %s", exe);
	err = core_file_open(path, 0, &c->file);
	if (err)
		return err;
	n = read_at(c->file.fd, 0, &eh, sizeof(eh));
	err = check_header(path, &eh, n);
	if (!err)
		err = read_phdrs(path, &c->file, &eh, &ph, &nph);
	if (!err && nph < eh.e_phnum && eh.e_phnum != PN_XNUM)
		image_note(img, "%zu of %u segments of the core are not described: it is cut off",
		           eh.e_phnum - nph, (unsigned int)eh.e_phnum);
	if (!err)
		err = read_notes(img, ph, nph);
	if (!err)
		err = make_maps(img, ph, nph);
	if (err)
		return err;
	img->pid = c->notes.pid;
	img->command = c->notes.command;
	img->at_random = c->notes.auxv.random;
	img->at_base = c->notes.auxv.base;
	img->at_phdr = c->notes.auxv.phdr;
	main_file = core_notes_file(&c->notes,
	                            c->notes.auxv.phdr ? c->notes.auxv.phdr : c->notes.auxv.entry);
	if (main_file)
		exe_path = main_file->path;
	c->exe = strdup(exe ? exe : exe_path ? exe_path : "");
	if (!c->exe)
		return &seep_error_nomem;
	img->exe = c->exe;
	err = core_read_mapped(img, exe_path, exe);
	if (!err)
		err = make_threads(img);
	if (!err)
		*ret_image = TAKE(img);
	return err;
}
