/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refusals.  "Operation not permitted" has at least five causes with five different ways out; most can be
 * told apart by what /proc shows to everybody.
 */
#include "proc/refusal.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "proc/guardian.h"
#include "proc/procfs.h"

#define STILL_WORKS                                                                              \
	"without any permission `seep run --check` checks a program it starts, and a core file " \
	"can be checked by whoever can read it"

#define PATIENCE_MS 3000 /* with another seep */
#define LOOK_MS 5

static struct seep_error *gone(pid_t pid)
{
	return seep_error_hint(seep_error_new(ESRCH, "process %d is not there", (int)pid),
	                       "it has ended, or lives in another PID namespace; `ps -e` lists "
	                       "the processes of this one");
}

static struct seep_error *zombie(pid_t pid, const struct procfs_status *st)
{
	return seep_error_hint(
		seep_error_new(0, "process %d (%s) has ended and has no memory any more", (int)pid,
	                       st->name),
		"a core file it may have left can be checked; next time `seep run --check` sees the end");
}

static struct seep_error *traced(pid_t pid, const struct procfs_status *st)
{
	struct procfs_status tracer;
	struct seep_error *err;

	if (procfs_status(st->tracer, &tracer))
		snprintf(tracer.name, sizeof(tracer.name), "unknown");
	err = seep_error_new(0, "process %d (%s) is traced by process %d (%s)", (int)pid, st->name,
	                     (int)st->tracer, tracer.name);
	return seep_error_hint(
		seep_error_set_code(err, EBUSY),
		"only one program can trace a process: let that one detach (a debugger: `detach`), or "
		"let it write a core (gdb: `generate-core-file`) and check that");
}

static bool is_seep(pid_t tracer)
{
	struct procfs_status st;

	return !procfs_status(tracer, &st) && !strcmp(st.name, GUARDIAN_NAME);
}

/* Whether it is traced by somebody who stays: a debugger, or a seep that has not let go in time. */
static bool stays_traced(pid_t pid, struct procfs_status *st)
{
	const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000l };

	for (unsigned int i = 0; st->tracer && i < PATIENCE_MS / LOOK_MS && is_seep(st->tracer);
	     i++) {
		nanosleep(&pause, NULL);
		if (procfs_status(pid, st))
			return false; /* what follows says that it is gone */
	}
	return st->tracer != 0;
}

static bool may_trace_all(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capget, &head, data) == 0 &&
	       data[CAP_SYS_PTRACE / 32].effective >> CAP_SYS_PTRACE % 32 & 1;
}

/* EI_CLASS and e_machine of the executable; 0 when it cannot be read. */
static int class_of(pid_t pid)
{
	unsigned char ident[EI_NIDENT];
	char path[64];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || read(fd, ident, sizeof(ident)) != sizeof(ident) ||
	    memcmp(ident, ELFMAG, SELFMAG) != 0)
		return 0;
	return ident[EI_CLASS];
}

static struct seep_error *wrong_class(pid_t pid)
{
	return seep_error_hint(
		seep_error_new(0, "process %d is a 32-bit program; seep reads 64-bit ones", (int)pid),
		"build it for 64 bits to check it, or use a 32-bit build of valgrind");
}

/* PF_KTHREAD of the flags in /proc/PID/stat (proc_pid_stat(5), field 9): Kthread: in status is newer than Linux 6.9. */
static bool is_kernel_thread(pid_t pid)
{
	_cleanup_buf_ struct buf b = { 0 };
	unsigned int flags = 0;
	const char *name_end;

	if (procfs_read(pid, "stat", 8192, &b) || !b.len)
		return false;
	name_end = strrchr(b.data, ')');
	return name_end && sscanf(name_end, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
	       flags & 0x00200000;
}

struct seep_error *refusal_check(pid_t pid)
{
	struct procfs_status st;
	int r;

	if (pid <= 0)
		return seep_error_new(EINVAL, "%d is no process", (int)pid);
	r = procfs_status(pid, &st);
	if (r == -ESRCH)
		return gone(pid);
	if (r)
		return seep_error_new(-r, "cannot read /proc/%d/status", (int)pid);
	if (pid == getpid() || st.tgid == getpid())
		return seep_error_hint(seep_error_new(0, "process %d is seep itself", (int)pid),
		                       "a process cannot stop itself and go on looking");
	if (st.tgid != pid)
		return seep_error_hint(seep_error_new(0, "%d is a thread of process %d (%s)",
		                                      (int)pid, (int)st.tgid, st.name),
		                       "give the process: %d", (int)st.tgid);
	if (st.kthread)
		goto kernel;
	/* A main thread that has ended while others run looks like a zombie too, but its threads are there. */
	if (st.state == 'Z' || st.state == 'X') {
		struct stat task;
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
		if (stat(path, &task) || task.st_nlink <= 3)
			return zombie(pid, &st);
		return NULL;
	}
	if (!st.has_size && is_kernel_thread(pid))
		goto kernel;
	/* Between the release of its memory and its last state a process that ends is no zombie yet. */
	if (!st.has_size)
		return zombie(pid, &st);
	if (stays_traced(pid, &st))
		return traced(pid, &st);
	if (class_of(pid) == ELFCLASS32)
		return wrong_class(pid);
	return NULL;
kernel:
	return seep_error_hint(seep_error_new(0,
	                                      "process %d (%s) is a thread of the kernel: it has "
	                                      "no memory of its own",
	                                      (int)pid, st.name),
	                       "kernel memory is in /proc/meminfo and /proc/slabinfo");
}

/* The value of Yama's switch; -1: there is none. */
static int yama(void)
{
	_cleanup_buf_ struct buf b = { 0 };

	return procfs_read_file("/proc/sys/kernel/yama/ptrace_scope", 64, &b) || !b.len
	               ? -1
	               : atoi(b.data);
}

static struct seep_error *denied(pid_t pid, const struct procfs_status *st)
{
	struct seep_error *err;
	struct stat own;
	char path[64];
	int scope = yama();

	if (st->uid != geteuid() && geteuid() != 0) {
		err = seep_error_new(EPERM,
		                     "process %d (%s) belongs to user %u, and seep runs as %u",
		                     (int)pid, st->name, (unsigned int)st->uid,
		                     (unsigned int)geteuid());
		return seep_error_hint(
			err, "run seep as that user, or with CAP_SYS_PTRACE (sudo); " STILL_WORKS);
	}
	/* /proc belongs to root where a process of ours is not dumpable: set-user-ID, or prctl(). */
	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	if (geteuid() != 0 && !stat(path, &own) && own.st_uid != geteuid()) {
		err = seep_error_new(EPERM,
		                     "process %d (%s) does not let itself be traced (not dumpable: "
		                     "set-user-ID, file capabilities, or prctl(PR_SET_DUMPABLE, 0))",
		                     (int)pid, st->name);
		return seep_error_hint(err, "run seep with CAP_SYS_PTRACE (sudo); " STILL_WORKS);
	}
	if (scope == 3) {
		err = seep_error_new(
			EPERM, "nobody may trace a process here: kernel.yama.ptrace_scope is 3");
		return seep_error_hint(err,
		                       "that lasts until a reboot with another value; " STILL_WORKS);
	}
	if (scope > 0) {
		err = seep_error_new(EPERM,
		                     "cannot stop process %d (%s): kernel.yama.ptrace_scope is %d and "
		                     "seep has no CAP_SYS_PTRACE",
		                     (int)pid, st->name, scope);
		return seep_error_hint(err, "run seep with CAP_SYS_PTRACE (sudo), or set `sysctl "
		                            "kernel.yama.ptrace_scope=0`; " STILL_WORKS);
	}
	if (may_trace_all())
		return seep_error_hint(
			seep_error_new(EPERM,
		                       "cannot stop process %d (%s), although seep has CAP_SYS_PTRACE",
		                       (int)pid, st->name),
			"a seccomp profile that forbids ptrace can be in the way (docker run "
			"--security-opt seccomp=unconfined), a security module, or a user namespace "
			"that is not below seep's; " STILL_WORKS);
	err = seep_error_new(EPERM, "cannot stop process %d (%s): seep has no CAP_SYS_PTRACE",
	                     (int)pid, st->name);
	return seep_error_hint(err,
	                       "in a container give it that capability (docker run "
	                       "--cap-add=SYS_PTRACE), and a seccomp profile that allows ptrace; a "
	                       "security module can be in the way as well; " STILL_WORKS);
}

bool refusal_may_pass(pid_t pid, int code)
{
	struct procfs_status st;

	if ((code != EPERM && code != EACCES) || procfs_status(pid, &st))
		return false;
	return st.tracer ? is_seep(st.tracer) : may_trace_all();
}

struct seep_error *refusal_explain(pid_t pid, int code, pid_t tid)
{
	struct procfs_status st;
	struct seep_error *err;

	if (procfs_status(tid ? tid : pid, &st) || code == ESRCH)
		return gone(pid);
	switch (code) {
	case EPERM:
	case EACCES:
		if (st.tracer)
			return traced(pid, &st);
		return denied(pid, &st);
	case ENOTSUP:
		return wrong_class(pid);
	case ETIME:
		err = seep_error_new(0,
		                     "process %d (%s) did not stand still in the time it was given",
		                     (int)pid, st.name);
		return seep_error_hint(err, "it runs on; try again when the machine is less busy");
	case EBUSY:
		err = seep_error_new(0,
		                     "no thread of process %d (%s) could be stopped: all are in an "
		                     "uninterruptible wait (state %c)",
		                     (int)pid, st.name, st.state);
		return seep_error_hint(err,
		                       "it waits for a disk, a network file system, or in vfork() "
		                       "for its child; try again later");
	default:
		return seep_error_new(code, "cannot stop process %d (%s)", (int)pid, st.name);
	}
}
