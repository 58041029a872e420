/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: the snapshot reader.  The input's first byte says what the rest is:
 *
 *     0  a whole file, as it is
 *     1  a whole file whose check sum is put right first, so that what lies behind it is reached
 *     2  the unpacked sections; what is accepted must survive being written and read again
 */
#include "capture/capture.h"
#include "capture/snapshot.h"
#include "sample_profile.h"

#include "base/error.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void whole_file(const uint8_t *data, size_t size)
{
	int fd = memfd_create("snapshot", MFD_CLOEXEC);
	struct profile *p = NULL, *head = NULL;
	char path[64];

	assert(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert(write(fd, data, size) == (ssize_t)size);
	seep_error_free(snapshot_read(path, &p));
	seep_error_free(snapshot_peek(path, &head));
	assert(!p || !head || (head->pid == p->pid && head->duration_ns == p->duration_ns));
	profile_free(p);
	profile_free(head);
	close(fd);
}

static void with_check(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);
	struct snapshot_header h;

	assert(copy);
	memcpy(copy, data, size);
	if (size >= sizeof(h)) {
		memcpy(&h, copy, sizeof(h));
		h.file_size = size;
		h.check = snapshot_check(&h, copy + sizeof(h), size - sizeof(h));
		memcpy(copy, &h, sizeof(h));
	}
	whole_file(copy, size);
	free(copy);
}

static void sections(const uint8_t *data, size_t size)
{
	struct profile *p = NULL, *again = NULL;
	char path[64];

	seep_error_free(snapshot_decode(data, size, "input", &p));
	if (!p)
		return;
	snprintf(path, sizeof(path), "/dev/shm/fuzz-snapshot-%d.seep", (int)getpid());
	assert(!snapshot_write(p, path));
	assert(!snapshot_read(path, &again));
	assert(!profile_difference(p, again));
	unlink(path);
	profile_free(p);
	profile_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0] % 3) {
	case 0:
		whole_file(data + 1, size - 1);
		break;
	case 1:
		with_check(data + 1, size - 1);
		break;
	case 2:
		sections(data + 1, size - 1);
		break;
	}
	return 0;
}
