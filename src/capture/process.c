/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the writer of a ledger still there?
 *
 * A pid alone says nothing: pids come again, and a process that calls exec() keeps
 * its pid and start time while its memory, and the ledger with it, is over.  So
 * three things are compared: the machine's boot id, the start time the kernel
 * keeps for the pid, and whether the ledger's file is still mapped.  Where maps
 * may not be read (another user's process) the first two have to do.
 */
#include "capture/process.h"

#include "base/cleanup.h"
#include "base/parse.h"
#include "proc/guardian.h"
#include "proc/procfs.h"
#include "wire/ledger.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The running kernel's boot id as 16 bytes; false when it cannot be read. */
static bool boot_id(uint8_t ret_id[16])
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	unsigned int n = 0;
	int c;

	if (!f)
		return false;
	while (n < 32 && (c = getc(f)) != EOF && c != '\n') {
		unsigned int v;

		if (c == '-')
			continue;
		if (!isxdigit(c))
			return false;
		v = isdigit(c) ? (unsigned int)(c - '0') : (unsigned int)(tolower(c) - 'a' + 10);
		ret_id[n / 2] = (uint8_t)(n % 2 ? ret_id[n / 2] | v : v << 4);
		n++;
	}
	return n == 32;
}

int process_stat(pid_t pid, uint64_t *ret_start_ticks, char *ret_state, uint64_t *ret_threads)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[1024];
	unsigned long long threads, start;
	char state;
	const char *p;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	n = fread(line, 1, sizeof(line) - 1, f);
	line[n] = '\0';
	p = strrchr(line, ')'); /* the name before may hold anything */
	if (!p ||
	    sscanf(p + 1,
	           " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %llu %*d %llu",
	           &state, &threads, &start) != 3)
		return n ? -EPROTO : -ESRCH;
	*ret_start_ticks = start;
	*ret_state = state;
	*ret_threads = threads;
	return 0;
}

bool process_is_clone(pid_t pid, pid_t tracer)
{
	uint64_t start, since, threads;
	struct procfs_status st;
	char state;

	if (!tracer || procfs_status(tracer, &st) < 0 || strcmp(st.name, GUARDIAN_NAME) != 0)
		return false;
	/* What it looks at was there before; in one tick of 10 ms the copy can have been made, and hardly a program begun. */
	return process_stat(pid, &start, &state, &threads) == 0 &&
	       process_stat(tracer, &since, &state, &threads) == 0 && start >= since;
}

int process_open_statm(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? fd : errno == ENOENT ? -ESRCH : -errno;
}

int process_read_rss(int statm, uint64_t *ret_bytes)
{
	unsigned long long size, resident;
	char line[128];
	ssize_t n = pread(statm, line, sizeof(line) - 1, 0);

	if (n < 0)
		return -errno;
	line[n] = '\0';
	if (sscanf(line, "%llu %llu", &size, &resident) != 2)
		return -EPROTO;
	if (!size)
		return -ESRCH; /* a zombie */
	*ret_bytes = (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}

static FILE *open_maps(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	return fopen(path, "re");
}

int process_maps_file(pid_t pid, const struct stat *st)
{
	_cleanup_fclose_ FILE *f = open_maps(pid);
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;
	bool any = false;

	if (!f)
		return -errno;
	errno = 0;
	while (getline(&line, &cap, f) > 0) {
		unsigned int major, minor;
		unsigned long long inode;

		any = true;
		/* Some file systems (btrfs, overlayfs) show another device here than in stat: the inode decides. */
		if (sscanf(line, "%*x-%*x %*s %*x %x:%x %llu", &major, &minor, &inode) == 3 &&
		    inode == st->st_ino &&
		    (makedev(major, minor) == st->st_dev || strstr(line, ".ledger")))
			return 1;
	}
	if (ferror(f))
		return errno ? -errno : -EIO;
	return any ? 0 : -ENODATA; /* a zombie leader's maps are empty */
}

int process_find_mapping(pid_t pid, const char *suffix, unsigned int nth, char **ret_path)
{
	_cleanup_fclose_ FILE *f = open_maps(pid);
	_cleanup_free_ char *line = NULL;
	size_t cap = 0, want = strlen(suffix);
	ssize_t n;

	if (!f)
		return -errno;
	while ((n = getline(&line, &cap, f)) > 0) {
		const char *path = strchr(line, '/');
		size_t len;

		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		if (!path)
			continue;
		len = strlen(path);
		if (len > want && !strcmp(path + len - want, suffix) && !nth--) {
			*ret_path = strdup(path);
			return *ret_path ? 0 : -ENOMEM;
		}
	}
	return -ENOENT;
}

bool process_runs_us(pid_t pid)
{
	struct stat ours, theirs;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return stat("/proc/self/exe", &ours) == 0 && stat(path, &theirs) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

static bool is_collector(pid_t pid)
{
	char path[64], name[32] = "";
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, name, sizeof(name) - 1);
	close(fd);
	return n > 0 && !strcmp(name, PROCESS_COLLECTOR "\n") && process_runs_us(pid);
}

char *process_collector_ledger(pid_t pid)
{
	char *found = NULL, wanted[32];
	DIR *proc = opendir("/proc");
	struct dirent *e;

	snprintf(wanted, sizeof(wanted), "/%d.", (int)pid);
	while (proc && !found && (e = readdir(proc))) {
		_cleanup_free_ char *path = NULL;
		const char *slash;
		uint64_t one;

		if (parse_u64(e->d_name, &one) < 0 || one > INT32_MAX || !is_collector((pid_t)one) ||
		    process_find_mapping((pid_t)one, ".ledger", 0, &path) < 0)
			continue;
		slash = strrchr(path, '/');
		if (slash && !strncmp(slash, wanted, strlen(wanted)))
			found = TAKE(path);
	}
	if (proc)
		closedir(proc);
	return found;
}

enum writer_state writer_state(const struct ledger_header *h, const struct stat *st)
{
	static const uint8_t unknown[16];
	uint8_t here[16] = { 0 };
	uint64_t start, threads;
	char state;
	int r;

	if (h->pid <= 0 || ledger_is_closed(h->state))
		return WRITER_GONE;
	if (memcmp(h->boot_id, unknown, 16) != 0 && boot_id(here) &&
	    memcmp(h->boot_id, here, 16) != 0)
		return WRITER_GONE;
	if (process_stat(h->pid, &start, &state, &threads) < 0)
		return WRITER_GONE;
	if (h->start_ticks && start != h->start_ticks)
		return WRITER_GONE;
	/* A zombie is dead, unless only its first thread has ended. */
	if ((state == 'Z' || state == 'X') && threads <= 1)
		return WRITER_GONE;
	/* A collector writes it: it must be there too. */
	if (h->flags & LEDGER_F_OUTSIDE)
		return h->writer_pid > 0 &&
		                       process_stat(h->writer_pid, &start, &state, &threads) == 0 &&
		                       start == h->writer_start_ticks && state != 'Z'
		               ? WRITER_RUNNING
		               : WRITER_GONE;
	r = process_maps_file(h->pid, st);
	return r == 0 ? WRITER_LEFT : WRITER_RUNNING;
}
