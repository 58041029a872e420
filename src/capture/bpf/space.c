/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's modules, from outside: /proc/PID/maps says what is mapped, the headers in memory what of it
 * is a loaded module (proc/modules.h), and /proc/PID/map_files gives each file as the target sees it, also a
 * deleted one or one of another mount namespace.
 */
#include "capture/bpf/space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "proc/maps.h"
#include "proc/modules.h"
#include "proc/procfs.h"
#include "proc/refusal.h"

#define VDSO_MOST (1u << 20)

size_t space_read(const struct space *s, uint64_t addr, void *buf, size_t len)
{
	struct iovec l = { buf, len }, r = { (void *)(uintptr_t)addr, len };
	ssize_t n;

	if (addr > INT64_MAX - len)
		return 0;
	n = process_vm_readv(s->pid, &l, 1, &r, 1, 0);
	return n < 0 ? 0 : (size_t)n;
}

static size_t image_reader(const struct image *img, uint64_t addr, void *buf, size_t len)
{
	return space_read(img->priv, addr, buf, len);
}

static const struct image_ops reader = { .read = image_reader };

static void module_release(struct space_module *m)
{
	if (m->cfi)
		dwarf_cfi_end(m->cfi);
	if (m->elf)
		elf_end(m->elf);
	elfimage_release(&m->image);
	free(m->path);
	free(m);
}

static struct space_module *same_module(const struct space *s, const struct image_module *im,
                                        uint64_t inode)
{
	for (size_t i = 0; i < s->n; i++) {
		struct space_module *m = s->modules[i];

		if (!m->gone && m->start == im->start && m->end == im->end && m->bias == im->bias &&
		    m->inode == inode && m->build_id_len == im->build_id_len &&
		    !memcmp(m->build_id, im->build_id, im->build_id_len))
			return m;
	}
	return NULL;
}

static struct space_module *module_new(const struct space *s, const struct image *img,
                                       const struct image_module *im, const struct image_map *map)
{
	struct space_module *m = calloc(1, sizeof(*m));
	char path[64];
	struct stat st;

	if (!m)
		return NULL;
	m->start = im->start;
	m->end = im->end;
	m->bias = im->bias;
	m->is_program = im->start <= img->at_phdr && img->at_phdr < im->end;
	m->build_id_len = im->build_id_len;
	memcpy(m->build_id, im->build_id, sizeof(m->build_id));
	m->path = strdup(im->path);
	if (!m->path) {
		free(m);
		return NULL;
	}
	if (map) {
		m->map_start = map->start;
		m->map_end = map->end;
		m->inode = map->inode;
		if (space_file(s, m, path, sizeof(path)) && stat(path, &st) == 0) {
			m->dev = st.st_dev;
			m->mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u +
			              (uint64_t)st.st_mtim.tv_nsec;
		}
	}
	return m;
}

static int by_start(const void *a, const void *b)
{
	const struct space_module *x = *(struct space_module *const *)a,
				  *y = *(struct space_module *const *)b;

	return (x->start > y->start) - (x->start < y->start);
}

static struct seep_error *take_over(struct space *s, const struct image *img, bool *ret_changed)
{
	struct space_module **next = calloc(s->n + img->nmodules + 1, sizeof(struct space_module *));
	size_t n = 0;

	if (!next)
		return &seep_error_nomem;
	for (size_t i = 0; i < img->nmodules; i++) {
		const struct image_map *map = image_map_of(img, img->modules[i].start);
		struct space_module *m = same_module(s, &img->modules[i], map ? map->inode : 0);

		if (m)
			m->gone = true; /* taken: not to be found again, nor below */
		else {
			m = module_new(s, img, &img->modules[i], map);
			*ret_changed = true;
		}
		if (m)
			next[n++] = m;
	}
	for (size_t i = 0; i < n; i++)
		next[i]->gone = false;
	for (size_t i = 0; i < s->n; i++) {
		bool kept = false;

		for (size_t j = 0; j < n && !kept; j++)
			kept = next[j] == s->modules[i];
		if (!kept) {
			*ret_changed |= !s->modules[i]->gone;
			s->modules[i]->gone = true;
			next[n++] = s->modules[i];
		}
	}
	if (n)
		qsort(next, n, sizeof(*next), by_start);
	free(s->modules);
	s->modules = next;
	s->n = n;
	return NULL;
}

struct seep_error *space_refresh(struct space *s, bool *ret_changed)
{
	struct image img = { .kind = IMAGE_LIVE, .pid = s->pid, .page_size = 4096, .ops = &reader };
	struct procfs_auxv av = { .page_size = 4096 };
	_cleanup_buf_ struct buf auxv = { 0 };
	_cleanup_free_ char *exe = procfs_exe(s->pid);
	struct maps maps;
	struct seep_error *err = maps_read(s->pid, &maps);

	if (err && (err->code == EACCES || err->code == EPERM)) {
		int code = err->code;

		seep_error_free(err);
		err = refusal_explain(s->pid, code, 0);
	}

	*ret_changed = false;
	if (err)
		return err;
	if (procfs_read(s->pid, "auxv", 1 << 16, &auxv) == 0)
		procfs_parse_auxv(auxv.data, auxv.len, &av);
	img.priv = s;
	img.exe = exe ? exe : "";
	img.maps = maps.items;
	img.nmaps = maps.n;
	img.at_phdr = av.phdr;
	err = modules_find(&img);
	if (!err)
		err = take_over(s, &img, ret_changed);
	modules_free(img.modules, img.nmodules);
	maps_release(&maps);
	return err;
}

void space_forget_gone(struct space *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (s->modules[i]->gone)
			module_release(s->modules[i]);
		else
			s->modules[n++] = s->modules[i];
	}
	s->n = n;
}

void space_release(struct space *s)
{
	for (size_t i = 0; i < s->n; i++)
		module_release(s->modules[i]);
	free(TAKE(s->modules));
	s->n = 0;
}

struct space_module *space_module_of(const struct space *s, uint64_t addr)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (s->modules[mid]->start <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	/* One that is gone may overlap its successor: look at a few before. */
	for (size_t i = lo; i-- > 0 && lo - i <= 8;)
		if (!s->modules[i]->gone && addr >= s->modules[i]->start && addr < s->modules[i]->end)
			return s->modules[i];
	return NULL;
}

bool space_file(const struct space *s, const struct space_module *m, char *path, size_t size)
{
	if (!m->map_end || m->path[0] != '/')
		return false;
	snprintf(path, size, "/proc/%d/map_files/%llx-%llx", (int)s->pid,
	         (unsigned long long)m->map_start, (unsigned long long)m->map_end);
	return true;
}

static struct seep_error *read_vdso(const struct space *s, const struct space_module *m,
                                    struct elfimage *ret_image)
{
	size_t len = m->map_end - m->map_start, got;
	_cleanup_free_ char *copy = NULL;

	if (!m->map_end || len > VDSO_MOST)
		return seep_error_new(0, "%s has no file", m->path);
	copy = malloc(len);
	got = copy ? space_read(s, m->map_start, copy, len) : 0;
	return elfimage_copy(copy, got, m->path, ret_image);
}

Elf *space_elf(struct space *s, struct space_module *m)
{
	_cleanup_error_ struct seep_error *err = NULL;
	char path[64];

	if (m->tried)
		return m->elf;
	m->tried = true;
	elf_version(EV_CURRENT);
	if (space_file(s, m, path, sizeof(path))) {
		_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
		_cleanup_free_ char *root = NULL;
		struct stat st;

		/* map_files wants CAP_CHECKPOINT_RESTORE; the root link only what reading memory does. */
		if (fd < 0 && asprintf(&root, "/proc/%d/root%s", (int)s->pid, m->path) > 0)
			fd = open(root, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0)
			return NULL;
		err = elfimage_read(fd, &st, m->path, &m->image);
	} else {
		err = read_vdso(s, m, &m->image);
	}
	if (err)
		return NULL;
	m->elf = elf_memory(m->image.base, m->image.size);
	if (m->elf)
		m->cfi = dwarf_getcfi_elf(m->elf);
	return m->elf;
}

Dwarf_CFI *space_cfi(struct space *s, struct space_module *m)
{
	space_elf(s, m);
	return m->cfi;
}
