/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can this program be run, and will a preloaded library see its memory?
 *
 * A tracker that silently records nothing is the worst answer, so every reason
 * known beforehand is an error that says what to do instead:
 *
 *     static program       there is no loader that could preload anything
 *     setuid, capabilities the loader ignores LD_PRELOAD for them
 *     other machine, musl  libseep.so belongs to another loader
 *     sanitizers           they bring an allocator of their own and want to be first
 *     script               its interpreter is what runs, so that is checked
 *
 * The ELF file is read with bounded pread()s: it may be anything.
 */
#include "capture/launch.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#define MAX_SCRIPTS 4
#define MAX_PHDRS 256u
#define MAX_STRINGS (32u << 20)

#if defined(__x86_64__)
#define OUR_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OUR_MACHINE EM_AARCH64
#else
#error "which ELF machine is this?"
#endif

static struct seep_error *untrackable(const char *path, const char *why, const char *hint)
{
	return seep_error_hint(seep_error_new(0, "cannot track %s: %s", path, why), "%s", hint);
}

/* ---- finding it ------------------------------------------------------------ */

/* Like the shell: the first match in PATH that can be executed, else the first that cannot. */
static struct seep_error *find_in_path(const char *command, char **ret_path, int *ret_status)
{
	const char *dirs = getenv("PATH");
	_cleanup_free_ char *denied = NULL;
	struct stat st;

	for (const char *p = dirs ? dirs : "/usr/local/bin:/usr/bin:/bin"; p;
	     p = strchr(p, ':') ? strchr(p, ':') + 1 : NULL) {
		_cleanup_free_ char *path = NULL;
		int len = (int)strcspn(p, ":");

		if (asprintf(&path, "%.*s%s%s", len ? len : 1, len ? p : ".", "/", command) < 0) {
			path = NULL;
			return &seep_error_nomem;
		}
		if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		if (access(path, X_OK) == 0) {
			*ret_path = TAKE(path);
			return NULL;
		}
		if (!denied)
			denied = TAKE(path);
	}
	if (denied) {
		*ret_status = LAUNCH_NOT_EXECUTABLE;
		return seep_error_hint(seep_error_new(EACCES, "cannot run %s", denied),
		                       "Make it executable: chmod +x %s", denied);
	}
	*ret_status = LAUNCH_NOT_FOUND;
	return seep_error_hint(seep_error_new(0, "%s: command not found", command),
	                       access(command, F_OK) == 0
	                               ? "A file of that name is here: seep run -- ./%s"
	                               : "PATH holds no program called %s.",
	                       command);
}

static struct seep_error *find(const char *command, char **ret_path, int *ret_status)
{
	struct stat st;

	if (!*command || !strchr(command, '/'))
		return find_in_path(command, ret_path, ret_status);
	if (stat(command, &st) < 0) {
		*ret_status = errno == ENOENT || errno == ENOTDIR ? LAUNCH_NOT_FOUND
		                                                  : LAUNCH_NOT_EXECUTABLE;
		return seep_error_new(errno, "cannot run %s", command);
	}
	*ret_status = LAUNCH_NOT_EXECUTABLE;
	if (S_ISDIR(st.st_mode))
		return seep_error_new(EISDIR, "cannot run %s", command);
	if (!S_ISREG(st.st_mode))
		return seep_error_new(0, "cannot run %s: it is not a regular file", command);
	if (access(command, X_OK) < 0)
		return seep_error_hint(seep_error_new(errno, "cannot run %s", command),
		                       "Make it executable: chmod +x %s", command);
	*ret_path = strdup(command);
	return *ret_path ? NULL : &seep_error_nomem;
}

/* ---- looking into it ---------------------------------------------------------- */

static bool read_at(int fd, void *buf, size_t n, uint64_t at)
{
	return at < INT64_MAX - n && pread(fd, buf, n, (off_t)at) == (ssize_t)n;
}

static const Elf64_Phdr *phdr_of(const Elf64_Phdr *ph, unsigned int n, uint32_t type)
{
	for (unsigned int i = 0; i < n; i++)
		if (ph[i].p_type == type)
			return &ph[i];
	return NULL;
}

/* Where the loader would find vaddr in the file. */
static bool file_offset(const Elf64_Phdr *ph, unsigned int n, uint64_t vaddr, uint64_t *ret_offset)
{
	for (unsigned int i = 0; i < n; i++) {
		if (ph[i].p_type == PT_LOAD && vaddr >= ph[i].p_vaddr &&
		    vaddr - ph[i].p_vaddr < ph[i].p_filesz) {
			*ret_offset = ph[i].p_offset + (vaddr - ph[i].p_vaddr);
			return true;
		}
	}
	return false;
}

/* Whether one of the names is among the program's dynamic symbols. */
static bool has_dynamic_symbol(int fd, const Elf64_Phdr *ph, unsigned int n,
                               const char *const *names)
{
	const Elf64_Phdr *dynamic = phdr_of(ph, n, PT_DYNAMIC);
	uint64_t strtab = 0, size = 0, at;
	_cleanup_free_ char *strings = NULL;
	Elf64_Dyn dyn;

	for (uint64_t i = 0; dynamic && i < dynamic->p_filesz / sizeof(dyn) && i < 4096; i++) {
		if (!read_at(fd, &dyn, sizeof(dyn), dynamic->p_offset + i * sizeof(dyn)) ||
		    dyn.d_tag == DT_NULL)
			break;
		if (dyn.d_tag == DT_STRTAB)
			strtab = dyn.d_un.d_ptr;
		if (dyn.d_tag == DT_STRSZ)
			size = dyn.d_un.d_val;
	}
	if (!size || size > MAX_STRINGS || !file_offset(ph, n, strtab, &at))
		return false;
	strings = malloc(size);
	if (!strings || !read_at(fd, strings, size, at))
		return false;
	for (; *names; names++)
		if (memmem(strings, size, *names, strlen(*names) + 1))
			return true;
	return false;
}

static struct seep_error *check_interpreter(int fd, const char *path, const Elf64_Phdr *interp)
{
	char name[256] = { 0 };
	size_t len = interp->p_filesz < sizeof(name) ? interp->p_filesz : sizeof(name) - 1;
	const char *base;

	if (!read_at(fd, name, len, interp->p_offset))
		return seep_error_new(0, "cannot run %s: it is damaged", path);
	name[sizeof(name) - 1] = '\0';
	base = strrchr(name, '/');
	base = base ? base + 1 : name;
	if (!strncmp(base, "ld-musl", 7))
		return untrackable(path, "it is linked with musl, and libseep.so with glibc",
		                   "Build the program for glibc to track it.");
	if (access(name, X_OK) < 0)
		return seep_error_new(errno, "cannot run %s: its loader %s", path, name);
	return NULL;
}

static struct seep_error *check_elf(int fd, const char *path)
{
	static const char *const sanitizers[] = { "__asan_init", "__hwasan_init", "__tsan_init",
		                                  "__msan_init", "__lsan_init",   NULL };
	_cleanup_free_ Elf64_Phdr *ph = NULL;
	const Elf64_Phdr *interp;
	const char *base = strrchr(path, '/');
	struct seep_error *err;
	unsigned int n;
	Elf64_Ehdr eh;

	if (!read_at(fd, &eh, sizeof(eh), 0))
		return seep_error_new(ENOEXEC, "cannot run %s", path);
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh.e_machine != OUR_MACHINE)
		return untrackable(
			path,
			eh.e_ident[EI_CLASS] == ELFCLASS32 ? "it is a 32-bit program"
							   : "it is made for another processor",
			"libseep.so can be loaded only into programs of its own architecture.");
	n = eh.e_phnum;
	if (eh.e_phentsize != sizeof(*ph) || !n || n > MAX_PHDRS)
		return seep_error_new(ENOEXEC, "cannot run %s", path);
	ph = calloc(n, sizeof(*ph));
	if (!ph)
		return &seep_error_nomem;
	if (!read_at(fd, ph, n * sizeof(*ph), eh.e_phoff))
		return seep_error_new(ENOEXEC, "cannot run %s: it is cut short", path);
	interp = phdr_of(ph, n, PT_INTERP);
	if (!interp) {
		/* The loader itself has no interpreter and preloads all the same: ld.so ./program */
		if (!strncmp(base ? base + 1 : path, "ld-", 3) ||
		    !strncmp(base ? base + 1 : path, "ld.so", 5))
			return NULL;
		return untrackable(
			path, "it is a static program, and nothing can be preloaded into one",
			"Link it dynamically (without -static), or watch the allocator inside it from outside "
			"with uprobes: perf probe, bpftrace, memleak -O.");
	}
	err = check_interpreter(fd, path, interp);
	if (err)
		return err;
	if (has_dynamic_symbol(fd, ph, n, sanitizers))
		return untrackable(
			path, "it is built with a sanitizer, which brings an allocator of its own",
			"Build it without -fsanitize=address, thread, memory or leak.");
	return NULL;
}

/* Programs that get other rights than we have are loaded in secure mode. */
static struct seep_error *check_rights(int fd, const char *path)
{
	struct statvfs fs;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return seep_error_new(errno, "cannot look at %s", path);
	if (fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_NOSUID))
		return NULL;
	if (((st.st_mode & S_ISUID) && st.st_uid != geteuid()) ||
	    ((st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getegid()))
		return untrackable(
			path,
			"it is setuid or setgid, and the loader ignores LD_PRELOAD for such programs",
			"Run seep as the user the program would become (sudo seep run ...), or track a copy "
			"without the setuid bit.");
	if (geteuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
		return untrackable(
			path,
			"it has file capabilities, and the loader ignores LD_PRELOAD for such programs",
			"Run seep as root, or track a copy without capabilities (cp drops them).");
	return NULL;
}

/* "#!/usr/bin/env -S x" → "/usr/bin/env" in place; NULL when this is no script. */
static char *script_interpreter(char *head)
{
	char *p = head + 2;

	if (head[0] != '#' || head[1] != '!')
		return NULL;
	p += strspn(p, " \t");
	p[strcspn(p, " \t\r\n")] = '\0';
	return *p ? p : NULL;
}

static struct seep_error *check_file(const char *path, unsigned int scripts, int *ret_status)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char head[258] = { 0 };
	struct seep_error *err;
	char *interp;

	*ret_status = LAUNCH_NOT_EXECUTABLE;
	if (fd < 0) {
		/* Executable but not readable: it will run, but nothing can be said beforehand. */
		if (errno == EACCES && access(path, X_OK) == 0)
			return NULL;
		return seep_error_new(errno, "cannot open the program %s", path);
	}
	if (pread(fd, head, sizeof(head) - 2, 0) < 0)
		return seep_error_new(errno, "cannot read the program %s", path);
	interp = script_interpreter(head);
	if (interp) {
		if (!scripts)
			return seep_error_new(ELOOP, "cannot run %s", path);
		if (access(interp, X_OK) < 0)
			return seep_error_new(errno, "cannot run %s: its interpreter %s", path,
			                      interp);
		err = check_file(interp, scripts - 1, ret_status);
		return err ? seep_error_wrap(err, "the script %s", path) : NULL;
	}
	if (memcmp(head, ELFMAG, SELFMAG) != 0)
		return seep_error_hint(seep_error_new(ENOEXEC, "cannot run %s", path),
		                       "It is neither a program nor a script that begins with #!.");
	*ret_status = LAUNCH_NOT_TRACKABLE;
	err = check_rights(fd, path);
	if (!err)
		err = check_elf(fd, path);
	if (err && err->code == ENOEXEC)
		*ret_status = LAUNCH_NOT_EXECUTABLE;
	return err;
}

struct seep_error *launch_check(const char *command, char **ret_path, int *ret_status)
{
	_cleanup_free_ char *path = NULL;
	struct seep_error *err = find(command, &path, ret_status);

	if (!err)
		err = check_file(path, MAX_SCRIPTS, ret_status);
	if (err)
		return err;
	*ret_path = TAKE(path);
	return NULL;
}
