/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of /proc about one process.  Everything in them is the kernel's layout around the
 * process's own words (names, command lines), and those are hostile.
 */
#ifndef SEEP_PROC_PROCFS_H
#define SEEP_PROC_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

struct procfs_status {
	char name[16];
	char state; /* R, S, D, T, t, Z, X, I */
	pid_t pid;
	pid_t tgid;    /* of a thread: its process */
	pid_t tracer;  /* 0: none */
	uid_t uid;     /* effective */
	int seccomp;   /* 0 off, 1 strict, 2 filter */
	bool kthread;  /* a thread of the kernel: no memory of its own */
	bool shstk;    /* runs with a user shadow stack */
	uint64_t rss;  /* VmRSS in bytes; 0: no memory (or unknown) */
	bool has_size; /* there is a VmSize line: the process has memory */
};

/* Reads /proc/PID/NAME, at most max bytes, into ret (appended).  Negative errno; -EFBIG when there is more. */
int procfs_read(pid_t pid, const char *name, size_t max, struct buf *ret);
/* The same for any file. */
int procfs_read_file(const char *path, size_t max, struct buf *ret);

/* /proc/PID/status; negative errno, -ESRCH: no such process. */
int procfs_status(pid_t pid, struct procfs_status *ret);
/* The same from text, which is changed on the way. */
void procfs_parse_status(char *text, struct procfs_status *ret);

/* The executable's path without " (deleted)", or NULL; the caller frees it. */
char *procfs_exe(pid_t pid);
/* The command line with blanks between its words ("[name]" without one), or NULL; the caller frees it. */
char *procfs_command(pid_t pid);
/*
 * What people call it.  Debian's redis-server is a link to redis-check-rdb, busybox has a hundred names: that by which a
 * program was called, if it is a plain one, else its file's.  Programs that write a title there keep theirs: "nginx:
 * worker process" → nginx.  At most size - 1 bytes.
 */
void procfs_name(const char *exe, const char *command, char *ret_name, size_t size);
/* AT_* entries of interest: values of those not found are left alone.  len: bytes of the vector. */
struct procfs_auxv {
	uint64_t phdr, base, random, page_size, entry, sysinfo_ehdr;
};
void procfs_parse_auxv(const void *data, size_t len, struct procfs_auxv *ret);

#endif
