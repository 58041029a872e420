/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the right file, and never the wrong one.
 *
 * Wrong symbols are worse than none: a library updated while its user runs, or a
 * report made a day later, gives names that look right and are not.  So a candidate
 * counts only when its build-id is the recorded one; without a build-id its inode
 * and time of change must be; a debug file must carry the build-id it was asked for,
 * or match the checksum in .gnu_debuglink.
 *
 * Paths of a live target mean something in its root only (containers, chroot), and a
 * symlink there may be absolute, so they are opened with openat2(RESOLVE_IN_ROOT),
 * which resolves as the target would.  What a running target maps can be read even
 * when its file was deleted or replaced: /proc/PID/map_files still has it.
 */
#include "sym/locate.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"
#include "sym/debuginfod.h"
#include "sym/sym.h"
#include "sym/symfile.h"

#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>

#define DELETED " (deleted)"
#define STANDARD_DEBUG_DIR "/usr/lib/debug"
#define MAX_MAPS_LINES 1000000

/* ---- opening ---------------------------------------------------------- */

void locator_init(struct locator *loc, const struct sym_options *opts)
{
	char path[64];

	*loc = (struct locator){ .opts = opts, .root_fd = -1, .proc_fd = -1 };
	if (opts->pid > 0) {
		snprintf(path, sizeof(path), "/proc/%d", opts->pid);
		loc->proc_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (opts->sysroot)
		loc->root_fd = open(opts->sysroot, O_PATH | O_DIRECTORY | O_CLOEXEC);
	else if (loc->proc_fd >= 0)
		loc->root_fd = openat(loc->proc_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void locator_release(struct locator *loc)
{
	seep_closep(&loc->root_fd);
	seep_closep(&loc->proc_fd);
	loc->root_fd = loc->proc_fd = -1;
}

static int open_beneath(int root, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)flags,
		                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

	if (fd < 0 && errno == ENOSYS) { /* before Linux 5.6: absolute symlinks may mislead */
		while (*path == '/')
			path++;
		fd = openat(root, path, flags);
	}
	return (int)fd;
}

int locate_open(const struct locator *loc, const char *path, bool in_root)
{
	/* O_NONBLOCK: opening a FIFO returns at once; it has no effect on files */
	int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd;
	struct stat st;

	if (in_root && loc->root_fd < 0)
		return -ENOENT;
	fd = in_root ? open_beneath(loc->root_fd, path, flags) : open(path, flags);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

bool locate_is_file(const char *path)
{
	return path[0] == '/' && path[1] != '/' && strncmp(path, "/dev/zero", 9) != 0 &&
	       strncmp(path, "/SYSV", 5) != 0 && strncmp(path, "/anon_hugepage", 14) != 0;
}

/* ---- the module's own file -------------------------------------------- */

static bool same_id(const struct symfile *f, const uint8_t *id, size_t len)
{
	return f->build_id_len == len && !memcmp(f->build_id, id, len);
}

size_t locate_id_len(const struct prof_module *m)
{
	return m->build_id_len <= sizeof(m->build_id) ? m->build_id_len : 0;
}

enum match { IS_IT, IS_UNVERIFIED, IS_ANOTHER };

static enum match compare(const struct symfile *f, const struct prof_module *m)
{
	uint64_t mtime = (uint64_t)f->st.st_mtim.tv_sec * 1000000000u +
	                 (uint64_t)f->st.st_mtim.tv_nsec;

	size_t len = locate_id_len(m), room = sizeof(m->build_id);

	if (len == room && f->build_id_len > room) /* a longer build-id is recorded cut */
		return memcmp(f->build_id, m->build_id, room) ? IS_ANOTHER : IS_IT;
	if (len)
		return same_id(f, m->build_id, len) ? IS_IT : IS_ANOTHER;
	if (!m->inode && !m->mtime_ns)
		return IS_UNVERIFIED;
	/* The device is no evidence: overlayfs and btrfs show one number in maps, another in stat. */
	return m->inode == f->st.st_ino && (!m->mtime_ns || m->mtime_ns == mtime) ? IS_IT
	                                                                          : IS_ANOTHER;
}

FILE *locate_stream(int proc_fd, const char *name)
{
	int fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
	FILE *f = fd >= 0 ? fdopen(fd, "re") : NULL;

	if (!f && fd >= 0)
		close(fd);
	return f;
}

/* "LO-HI PERMS OFFSET MAJ:MIN INODE PATH": the range and the inode.  False: not such a line. */
static bool parse_mapping(const char *line, uint64_t *ret_lo, uint64_t *ret_hi, uint64_t *ret_inode)
{
	char *end;
	int field;

	*ret_lo = strtoull(line, &end, 16);
	if (*end != '-')
		return false;
	*ret_hi = strtoull(end + 1, &end, 16);
	for (field = 0; field < 3 && *end == ' '; field++) /* permissions, offset, device */
		end += 1 + strcspn(end + 1, " ");
	*ret_inode = strtoull(end, &end, 10);
	return field == 3;
}

static int open_mapped(const struct locator *loc, const struct prof_module *m)
{
	_cleanup_fclose_ FILE *maps = locate_stream(loc->proc_fd, "maps");
	char line[PATH_MAX + 128], link[80];
	unsigned int lines = 0;
	uint64_t lo, hi, inode;

	while (maps && lines++ < MAX_MAPS_LINES && fgets(line, sizeof(line), maps)) {
		if (!parse_mapping(line, &lo, &hi, &inode) || !inode || lo < m->start ||
		    lo >= m->end)
			continue;
		snprintf(link, sizeof(link), "map_files/%" PRIx64 "-%" PRIx64, lo, hi);
		return openat(loc->proc_fd, link, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	}
	return -1;
}

struct candidate {
	struct symfile *file;
	enum match match;
	char *why; /* why the file could not be used; the last one */
};

/* Looks at one opened file; true when the search is over. */
static bool consider(struct candidate *c, int fd, const char *path, const struct prof_module *m)
{
	struct seep_error *err;
	struct symfile *f;
	enum match match;

	if (fd < 0)
		return false;
	err = symfile_open_fd(fd, path, &f);
	if (err) {
		free(c->why);
		c->why = strdup(err->message);
		seep_error_free(err);
		return false;
	}
	match = compare(f, m);
	if (c->file && match == IS_ANOTHER) {
		symfile_close(f);
		return false;
	}
	symfile_close(c->file);
	c->file = f;
	c->match = match;
	return match != IS_ANOTHER;
}

static void warn_changed(struct warnings *warn, const struct prof_module *m, const struct symfile *f)
{
	char then[2 * SYMFILE_MAX_BUILD_ID + 1], now[2 * SYMFILE_MAX_BUILD_ID + 1];

	if (!locate_id_len(m)) {
		warnings_add(warn,
		             "%s changed since the recording (it carries no build-id; its inode or "
		             "time of change differ): its symbols are left out",
		             m->path);
		return;
	}
	symfile_hex(m->build_id, locate_id_len(m), then);
	symfile_hex(f->build_id, f->build_id_len, now);
	warnings_add(warn,
	             "%s changed since the recording (build-id %.12s then, %.12s now): its symbols "
	             "are left out; put the recorded file under a directory and name it with the sysroot "
	             "option, or install the debug package of that build",
	             m->path, then, f->build_id_len ? now : "none");
}

struct symfile *locate_module(const struct locator *loc, const struct prof_module *m,
                              struct warnings *warn, bool *ret_unverified)
{
	struct candidate c = { .match = IS_ANOTHER };
	_cleanup_free_ char *path = strdup(m->path);
	size_t len;
	bool found;

	*ret_unverified = false;
	if (!path)
		return NULL;
	len = strlen(path);
	if (len > strlen(DELETED) && !strcmp(path + len - strlen(DELETED), DELETED))
		path[len - strlen(DELETED)] = 0;
	found = consider(&c, locate_open(loc, path, true), path, m);
	if (!found && !loc->opts->sysroot)
		found = consider(&c, locate_open(loc, path, false), path, m);
	if (!found && loc->proc_fd >= 0) {
		found = consider(&c, open_mapped(loc, m), path, m);
		if (!found && c.file == NULL)
			found = consider(
				&c, openat(loc->proc_fd, "exe", O_RDONLY | O_CLOEXEC | O_NONBLOCK),
				path, m);
	}
	if (!found) {
		if (c.file)
			warn_changed(warn, m, c.file);
		else if (c.why)
			warnings_add(warn, "%s cannot be used: its symbols are left out", c.why);
		symfile_close(c.file);
		c.file = NULL;
	}
	*ret_unverified = found && c.match == IS_UNVERIFIED;
	free(c.why);
	return c.file;
}

/* ---- separate debug files --------------------------------------------- */

static bool crc_matches(int fd, uint32_t want)
{
	_cleanup_free_ unsigned char *block = malloc(1 << 20);
	uLong crc = crc32(0, NULL, 0);
	off_t at = 0;
	ssize_t n;

	if (!block)
		return false;
	while ((n = pread(fd, block, 1 << 20, at)) > 0) {
		crc = crc32(crc, block, (uInt)n);
		at += n;
	}
	return n == 0 && crc == want;
}

/* A debug file is worth having for its lines or, at least, its symbols. */
static struct symfile *accept_debug(int fd, const char *path, const uint8_t *id, size_t id_len,
                                    struct warnings *warn)
{
	struct seep_error *err;
	struct symfile *f;

	if (fd < 0)
		return NULL;
	err = symfile_open_fd(fd, path, &f);
	if (err) {
		warnings_add(warn, "%s: not used as debug information", err->message);
		seep_error_free(err);
		return NULL;
	}
	if (id_len && !same_id(f, id, id_len)) {
		warnings_add(warn, "%s has another build-id than its program: not used", path);
		symfile_close(f);
		return NULL;
	}
	if (!f->has_dwarf && !f->has_symtab) {
		symfile_close(f);
		return NULL;
	}
	return f;
}

/* Calls `try` with every debug directory until it returns a file. */
static struct symfile *in_debug_dirs(const struct locator *loc,
                                     struct symfile *(*try)(const struct locator *, const char *dir,
                                                            bool in_root, void *),
                                     void *arg)
{
	const char *const *dir = loc->opts->debug_dirs;
	struct symfile *f = NULL;

	for (; dir && *dir && !f; dir++)
		f = try(loc, *dir, false, arg);
	if (!f && loc->root_fd >= 0)
		f = try(loc, STANDARD_DEBUG_DIR, true, arg);
	if (!f)
		f = try(loc, STANDARD_DEBUG_DIR, false, arg);
	return f;
}

struct wanted {
	const uint8_t *id;
	size_t id_len;
	const char *dir, *link; /* debuglink: the program's directory, the file's name */
	uint32_t crc;
	struct warnings *warn;
};

static struct symfile *try_build_id(const struct locator *loc, const char *dir, bool in_root,
                                    void *arg)
{
	const struct wanted *w = arg;
	char hex[2 * SYMFILE_MAX_BUILD_ID + 1], path[PATH_MAX];

	symfile_hex(w->id, w->id_len, hex);
	if (snprintf(path, sizeof(path), "%s/.build-id/%.2s/%s.debug", dir, hex, hex + 2) >= PATH_MAX)
		return NULL;
	return accept_debug(locate_open(loc, path, in_root), path, w->id, w->id_len, w->warn);
}

static struct symfile *try_link_path(const struct locator *loc, const char *path, bool in_root,
                                     const struct wanted *w)
{
	int fd = locate_open(loc, path, in_root);

	if (fd < 0)
		return NULL;
	if (!crc_matches(fd, w->crc)) {
		warnings_add(w->warn,
		             "%s does not match the checksum in its program's .gnu_debuglink: not "
		             "used; install the debug file of that build",
		             path);
		close(fd);
		return NULL;
	}
	return accept_debug(fd, path, w->id, w->id_len, w->warn);
}

static struct symfile *try_link_dir(const struct locator *loc, const char *dir, bool in_root,
                                    void *arg)
{
	const struct wanted *w = arg;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s%s/%s", dir, w->dir, w->link) >= PATH_MAX)
		return NULL;
	return try_link_path(loc, path, in_root, w);
}

static struct symfile *beside(const struct locator *loc, const struct wanted *w)
{
	static const char *const between[] = { "/", "/.debug/" };
	char path[PATH_MAX];
	struct symfile *f = NULL;
	size_t i;
	int root;

	for (root = loc->root_fd >= 0; root >= 0 && !f; root--)
		for (i = 0; i < ARRAY_SIZE(between) && !f; i++)
			if (snprintf(path, sizeof(path), "%s%s%s", w->dir, between[i], w->link) <
			    PATH_MAX)
				f = try_link_path(loc, path, root, w);
	return f;
}

struct symfile *locate_debug(const struct locator *loc, const char *path, const struct symfile *main,
                             const uint8_t *id, size_t id_len, struct warnings *warn)
{
	struct wanted w = { .id = id, .id_len = id_len, .warn = warn };
	_cleanup_free_ char *dir = strdup(path);
	struct symfile *f = NULL;
	GElf_Word crc = 0;
	char hex[2 * SYMFILE_MAX_BUILD_ID + 1];
	char *slash;

	if (!dir)
		return NULL;
	if (id_len > 1)
		f = in_debug_dirs(loc, try_build_id, &w);
	w.link = main ? dwelf_elf_gnu_debuglink(main->elf, &crc) : NULL;
	slash = strrchr(dir, '/');
	/* A link is a plain file name; with a '/' in it somebody wants us elsewhere. */
	if (!f && w.link && *w.link && !strchr(w.link, '/') && slash) {
		*slash = 0;
		w.dir = dir;
		w.crc = crc;
		f = beside(loc, &w);
		if (!f)
			f = in_debug_dirs(loc, try_link_dir, &w);
	}
	if (!f && id_len > 1 && !loc->opts->no_debuginfod) {
		symfile_hex(id, id_len, hex);
		f = accept_debug(debuginfod_fetch(id, id_len, warn), hex, id, id_len, warn);
	}
	return f;
}

static struct symfile *open_alt(const struct locator *loc, const char *path, bool in_root,
                                const struct symfile *debug)
{
	int fd = locate_open(loc, path, in_root);
	struct seep_error *err;
	struct symfile *f;

	if (fd < 0)
		return NULL;
	err = symfile_open_fd(fd, path, &f);
	if (err) {
		seep_error_free(err);
		return NULL;
	}
	if (same_id(f, debug->alt_id, debug->alt_id_len))
		return f;
	symfile_close(f);
	return NULL;
}

struct symfile *locate_alt(const struct locator *loc, const struct symfile *debug)
{
	char hex[2 * SYMFILE_MAX_BUILD_ID + 1], path[PATH_MAX];
	const char *name = debug->alt_name, *slash = strrchr(debug->path, '/');
	int dir_len = slash && name[0] != '/' ? (int)(slash - debug->path) + 1 : 0, root;
	struct symfile *f = NULL;

	symfile_hex(debug->alt_id, debug->alt_id_len, hex);
	for (root = loc->root_fd >= 0; root >= 0 && !f; root--) {
		snprintf(path, sizeof(path), "%s/.build-id/%.2s/%s.debug", STANDARD_DEBUG_DIR, hex,
		         hex + 2);
		f = open_alt(loc, path, root, debug);
		/* relative names start at the debug file */
		if (!f &&
		    snprintf(path, sizeof(path), "%.*s%s", dir_len, debug->path, name) < PATH_MAX)
			f = open_alt(loc, path, root, debug);
	}
	return f;
}
