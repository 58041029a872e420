/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a core leaves out because it is in a file.
 *
 * The kernel dumps of a read-only file mapping at most the first page, with the ELF header and the build-id; gdb's
 * gcore not even that, nor a segment that says there was a mapping: only NT_FILE names it.  So mappings
 * that only NT_FILE knows are put in, and each file is opened once and believed when it is the one the
 * process had:
 *
 *     the core holds its first page     build-ids are equal, or else the pages are
 *     it does not                       every segment of the file is mapped where its program headers put it
 *                                       (a note says that there was nothing better to compare)
 *
 * Only what was not writable is read from a file.
 */
#include "proc/core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/read_at.h"
#include "proc/modules.h"

#define PHDRS_MAX 512
#define FILES_MAX 4096 /* that are looked at; a core may name as many as it likes */

struct look {
	const char *exe_path, *exe;
	size_t changed, trusted;
};

struct headers {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[PHDRS_MAX];
	size_t n;
};

static bool read_headers(int fd, struct headers *h)
{
	if (read_at(fd, 0, &h->eh, sizeof(h->eh)) != sizeof(h->eh) || !modules_ehdr_ok(&h->eh) ||
	    h->eh.e_phoff > INT64_MAX / 2)
		return false;
	h->n = h->eh.e_phnum < PHDRS_MAX ? h->eh.e_phnum : PHDRS_MAX;
	return read_at(fd, h->eh.e_phoff, h->ph, h->n * sizeof(h->ph[0])) == h->n * sizeof(h->ph[0]);
}

/* Is it the file that module was loaded from? */
static bool same_module(const struct image *img, const struct image_module *m, int fd,
                        const struct headers *h)
{
	uint8_t ours[CORE_PAGE], theirs[CORE_PAGE], id[20];

	for (size_t i = 0; m->build_id_len && i < h->n; i++) {
		const Elf64_Phdr *p = &h->ph[i];
		uint8_t n;

		if (p->p_type != PT_NOTE)
			continue;
		n = modules_build_id(theirs,
		                     read_at(fd, p->p_offset, theirs,
		                             p->p_filesz < CORE_PAGE ? p->p_filesz : CORE_PAGE),
		                     p->p_align, id);
		if (n)
			return n == m->build_id_len && memcmp(id, m->build_id, n) == 0;
	}
	return !m->build_id_len && image_read_all(img, m->start, ours, CORE_PAGE) &&
	       read_at(fd, 0, theirs, CORE_PAGE) == CORE_PAGE &&
	       memcmp(ours, theirs, CORE_PAGE) == 0;
}

/* Does every segment of the file lie where the core says that the file was mapped? */
static bool same_layout(const struct image *img, uint64_t start, const char *path,
                        const struct headers *h)
{
	const struct core *c = img->priv;
	uint64_t bias = 0;
	bool first = true;

	for (size_t i = 0; i < h->n; i++) {
		const Elf64_Phdr *p = &h->ph[i];
		const struct core_mapped *f;
		uint64_t at;

		if (p->p_type != PT_LOAD || !p->p_filesz)
			continue;
		if (first) {
			if (p->p_offset >= CORE_PAGE)
				return false;
			bias = start - (p->p_vaddr & ~(CORE_PAGE - 1));
			first = false;
		}
		at = (bias + p->p_vaddr) & ~(CORE_PAGE - 1);
		f = core_notes_file(&c->notes, at);
		if (!f || strcmp(f->path, path) != 0 ||
		    f->offset + (at - f->start) != (p->p_offset & ~(CORE_PAGE - 1)))
			return false;
	}
	return !first;
}

/* What the file says of mappings that only NT_FILE knows. */
static void set_flags(struct image *img, const char *path, const struct headers *h)
{
	for (size_t i = 0; i < img->nmaps; i++) {
		struct image_map *m = &img->maps[i];

		if (!(m->flags & IMAGE_ABSENT) || strcmp(m->path, path) != 0)
			continue;
		for (size_t k = 0; k < h->n; k++)
			if (h->ph[k].p_type == PT_LOAD && (h->ph[k].p_flags & PF_X) &&
			    m->offset == (h->ph[k].p_offset & ~(CORE_PAGE - 1)))
				m->flags |= IMAGE_EXEC;
	}
}

/* Opens a file and compares it with what the core knows of it; -1: not the one. */
static int open_checked(struct image *img, const char *path, struct look *l)
{
	const char *name = l->exe && l->exe_path && strcmp(path, l->exe_path) == 0 ? l->exe : path;
	_cleanup_close_ int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ struct headers *h = malloc(sizeof(*h));
	const struct core *c = img->priv;
	struct stat st;

	if (fd < 0 || !h || fstat(fd, &st) || !S_ISREG(st.st_mode) || !read_headers(fd, h))
		return -1;
	for (size_t i = 0; i < img->nmodules; i++)
		if (strcmp(img->modules[i].path, path) == 0) {
			if (same_module(img, &img->modules[i], fd, h))
				return TAKE_FD(fd);
			l->changed++;
			return -1;
		}
	for (size_t i = 0; i < c->notes.nfiles; i++) {
		const struct core_mapped *f = &c->notes.files[i];

		if (f->offset || strcmp(f->path, path) != 0)
			continue;
		if (!same_layout(img, f->start, path, h)) {
			l->changed++;
			return -1;
		}
		set_flags(img, path, h);
		l->trusted++;
		return TAKE_FD(fd);
	}
	return -1;
}

/* The descriptor of a mapped file, looked at once; -1: cannot be used. */
static int file_for(struct image *img, const char *path, struct look *l)
{
	struct core *c = img->priv;
	struct core_opened *grown;

	for (size_t i = c->nfiles; i-- > 0;)
		if (strcmp(c->files[i].path, path) == 0)
			return c->files[i].fd;
	if (c->nfiles == FILES_MAX)
		return -1;
	grown = realloc(c->files, (c->nfiles + 1) * sizeof(*grown));
	if (!grown)
		return -1;
	c->files = grown;
	grown[c->nfiles].path = strdup(path);
	if (!grown[c->nfiles].path)
		return -1;
	grown[c->nfiles].fd = open_checked(img, path, l);
	return grown[c->nfiles++].fd;
}

/* Puts in the mappings that only NT_FILE knows: it comes sorted, and so do the mappings. */
static struct seep_error *add_unlisted(struct image *img)
{
	struct core *c = img->priv;
	size_t n = img->nmaps + c->notes.nfiles, k = 0, out = 0;
	struct image_map *maps = calloc(n + 1, sizeof(*maps));
	struct core_source *sources = calloc(n + 1, sizeof(*sources));
	uint64_t last = 0;

	if (!maps || !sources) {
		free(maps);
		free(sources);
		return &seep_error_nomem;
	}
	for (size_t i = 0; i <= c->notes.nfiles; i++) {
		const struct core_mapped *f = i < c->notes.nfiles ? &c->notes.files[i] : NULL;

		for (; k < img->nmaps && (!f || img->maps[k].start < f->end); k++) {
			last = img->maps[k].end;
			maps[out] = img->maps[k];
			sources[out++] = c->sources[k];
		}
		if (!f || f->start < last || (f->start | f->end) % CORE_PAGE)
			continue;
		maps[out] = (struct image_map){ .start = f->start,
			                        .end = f->end,
			                        .offset = f->offset,
			                        .flags = IMAGE_READ | IMAGE_ABSENT,
			                        .path = f->path };
		sources[out++].fd = -1;
		last = f->end;
	}
	free(img->maps);
	free(c->sources);
	img->maps = maps;
	img->nmaps = out;
	c->sources = sources;
	return NULL;
}

struct seep_error *core_read_mapped(struct image *img, const char *exe_path, const char *exe)
{
	struct core *c = img->priv;
	struct look l = { exe_path, exe, 0, 0 };
	size_t anon = 0, files = 0;
	uint64_t anon_bytes = 0, file_bytes = 0;
	struct seep_error *err = add_unlisted(img);

	if (!err)
		err = modules_find(img);
	if (err)
		return err;
	for (size_t i = 0; i < img->nmaps; i++) {
		struct image_map *m = &img->maps[i];
		struct stat st;
		int fd = -1;

		if (!(m->flags & IMAGE_ABSENT))
			continue;
		if (m->path[0] == '/' && !(m->flags & IMAGE_WRITE)) {
			fd = file_for(img, m->path, &l);
			if (fd < 0 && exe && exe_path && strcmp(m->path, exe_path) == 0)
				return seep_error_hint(
					seep_error_new(0,
				                       "%s is not the program of this core: that was "
				                       "%s, of another build",
				                       exe, exe_path),
					"give the file that was running, or none");
		}
		/* Pages past the end of the file have no bytes anywhere. */
		if (fd >= 0 && !fstat(fd, &st) && m->offset < (uint64_t)st.st_size) {
			c->sources[i] = (struct core_source){ fd, m->offset };
			m->flags &= ~IMAGE_ABSENT;
		} else if (m->flags & IMAGE_READ && m->path[0]) {
			files++;
			file_bytes += m->end - m->start;
		} else if (m->flags & IMAGE_READ) {
			anon++;
			anon_bytes += m->end - m->start;
		}
	}
	if (l.changed)
		image_note(img, "%zu files named in the core are others by now: not read",
		           l.changed);
	if (l.trusted)
		image_note(img,
		           "%zu files were read as they are now: the core holds no build-id of "
		           "theirs to compare",
		           l.trusted);
	if (anon)
		image_note(img, "%zu anonymous mappings (%.1f MiB) are not in the core", anon,
		           (double)anon_bytes / (1 << 20));
	if (files)
		image_note(img,
		           "%zu mappings of files (%.1f MiB) are neither in the core nor read from "
		           "their files",
		           files, (double)file_bytes / (1 << 20));
	if (!l.trusted)
		return NULL;
	/* Now that their headers can be read, those files are modules too. */
	modules_free(img->modules, img->nmodules);
	img->modules = NULL;
	img->nmodules = 0;
	return modules_find(img);
}
