/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: ledger_read() over a valid ledger with parts overwritten.
 *
 * A ledger is megabytes of mostly nothing, so the input is not the file but a list of
 * changes to one: { section (12: the header, 13: cut the file there), offset u16 in
 * units of 1 to 4096 bytes, length u8, bytes }.  After each run the changes are undone.
 */
#include "capture/capture.h"
#include "sample_ledger.h"

#include "base/cleanup.h"
#include "base/cursor.h"
#include "base/error.h"
#include "profile/profile.h"

#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST_CHANGES 64

static struct maker *maker;
static char path[64];

struct change {
	uint64_t at;
	size_t len;
	uint8_t old[256];
};

static void start(void)
{
	char temp[] = "/tmp/fuzz-ledger-XXXXXX";
	int fd = mkstemp(temp);

	assert(fd >= 0);
	maker = sample_ledger(temp);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", maker->fd);
	unlink(temp);
	close(fd);
}

static uint64_t target(const struct ledger_header *h, unsigned int where, uint64_t offset,
                       size_t len)
{
	uint64_t at = where < LEDGER_NSECTIONS ? h->section[where].offset : 0;
	uint64_t size = where < LEDGER_NSECTIONS ? h->section[where].size : sizeof(*h);

	offset %= size;
	if (offset > size - len)
		offset = size - len;
	return at + offset;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct change changes[MOST_CHANGES];
	struct cursor c = cursor_make(data, size);
	struct read_options opts = { .blocks = true };
	struct profile *p = NULL;
	struct ledger_header h;
	uint64_t full, cut = 0;
	size_t n = 0;

	if (!maker)
		start();
	h = *maker->h;
	full = h.file_size;
	while (n < MOST_CHANGES && cursor_left(&c) >= 4) {
		uint8_t where = cursor_u8(&c);
		uint64_t offset = cursor_u16(&c);
		size_t len = cursor_u8(&c);
		const uint8_t *bytes;
		struct change *ch = &changes[n];

		offset *= where & 0x80 ? 4096 : where & 0x40 ? 256 : where & 0x20 ? 8 : 1;
		where &= 0x0f;
		if (where == 13) {
			cut = offset % full;
			continue;
		}
		if (len > cursor_left(&c))
			len = cursor_left(&c);
		bytes = cursor_bytes(&c, len);
		if (!bytes || !len)
			continue;
		ch->at = target(&h, where, offset, len);
		ch->len = len;
		assert(pread(maker->fd, ch->old, len, (off_t)ch->at) == (ssize_t)len);
		assert(pwrite(maker->fd, bytes, len, (off_t)ch->at) == (ssize_t)len);
		n++;
	}
	if (cut) /* the whole is longer than what is there: nothing is lost, the mapping is not used meanwhile */
		maker->h->file_size = full + cut;
	seep_error_free(ledger_read(path, &opts, &p));
	profile_free(p);
	while (n--)
		assert(pwrite(maker->fd, changes[n].old, changes[n].len, (off_t)changes[n].at) ==
		       (ssize_t)changes[n].len);
	maker->h->file_size = full;
	return 0;
}
