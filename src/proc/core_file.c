/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a core file.
 *
 * systemd-coredump keeps cores compressed with zstd.  They are read at random, so they are unpacked once,
 * into a file without a name that goes away with its descriptor; blocks of zeros, of which a core has many,
 * become holes.  A small file that unpacks to the size of the disk is stopped by a bound.  A frame says itself
 * how much memory unpacking it takes; we go along with what `zstd -d` does, and ten bytes cannot ask for 2 GB.
 */
#include "proc/core_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/read_at.h"

#define MAX_BYTES (256ull << 30)

static const struct {
	uint8_t magic[6], len;
	const char *name, *command;
} packers[] = {
	{ { 0x04, 0x22, 0x4d, 0x18 }, 4, "lz4", "lz4 -d" },
	{ { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, "xz", "xz -dk" },
	{ { 0x1f, 0x8b }, 2, "gzip", "gzip -dk" },
	{ { 'B', 'Z', 'h' }, 3, "bzip2", "bzip2 -dk" },
};

/* Where a large file without a name can be put. */
static int temporary(void)
{
	const char *dir = getenv("TMPDIR");
	int fd = open(dir && *dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : memfd_create("core", MFD_CLOEXEC);
}

static bool write_at(int fd, const char *p, size_t n, uint64_t at)
{
	while (n) {
		ssize_t w = pwrite(fd, p, n, (off_t)at);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return false;
		p += w;
		n -= (size_t)w;
		at += (uint64_t)w;
	}
	return true;
}

static struct seep_error *cannot_unpack(const char *path, size_t code)
{
	struct seep_error *err =
		seep_error_new(0, "cannot unpack %s: %s", path, ZSTD_getErrorName(code));

	if (ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge)
		seep_error_hint(
			err,
			"it was packed with `zstd --long`; unpack it first: zstd -d --long=31 %s",
			path);
	return err;
}

static struct seep_error *unpack(int from, const char *path, uint64_t max, struct core_file *ret)
{
	size_t in_size = ZSTD_DStreamInSize(), out_size = ZSTD_DStreamOutSize(), rest = 1;
	_cleanup_free_ char *in = malloc(in_size), *out = malloc(out_size);
	ZSTD_DStream *z = ZSTD_createDStream();
	_cleanup_close_ int to = temporary();
	struct seep_error *err = NULL;
	uint64_t at = 0, off = 0;

	if (!in || !out || !z) {
		err = &seep_error_nomem;
		goto out;
	}
	if (to < 0) {
		err = seep_error_new(errno, "cannot make a temporary file to unpack %s", path);
		goto out;
	}
	for (;;) {
		ZSTD_inBuffer ib = { in, read_at(from, off, in, in_size), 0 };

		if (!ib.size)
			break;
		off += ib.size;
		while (ib.pos < ib.size) {
			ZSTD_outBuffer ob = { out, out_size, 0 };

			rest = ZSTD_decompressStream(z, &ob, &ib);
			if (ZSTD_isError(rest)) {
				err = cannot_unpack(path, rest);
				goto out;
			}
			if (ob.pos > max - at) {
				err = seep_error_new(EFBIG, "%s unpacks to more than %llu GiB",
				                     path, (unsigned long long)(max >> 30));
				seep_error_hint(err, "unpack it with `zstd -d` where there is room");
				goto out;
			}
			if (!bytes_are_zero(out, ob.pos) && !write_at(to, out, ob.pos, at)) {
				err = seep_error_new(errno,
				                     "cannot unpack %s into a temporary file", path);
				seep_error_hint(err, "set TMPDIR to a directory with more room");
				goto out;
			}
			at += ob.pos;
		}
	}
	if (ftruncate(to, (off_t)at)) {
		err = seep_error_new(errno, "cannot unpack %s into a temporary file", path);
		goto out;
	}
	*ret = (struct core_file){ .fd = TAKE_FD(to), .size = at, .cut = rest != 0 };
out:
	ZSTD_freeDStream(z);
	return err;
}

struct seep_error *core_file_open(const char *path, uint64_t max_bytes, struct core_file *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	static const uint8_t zstd[] = { 0x28, 0xb5, 0x2f, 0xfd };
	uint8_t magic[6] = { 0 };
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return seep_error_new(errno, "cannot open %s", path);
	if (!S_ISREG(st.st_mode))
		return seep_error_new(0, "%s is no regular file, so no core file", path);
	if (!st.st_size)
		return seep_error_hint(seep_error_new(0, "%s is empty", path),
		                       "the disk was full, or the limit of core files is 0 (`ulimit "
		                       "-c unlimited` before the program starts)");
	read_at(fd, 0, magic, sizeof(magic));
	if (memcmp(magic, zstd, sizeof(zstd)) == 0)
		return unpack(fd, path, max_bytes ? max_bytes : MAX_BYTES, ret);
	for (size_t i = 0; i < ARRAY_SIZE(packers); i++)
		if (memcmp(magic, packers[i].magic, packers[i].len) == 0)
			return seep_error_hint(seep_error_new(0, "%s is compressed with %s", path,
			                                      packers[i].name),
			                       "unpack it first: %s %s", packers[i].command, path);
	*ret = (struct core_file){ .fd = TAKE_FD(fd), .size = (uint64_t)st.st_size };
	return NULL;
}
