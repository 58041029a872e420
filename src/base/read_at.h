/* SPDX-License-Identifier: Apache-2.0 */
/* Reading at a place of a file: pread(2) until all is there. */
#ifndef SEEP_BASE_READ_AT_H
#define SEEP_BASE_READ_AT_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

/* Up to len bytes at off; fewer at the end of the file, or on an error. */
static inline size_t read_at(int fd, uint64_t off, void *buf, size_t len)
{
	size_t done = 0;

	if (off > INT64_MAX || len > INT64_MAX - off)
		return 0;
	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

#endif
