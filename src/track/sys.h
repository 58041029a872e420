/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few system calls the tracker makes, raw: none touches errno, allocates or
 * goes through a symbol that the target (or we) may have interposed.  All return
 * what the kernel returns: negative errno on failure.
 */
#ifndef SEEP_TRACK_SYS_H
#define SEEP_TRACK_SYS_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#include "track/arch_x86_64.h"
#else
#error "the tracker knows x86-64 only so far"
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

static inline int sys_failed(long r)
{
	return (unsigned long)r > -4096ul;
}

static inline long sys_open(const char *path, int flags, int mode)
{
	return sys6(SYS_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, mode, 0, 0);
}

static inline long sys_close(int fd)
{
	return sys6(SYS_close, fd, 0, 0, 0, 0, 0);
}

static inline long sys_read(int fd, void *buf, size_t n)
{
	return sys6(SYS_read, fd, (long)buf, (long)n, 0, 0, 0);
}

static inline long sys_pread(int fd, void *buf, size_t n, uint64_t off)
{
	return sys6(SYS_pread64, fd, (long)buf, (long)n, (long)off, 0, 0);
}

static inline long sys_pwrite(int fd, const void *buf, size_t n, uint64_t off)
{
	return sys6(SYS_pwrite64, fd, (long)buf, (long)n, (long)off, 0, 0);
}

static inline long sys_write(int fd, const void *buf, size_t n)
{
	return sys6(SYS_write, fd, (long)buf, (long)n, 0, 0, 0);
}

static inline void *sys_mmap(void *addr, size_t len, int prot, int flags, int fd, uint64_t off)
{
	return (void *)sys6(SYS_mmap, (long)addr, (long)len, prot, flags, fd, (long)off);
}

static inline long sys_munmap(void *addr, size_t len)
{
	return sys6(SYS_munmap, (long)addr, (long)len, 0, 0, 0, 0);
}

static inline long sys_mprotect(void *addr, size_t len, int prot)
{
	return sys6(SYS_mprotect, (long)addr, (long)len, prot, 0, 0, 0);
}

static inline long sys_madvise(void *addr, size_t len, int advice)
{
	return sys6(SYS_madvise, (long)addr, (long)len, advice, 0, 0, 0);
}

static inline long sys_ftruncate(int fd, uint64_t len)
{
	return sys6(SYS_ftruncate, fd, (long)len, 0, 0, 0, 0);
}

static inline long sys_fallocate(int fd, int mode, uint64_t off, uint64_t len)
{
	return sys6(SYS_fallocate, fd, mode, (long)off, (long)len, 0, 0);
}

static inline long sys_ioctl(int fd, unsigned long request, void *arg)
{
	return sys6(SYS_ioctl, fd, (long)request, (long)arg, 0, 0, 0);
}

static inline long sys_mkdir(const char *path, int mode)
{
	return sys6(SYS_mkdir, (long)path, mode, 0, 0, 0, 0);
}

static inline long sys_unlink(const char *path)
{
	return sys6(SYS_unlink, (long)path, 0, 0, 0, 0, 0);
}

static inline long sys_stat_nofollow(const char *path, struct stat *st)
{
	return sys6(SYS_newfstatat, AT_FDCWD, (long)path, (long)st, AT_SYMLINK_NOFOLLOW, 0, 0);
}

static inline long sys_readlink(const char *path, char *buf, size_t n)
{
	return sys6(SYS_readlink, (long)path, (long)buf, (long)n, 0, 0, 0);
}

static inline int sys_getpid(void)
{
	return (int)sys6(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static inline int sys_getppid(void)
{
	return (int)sys6(SYS_getppid, 0, 0, 0, 0, 0, 0);
}

static inline int sys_gettid(void)
{
	return (int)sys6(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

static inline unsigned int sys_getuid(void)
{
	return (unsigned int)sys6(SYS_geteuid, 0, 0, 0, 0, 0, 0);
}

static inline void sys_yield(void)
{
	sys6(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

#endif
