/* SPDX-License-Identifier: Apache-2.0 */
/* See live_image.h. */
#include "live_image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

struct live {
	int pagemap;
	uint64_t brought_in;
};

static bool present(const struct live *l, uint64_t addr)
{
	uint64_t entry = 0;

	return pread(l->pagemap, &entry, 8, (off_t)(addr / 4096 * 8)) == 8 && entry >> 63;
}

static size_t live_read(const struct image *img, uint64_t addr, void *buf, size_t len)
{
	struct iovec to = { buf, len }, from = { (void *)(uintptr_t)addr, len };
	struct live *l = img->priv;
	ssize_t n;

	if (len <= 4096 && !present(l, addr)) {
		const struct image_map *m = image_map_of(img, addr);

		if (m && !m->inode && m->flags & IMAGE_WRITE)
			__atomic_fetch_add(&l->brought_in, 1, __ATOMIC_RELAXED);
	}
	n = process_vm_readv(img->pid, &to, 1, &from, 1, 0);
	return n > 0 ? (size_t)n : 0;
}

static void live_resident(const struct image *img, uint64_t start, uint64_t npages, uint8_t *ret)
{
	const struct live *l = img->priv;

	for (uint64_t i = 0; i < npages;) {
		uint64_t entries[512], n = npages - i < 512 ? npages - i : 512;
		ssize_t got = pread(l->pagemap, entries, n * 8, (off_t)((start / 4096 + i) * 8));

		for (uint64_t k = 0; k < n; k++)
			ret[i + k] = (ssize_t)(k * 8) >= got ? 0
			             : entries[k] >> 63      ? 1
			             : entries[k] >> 62 & 1  ? 2
			                                     : 0;
		i += n;
	}
}

static void live_release(struct image *img)
{
	struct live *l = img->priv;

	for (size_t i = 0; i < img->nthreads; i++)
		ptrace(PTRACE_DETACH, img->threads[i].tid, NULL, NULL);
	for (size_t i = 0; i < img->nmaps; i++)
		free((char *)img->maps[i].path);
	for (size_t i = 0; i < img->nmodules; i++)
		free((char *)img->modules[i].path);
	close(l->pagemap);
	free(l);
	free(img->maps);
	free(img->modules);
	free(img->threads);
	free(img);
}

static const struct image_ops live_ops = { .read = live_read,
	                                   .resident = live_resident,
	                                   .release = live_release };

static void read_maps(struct image *img)
{
	char name[64], line[4600];
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/maps", (int)img->pid);
	f = fopen(name, "r");
	while (f && fgets(line, sizeof(line), f)) {
		struct image_map m = { 0 };
		unsigned int major, minor;
		char perm[5];
		int at = 0;

		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n",
		           &m.start, &m.end, perm, &m.offset, &major, &minor, &m.inode, &at) < 7)
			continue;
		m.dev = makedev(major, minor);
		m.flags = (perm[0] == 'r' ? IMAGE_READ : 0) | (perm[1] == 'w' ? IMAGE_WRITE : 0) |
		          (perm[2] == 'x' ? IMAGE_EXEC : 0) | (perm[3] == 's' ? IMAGE_SHARED : 0);
		m.path = strdup(line + at);
		img->maps = realloc(img->maps, (img->nmaps + 1) * sizeof(m));
		img->maps[img->nmaps++] = m;
	}
	if (f)
		fclose(f);
}

static void find_modules(struct image *img)
{
	for (size_t i = 0; i < img->nmaps; i++) {
		const struct image_map *m = &img->maps[i];
		struct image_module *last = img->nmodules ? &img->modules[img->nmodules - 1] : NULL;

		if (m->path[0] != '/')
			continue;
		if (last && !strcmp(last->path, m->path)) {
			last->end = m->end;
			continue;
		}
		img->modules = realloc(img->modules, (img->nmodules + 1) * sizeof(*img->modules));
		img->modules[img->nmodules++] = (struct image_module){
			.path = strdup(m->path), .start = m->start, .end = m->end, .bias = m->start
		};
	}
}

static void stop_threads(struct image *img)
{
	char name[64];
	struct dirent *e;
	DIR *d;

	snprintf(name, sizeof(name), "/proc/%d/task", (int)img->pid);
	d = opendir(name);
	while (d && (e = readdir(d))) {
		struct image_thread t = { .tid = atoi(e->d_name) };
		struct user_regs_struct r;
		int status;

		if (t.tid <= 0 || ptrace(PTRACE_SEIZE, t.tid, NULL, NULL))
			continue;
		ptrace(PTRACE_INTERRUPT, t.tid, NULL, NULL);
		if (waitpid(t.tid, &status, __WALL) != t.tid ||
		    ptrace(PTRACE_GETREGS, t.tid, NULL, &r)) {
			ptrace(PTRACE_DETACH, t.tid, NULL, NULL);
			continue;
		}
		t.pc = r.rip;
		t.sp = r.rsp;
		t.fp = r.rbp;
		t.tls = r.fs_base;
		img->threads = realloc(img->threads, (img->nthreads + 1) * sizeof(t));
		img->threads[img->nthreads++] = t;
	}
	if (d)
		closedir(d);
}

static void read_auxv(struct image *img)
{
	uint64_t pair[2];
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/auxv", (int)img->pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && read(fd, pair, sizeof(pair)) == sizeof(pair))
		if (pair[0] == 25)
			img->at_random = pair[1];
	if (fd >= 0)
		close(fd);
}

struct image *live_image_new(pid_t pid)
{
	struct image *img = calloc(1, sizeof(*img));
	struct live *l = calloc(1, sizeof(*l));
	char name[64];

	snprintf(name, sizeof(name), "/proc/%d/pagemap", (int)pid);
	img->kind = IMAGE_LIVE;
	img->pid = pid;
	img->exe = img->command = "";
	img->page_size = 4096;
	img->ops = &live_ops;
	img->priv = l;
	l->pagemap = open(name, O_RDONLY | O_CLOEXEC);
	if (l->pagemap < 0) {
		live_release(img);
		return NULL;
	}
	stop_threads(img);
	read_maps(img);
	find_modules(img);
	read_auxv(img);
	if (!img->nthreads || !img->nmaps) {
		live_release(img);
		return NULL;
	}
	return img;
}

uint64_t live_image_brought_in(const struct image *img)
{
	return ((const struct live *)img->priv)->brought_in;
}
