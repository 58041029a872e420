/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two files a target is given: the tracker, and its ledger.
 *
 * Both are opened here and passed as open files, so the target needs no path to either: it may live in another
 * root, another mount namespace, as another user, on a read-only file system.  The ledger stays where seep put it
 * when the target, or its whole container, is gone.
 *
 * The library is named by its path where the target sees the same file under it, which looks better in
 * debuggers; else it is /proc/self/fd/N, and where the target's user may not read the file, a copy in memory.
 */
#include "capture/inject_private.h"
#include "capture/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "proc/procfs.h"

#define STANDARD_PLACE "/dev/shm"

/* ---- the ledger ------------------------------------------------------------------ */

/* /dev/shm/seep-UID of the target's user, made when it is missing. */
static struct seep_error *standard_dir(uid_t uid, char **ret_dir, int *ret_fd)
{
	_cleanup_free_ char *dir = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (asprintf(&dir, STANDARD_PLACE "/seep-%u", (unsigned int)uid) < 0) {
		dir = NULL;
		return &seep_error_nomem;
	}
	if (!mkdir(dir, 0700)) {
		if (uid != geteuid() && lchown(dir, uid, (gid_t)-1))
			return seep_error_new(errno, "cannot give %s to its user", dir);
	} else if (errno != EEXIST) {
		return seep_error_hint(seep_error_new(errno, "cannot make the ledger directory %s",
		                                      dir),
		                       "Choose another one with --ledger-dir.");
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return seep_error_new(errno, "cannot use the ledger directory %s", dir);
	if (st.st_uid != uid || st.st_mode & 022)
		return seep_error_hint(
			seep_error_new(0, "%s does not belong to user %u alone", dir,
		                       (unsigned int)uid),
			"Somebody else may have made it; choose another directory with --ledger-dir.");
	*ret_dir = TAKE(dir);
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

static struct seep_error *given_dir(const char *given, char **ret_dir, int *ret_fd)
{
	_cleanup_free_ char *dir = realpath(given, NULL);
	_cleanup_close_ int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd < 0)
		return seep_error_hint(seep_error_new(errno, "cannot use the ledger directory %s",
		                                      given),
		                       "It must exist: mkdir -p %s", given);
	*ret_dir = TAKE(dir);
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

struct seep_error *inject_ledger_make(struct inject_target *t, const char *given)
{
	struct attach_request *rq = &t->request;
	_cleanup_close_ int dirfd = -1;
	_cleanup_free_ char *dir = NULL;
	struct procfs_status st;
	struct seep_error *err;
	unsigned int seq;
	int fd = -1, n;

	if (procfs_status(t->pid, &st))
		return seep_error_new(ESRCH, "process %d is not there", (int)t->pid);
	err = given ? given_dir(given, &dir, &dirfd) : standard_dir(st.uid, &dir, &dirfd);
	if (err)
		return err;
	for (seq = 0; seq < 10000 && fd < 0; seq++) {
		char name[64];

		snprintf(name, sizeof(name), "%d.%u.ledger", (int)t->pid, seq);
		fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0 && errno != EEXIST)
			break;
		n = snprintf(rq->ledger_path, sizeof(rq->ledger_path), "%s/%s", dir, name);
		if (fd >= 0 && n >= (int)sizeof(rq->ledger_path)) {
			unlinkat(dirfd, name, 0);
			close(fd);
			return seep_error_new(ENAMETOOLONG, "%s", dir);
		}
	}
	if (fd < 0)
		return seep_error_hint(seep_error_new(errno, "cannot make a ledger in %s", dir),
		                       "Choose another directory with --ledger-dir.");
	/* Its user should be able to read it; where that cannot be, root reads it. */
	if (st.uid != geteuid() && fchown(fd, st.uid, (gid_t)-1))
		errno = 0;
	rq->pid = t->pid;
	rq->uid = st.uid;
	t->ledger_fd = fd;
	return NULL;
}

/* ---- the library -------------------------------------------------------------------- */

/* Whether the target finds this very file under the same path, and may read it. */
static bool sees(const struct inject_target *t, const char *path, const struct stat *st)
{
	_cleanup_free_ char *there = NULL;
	struct procfs_status status;
	struct stat other;

	if (asprintf(&there, "/proc/%d/root%s", (int)t->pid, path) < 0) {
		there = NULL;
		return false;
	}
	if (stat(there, &other) || other.st_dev != st->st_dev || other.st_ino != st->st_ino)
		return false;
	/* A directory on the way may be closed to another user. */
	return !procfs_status(t->pid, &status) && (status.uid == geteuid() || status.uid == 0) &&
	       !inject_foreign_user(t->pid);
}

static int copy_of(int fd, const struct stat *st)
{
	_cleanup_close_ int copy = memfd_create("libseep.so", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	off_t at = 0;

	if (copy < 0)
		return -1;
	while (at < st->st_size)
		if (sendfile(copy, fd, &at, (size_t)(st->st_size - at)) <= 0)
			return -1;
	fchmod(copy, 0555);
	fcntl(copy, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	return TAKE_FD(copy);
}

/* The build for musl lies beside the other. */
static struct seep_error *find_library(bool musl, char **ret_path)
{
	_cleanup_free_ char *path = NULL, *beside = NULL;
	struct seep_error *err = launch_find_library(&path);
	char *slash;

	if (err || !musl) {
		*ret_path = TAKE(path);
		return err;
	}
	slash = strrchr(path, '/');
	if (asprintf(&beside, "%.*slibseep-musl.so", (int)(slash ? slash + 1 - path : 0), path) < 0) {
		beside = NULL;
		return &seep_error_nomem;
	}
	if (access(beside, R_OK))
		return seep_error_hint(
			seep_error_new(errno, "cannot use the tracker for musl, %s", beside),
			"seep builds it where musl-gcc is found; uprobes need none: --bpf.");
	*ret_path = TAKE(beside);
	return NULL;
}

bool inject_library_exists(bool musl)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_error_ struct seep_error *err = find_library(musl, &path);

	return !err;
}

struct seep_error *inject_library_choose(struct inject_target *t, const char *given)
{
	struct attach_request *rq = &t->request;
	_cleanup_free_ char *found = NULL;
	_cleanup_close_ int fd = -1;
	const char *path = given;
	struct seep_error *err;
	struct stat st;

	if (!path) {
		err = find_library(t->musl, &found);
		if (err)
			return err;
		path = found;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return seep_error_new(errno, "cannot read the tracker %s", path);
	if (path[0] == '/' && strlen(path) < sizeof(rq->library) && sees(t, path, &st)) {
		strcpy(rq->library, path);
		return NULL;
	}
	if (!(st.st_mode & S_IROTH) || inject_foreign_user(t->pid)) {
		int copy = copy_of(fd, &st);

		if (copy < 0)
			return seep_error_new(errno, "cannot copy the tracker %s", path);
		close(fd);
		fd = copy;
	}
	t->library_fd = TAKE_FD(fd);
	return NULL; /* its name is made when its number is known */
}

/* ---- namespaces ----------------------------------------------------------------------- */

static bool same_namespace(pid_t pid, const char *name)
{
	char path[64];
	struct stat a, b;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	if (stat(path, &a))
		return true; /* a kernel without */
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
	return !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool inject_foreign_user(pid_t pid)
{
	return !same_namespace(pid, "user");
}

bool inject_foreign_time(pid_t pid)
{
	return !same_namespace(pid, "time");
}
