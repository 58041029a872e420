/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open ledger: see ledger_file.h.
 *
 * The size of a ledger means nothing: it is sparse, tens of gigabytes of address
 * space with a few megabytes behind them.  What bounds a reader is st_blocks.  On
 * tmpfs, ext4 and xfs the storage is the content; file systems that compress may
 * keep 128 KB of content in one 4 KB block, so anything else gets that factor.
 *
 * A count larger than its section or the storage can hold is cut to what they can
 * hold, not refused: the rest of the ledger is still worth reading, and a record
 * that refers to what was cut is counted as torn.
 */
#include "capture/ledger_file.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

#define STORAGE_SLACK (64u << 10) /* small files may live in the inode */
#define COMPRESSION 32u
#define CHUNK_FACTOR 4u
#define CHUNK_SLACK 65536u
#define LEDGER_MODULE_LIMIT 0xffffu /* what fits into a node's key */

/*
 * What each section is made of, and the smallest size that can be right.  A site costs its
 * writer at least one counters record besides; that keeps what it costs us in proportion.
 */
static const struct {
	const char *name;
	uint64_t record;
	uint64_t least;
	uint64_t besides;
} sections[LEDGER_NSECTIONS] = {
	[LEDGER_MODULES] = { "MODULES", sizeof(struct ledger_module), 0, 0 },
	[LEDGER_STRINGS] = { "STRINGS", 1, 0, 0 },
	[LEDGER_THREADS] = { "THREADS", sizeof(struct ledger_thread), 0, 0 },
	[LEDGER_NODES] = { "NODES", sizeof(struct ledger_node), 0, 0 },
	[LEDGER_SITES] = { "SITES", sizeof(struct ledger_site), 0,
	                   sizeof(struct ledger_counters) + sizeof(struct ledger_tail) },
	[LEDGER_COUNTERS] = { "COUNTERS", sizeof(struct ledger_counters), 0, 0 },
	[LEDGER_TAILS] = { "TAILS", sizeof(struct ledger_tail), 0, 0 },
	[LEDGER_CLASSES] = { "CLASSES", LEDGER_SIZE_CLASSES * sizeof(struct ledger_class), 0, 0 },
	[LEDGER_PEAK] = { "PEAK", sizeof(struct ledger_peak), 0, 0 },
	[LEDGER_TIMELINE] = { "TIMELINE", sizeof(struct ledger_point), 0, 0 },
	[LEDGER_ROOT] = { "ROOT", sizeof(uint64_t), LEDGER_ROOT_SLOTS * sizeof(uint64_t), 0 },
	[LEDGER_DIR] = { "DIR", LEDGER_DIR_SLOTS * sizeof(uint64_t), 0, 0 },
	[LEDGER_BUCKETS] = { "BUCKETS", sizeof(struct ledger_block), 0, 0 },
};

static uint64_t storage_of(int fd, const struct stat *st)
{
	uint64_t blocks = (uint64_t)st->st_blocks * 512;
	struct statfs fs;
	bool exact = false;

	if (fstatfs(fd, &fs) == 0) {
		/* The types of f_type and of the constants differ between architectures. */
		uint32_t type = (uint32_t)fs.f_type;

		exact = type == TMPFS_MAGIC || type == EXT4_SUPER_MAGIC || type == XFS_SUPER_MAGIC;
	}
	if (!exact)
		blocks = blocks > UINT64_MAX / COMPRESSION / 2 ? UINT64_MAX / 2
		                                               : blocks * COMPRESSION;
	blocks += STORAGE_SLACK;
	return blocks < (uint64_t)st->st_size ? blocks : (uint64_t)st->st_size;
}

/* The content's range [off, off + len) in full; -ESTALE when the file ends before. */
static int pread_all(int fd, void *buf, size_t len, uint64_t off)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = pread(fd, p, len > (1u << 30) ? 1u << 30 : len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ESTALE;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static void limit(uint64_t *count, const struct ledger_file *f, enum ledger_section_id id)
{
	uint64_t record = sections[id].record, most = f->h.section[id].size / record;
	uint64_t stored = f->storage / (record + sections[id].besides);

	/* Writers hand out records in chunks, so some of those counted were never touched. */
	if (most > stored * CHUNK_FACTOR + CHUNK_SLACK)
		most = stored * CHUNK_FACTOR + CHUNK_SLACK;
	if (*count > most)
		*count = most;
}

int ledger_file_counts(struct ledger_file *f)
{
	const size_t half = offsetof(struct ledger_header, control);
	struct ledger_header *h = &f->h, now;
	int r;

	if (fstat(f->fd, &f->st) < 0)
		return -errno;
	f->storage = storage_of(f->fd, &f->st); /* it grew as the counts did */
	r = pread_all(f->fd, &now, sizeof(now), 0);
	if (r < 0)
		return r;
	/* Identity and geometry were checked and stay; these few of the first page change. */
	h->state = now.state;
	h->flags = now.flags;
	h->end_mono_ns = now.end_mono_ns;
	h->mode = now.mode;
	h->nperiods = !now.nperiods                       ? 1
	              : now.nperiods > LEDGER_MAX_PERIODS ? LEDGER_MAX_PERIODS
	                                                  : now.nperiods;
	memcpy(h->periods, now.periods, sizeof(h->periods));
	h->periods[0] = 0;
	memcpy((uint8_t *)h + half, (const uint8_t *)&now + half, sizeof(*h) - half);

	limit(&h->nmodules, f, LEDGER_MODULES);
	limit(&h->strings_used, f, LEDGER_STRINGS);
	limit(&h->nthreads, f, LEDGER_THREADS);
	limit(&h->nnodes, f, LEDGER_NODES);
	limit(&h->nsites, f, LEDGER_SITES);
	limit(&h->npoints, f, LEDGER_TIMELINE);
	limit(&h->buckets_used, f, LEDGER_BUCKETS);
	/* A DIR table is as good as empty: one word of it may be all that has storage. */
	if (h->ndirs > h->section[LEDGER_DIR].size / sections[LEDGER_DIR].record)
		h->ndirs = h->section[LEDGER_DIR].size / sections[LEDGER_DIR].record;
	if (h->ndirs > f->storage / 512 + 1)
		h->ndirs = f->storage / 512 + 1;
	if (h->nthreads > LEDGER_MAX_THREADS)
		h->nthreads = LEDGER_MAX_THREADS;
	if (h->npoints > LEDGER_MAX_POINTS)
		h->npoints = LEDGER_MAX_POINTS;
	if (h->nsites > h->max_sites)
		h->nsites = h->max_sites;
	if (h->nmodules > LEDGER_MODULE_LIMIT)
		h->nmodules = LEDGER_MODULE_LIMIT;
	return 0;
}

static struct seep_error *damaged(const struct ledger_file *f, const char *what)
{
	return seep_error_hint(
		seep_error_new(0, "%s is damaged: %s", f->path, what),
		"A ledger of a process that still runs can be read again: seep ps lists them.");
}

static struct seep_error *check_header(struct ledger_file *f)
{
	struct ledger_header *h = &f->h;

	if (h->magic != LEDGER_MAGIC)
		return seep_error_new(0, "%s is not a seep ledger", f->path);
	if (h->version != LEDGER_VERSION)
		return seep_error_hint(
			seep_error_new(0, "%s is a ledger of version %u; this seep reads version %u",
		                       f->path, h->version, LEDGER_VERSION),
			"Read it with the seep that belongs to the tracker that wrote it.");
	if (h->header_size != sizeof(*h))
		return damaged(f, "its header has a wrong size");
	if (h->state == LEDGER_STARTING)
		return seep_error_hint(
			seep_error_new(0, "%s is still being set up by its tracker", f->path),
			"Try again in a moment; if it stays so, its process died while starting.");
	if (h->file_size > (uint64_t)f->st.st_size)
		return seep_error_hint(
			seep_error_new(0,
		                       "%s is truncated: %" PRIu64 " of %" PRIu64 " bytes are there",
		                       f->path, (uint64_t)f->st.st_size, h->file_size),
			"Copy ledgers with `cp --sparse=always`, or take a snapshot with `seep snap`.");
	for (unsigned int i = 0; i < LEDGER_NSECTIONS; i++) {
		const struct ledger_section *s = &h->section[i];

		if (s->offset % 4096 || s->offset < sizeof(*h) || s->offset > h->file_size ||
		    s->size > h->file_size - s->offset || s->size < sections[i].least)
			return seep_error_hint(
				seep_error_new(0,
			                       "%s is damaged: its section %s lies outside the file",
			                       f->path, sections[i].name),
				"A ledger of a process that still runs can be read again.");
	}
	if (h->tick_shift > 30)
		return damaged(f, "its clock makes no sense");
	if (!h->nshards || h->nshards > 65536 || !h->max_sites || h->max_sites > 1u << 24)
		return damaged(f, "its geometry makes no sense");
	if ((uint64_t)h->nshards * h->max_sites >
	            h->section[LEDGER_COUNTERS].size / sizeof(struct ledger_counters) ||
	    (uint64_t)h->nshards * h->max_sites >
	            h->section[LEDGER_TAILS].size / sizeof(struct ledger_tail) ||
	    h->nshards > h->section[LEDGER_CLASSES].size / sections[LEDGER_CLASSES].record ||
	    2ull * h->max_sites > h->section[LEDGER_PEAK].size / sizeof(struct ledger_peak) ||
	    h->max_sites > h->section[LEDGER_SITES].size / sizeof(struct ledger_site))
		return damaged(f, "its sections are too small for what it says it holds");
	if (h->nperiods > LEDGER_MAX_PERIODS)
		return damaged(f, "it names too many sampling periods");
	h->exe[sizeof(h->exe) - 1] = h->command[sizeof(h->command) - 1] = '\0';
	h->allocator[sizeof(h->allocator) - 1] = '\0';
	return NULL;
}

struct seep_error *ledger_file_fdopen(int fd_taken, const char *path, struct ledger_file *ret_file)
{
	_cleanup_close_ int fd = fd_taken;
	struct ledger_file f = { .fd = fd, .path = path };
	struct seep_error *err;
	int r;

	if (fstat(fd, &f.st) < 0)
		return seep_error_new(errno, "cannot look at %s", path);
	if (!S_ISREG(f.st.st_mode))
		return seep_error_new(0, "%s is not a regular file, so no ledger", path);
	r = pread_all(fd, &f.h, sizeof(f.h), 0);
	if (r == -ESTALE)
		return seep_error_new(0, "%s is not a seep ledger: it is too short", path);
	if (r < 0)
		return seep_error_new(-r, "cannot read %s", path);
	err = check_header(&f);
	if (err)
		return err;
	r = ledger_file_counts(&f);
	if (r < 0)
		return ledger_file_error(&f, r);
	*ret_file = f;
	(void)TAKE_FD(fd);
	return NULL;
}

struct seep_error *ledger_file_open(const char *path, struct ledger_file *ret_file)
{
	/* O_NONBLOCK: a FIFO of that name must not hold us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return seep_error_new(errno, "cannot open %s", path);
	return ledger_file_fdopen(fd, path, ret_file);
}

void ledger_file_close(struct ledger_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

int ledger_file_read(const struct ledger_file *f, enum ledger_section_id id, uint64_t at, void *buf,
                     size_t len)
{
	const struct ledger_section *s = &f->h.section[id];

	if (at > s->size || len > s->size - at)
		return -ERANGE;
	return pread_all(f->fd, buf, len, s->offset + at);
}

int ledger_file_copy(const struct ledger_file *f, enum ledger_section_id id, uint64_t n,
                     size_t size, void *ret_copy)
{
	_cleanup_free_ void *copy = NULL;
	int r;

	if (n > (SIZE_MAX >> 1) / size)
		return -ENOMEM;
	copy = malloc(n * size + 1);
	if (!copy)
		return -ENOMEM;
	r = ledger_file_read(f, id, 0, copy, n * size);
	if (r < 0)
		return r;
	*(void **)ret_copy = TAKE(copy);
	return 0;
}

uint64_t ledger_file_next(const struct ledger_file *f, enum ledger_section_id id, uint64_t *at,
                          uint64_t end, uint64_t most)
{
	const struct ledger_section *s = &f->h.section[id];
	off_t data, hole;
	uint64_t len;

	if (end > s->size)
		end = s->size;
	if (*at >= end)
		return 0;
	data = lseek(f->fd, (off_t)(s->offset + *at), SEEK_DATA);
	if (data < 0) {
		if (errno == ENXIO) /* nothing but a hole up to the file's end */
			return 0;
		data = (off_t)(s->offset + *at); /* not supported here: all of it is data */
	}
	if ((uint64_t)data - s->offset >= end)
		return 0;
	*at = (uint64_t)data - s->offset;
	hole = lseek(f->fd, data, SEEK_HOLE);
	len = hole > data ? (uint64_t)(hole - data) : most;
	if (len > most)
		len = most;
	return len > end - *at ? end - *at : len;
}

struct seep_error *ledger_file_error(const struct ledger_file *f, int r)
{
	if (r == -ENOMEM)
		return &seep_error_nomem;
	if (r == -ESTALE)
		return seep_error_new(0, "%s was truncated while it was being read", f->path);
	return seep_error_new(-r, "cannot read %s", f->path);
}
