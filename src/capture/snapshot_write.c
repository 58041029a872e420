/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profile → snapshot file.
 *
 * A snapshot exists whole or not at all: it is written under another name beside
 * its place, synced, and renamed.  A full disk leaves an error and nothing else.
 * Only its owner may read it: command lines hold secrets.
 *
 * A very regular profile can compress a thousandfold; a reader could not tell it
 * from a bomb.  The writer then pads the file, so that the reader's limit (so much
 * memory for so much file) needs no exception.
 */
#include "capture/capture.h"
#include "capture/snapshot.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#define LEVEL 3

/* ---- encoding ------------------------------------------------------------- */

static void put_uleb(struct buf *b, uint64_t v)
{
	uint8_t bytes[10];
	size_t n = 0;

	do {
		bytes[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
	} while (v);
	buf_add(b, bytes, n);
}

static uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static uint64_t double_bits(double v)
{
	double one = 1;
	uint64_t bits, of_one;

	memcpy(&bits, &v, 8);
	memcpy(&of_one, &one, 8);
	return __builtin_bswap64(bits ^ of_one);
}

/* A field's value as the number that is written (strings: see put_column). */
static uint64_t field(const struct column *c, const uint8_t *at)
{
	int32_t i32;
	uint32_t u32;
	uint64_t u64;
	double d;

	switch ((enum column_type)c->type) {
	case COL_BOOL:
	case COL_U8:
		return *at;
	case COL_I32:
		memcpy(&i32, at, 4);
		return c->delta ? (uint64_t)(int64_t)i32 : zigzag(i32);
	case COL_U32:
		memcpy(&u32, at, 4);
		return u32;
	case COL_U64:
		memcpy(&u64, at, 8);
		return u64;
	case COL_DOUBLE:
		memcpy(&d, at, 8);
		return double_bits(d);
	case COL_STRING:
		break;
	}
	return 0;
}

static size_t width_of(const struct column *c)
{
	static const uint8_t width[] = { [COL_BOOL] = 1,
		                         [COL_U8] = 1,
		                         [COL_I32] = 4,
		                         [COL_U32] = 4,
		                         [COL_U64] = 8,
		                         [COL_DOUBLE] = 8,
		                         [COL_STRING] = sizeof(char *) };

	return width[c->type];
}

static void put_column(struct buf *b, const struct column *c, const uint8_t *at, size_t record,
                       size_t n)
{
	uint64_t last = 0;

	for (size_t i = 0; i < n && !b->failed; i++, at += record) {
		if (c->type == COL_STRING) {
			const char *s = *(char *const *)at;
			size_t len = s ? strlen(s) : 0;

			put_uleb(b, s ? len + 1 : 0);
			buf_add(b, s, len);
			continue;
		}
		uint64_t v = field(c, at);

		put_uleb(b, c->delta ? zigzag((int64_t)(v - last)) : v);
		last = v;
	}
}

static void put_columns(struct buf *b, const struct layout *l, const void *records, size_t n)
{
	for (size_t i = 0; i < l->ncolumns && n; i++) {
		const struct column *c = &l->columns[i];

		for (size_t r = 0; r < c->repeat; r++)
			put_column(b, c, (const uint8_t *)records + c->offset + r * width_of(c),
			           l->record, n);
	}
}

static void put_whole(struct buf *out, const struct buf *section, enum snapshot_section id)
{
	buf_putc(out, (char)id);
	put_uleb(out, section->len);
	buf_add(out, section->data, section->len);
	if (section->failed)
		out->failed = true;
}

static void put_section(struct buf *out, struct buf *scratch, enum snapshot_section id,
                        const void *records, size_t n)
{
	buf_reset(scratch);
	put_uleb(scratch, n);
	put_columns(scratch, &snapshot_layouts[id], records, n);
	put_whole(out, scratch, id);
}

static void put_zeros(struct buf *b, size_t n)
{
	while (n--)
		buf_putc(b, 0);
}

static void put_sites(struct buf *out, struct buf *scratch, const struct profile *p)
{
	buf_reset(scratch);
	put_uleb(scratch, p->nsites);
	put_columns(scratch, &snapshot_layouts[SNAP_SITES], p->sites, p->nsites);
	for (size_t b = 0; b < PROF_LIFE_BUCKETS; b++)
		if (p->lifetimes[b])
			put_column(scratch, &snapshot_lifetime, (uint8_t *)p->lifetimes[b],
			           sizeof(uint64_t), p->nsites);
		else
			put_zeros(scratch, p->nsites);
	put_whole(out, scratch, SNAP_SITES);
}

/* All lines of all symbols as one array; its strings stay the profile's. */
static struct prof_line *flatten(const struct profile *p, size_t *ret_n)
{
	struct prof_line *lines;
	size_t n = 0;

	for (size_t i = 0; i < p->nsymbols; i++)
		n += p->symbols[i].nlines;
	lines = calloc(n + 1, sizeof(*lines));
	if (!lines)
		return NULL;
	*ret_n = n;
	n = 0;
	for (size_t i = 0; i < p->nsymbols; i++)
		for (uint32_t j = 0; j < p->symbols[i].nlines; j++)
			lines[n++] = p->symbols[i].lines[j];
	return lines;
}

/* Sections a reader may not know, and a profile without samples does not need. */
static int put_weights(const struct profile *p, struct buf *raw, struct buf *scratch)
{
	_cleanup_free_ struct snapshot_site_weights *sites = calloc(p->nsites + 1, sizeof(*sites));
	_cleanup_free_ struct snapshot_cell_weight *cells = calloc(p->ncells + 1, sizeof(*cells));
	bool any = false;

	if (!sites || !cells)
		return -ENOMEM;
	for (size_t i = 0; i < p->nsites; i++) {
		const struct prof_site *s = &p->sites[i];

		sites[i] = (struct snapshot_site_weights){ s->alloc.max_weight, s->freed.max_weight,
			                                   s->inuse.max_weight, s->peak.max_weight };
		any |= s->alloc.max_weight > 0 || s->freed.max_weight > 0 ||
		       s->inuse.max_weight > 0 || s->peak.max_weight > 0;
	}
	for (size_t i = 0; i < p->ncells; i++) {
		cells[i].inuse = p->cells[i].inuse.max_weight;
		any |= cells[i].inuse > 0;
	}
	if (!any)
		return 0;
	put_section(raw, scratch, SNAP_SITE_WEIGHTS, sites, p->nsites);
	put_section(raw, scratch, SNAP_CELL_WEIGHTS, cells, p->ncells);
	return 0;
}

static int encode(const struct profile *p, struct buf *raw)
{
	_cleanup_buf_ struct buf scratch = { 0 };
	size_t nlines = 0;
	_cleanup_free_ struct prof_line *lines = flatten(p, &nlines);

	if (!lines)
		return -ENOMEM;
	put_section(raw, &scratch, SNAP_META, p, 1);
	put_section(raw, &scratch, SNAP_MODULES, p->modules, p->nmodules);
	put_section(raw, &scratch, SNAP_FRAMES, p->frames, p->nframes);
	put_section(raw, &scratch, SNAP_SYMBOLS, p->symbols, p->nsymbols);
	put_section(raw, &scratch, SNAP_LINES, lines, nlines);
	put_sites(raw, &scratch, p);
	put_section(raw, &scratch, SNAP_CELLS, p->cells, p->ncells);
	put_section(raw, &scratch, SNAP_THREADS, p->threads, p->nthreads);
	put_section(raw, &scratch, SNAP_BLOCKS, p->blocks, p->nblocks);
	put_section(raw, &scratch, SNAP_POINTS, p->points, p->npoints);
	put_section(raw, &scratch, SNAP_CLASSES, p->classes, PROF_SIZE_CLASSES);
	if (p->nmerged)
		put_section(raw, &scratch, SNAP_MERGED, p, 1);
	if (put_weights(p, raw, &scratch) < 0)
		return -ENOMEM;
	if (p->nrss)
		put_section(raw, &scratch, SNAP_RSS, p->rss, p->nrss);
	if (p->nevents)
		put_section(raw, &scratch, SNAP_EVENTS, p->events, p->nevents);
	if (p->detached)
		put_section(raw, &scratch, SNAP_DETACHED, p, 1);
	buf_putc(raw, SNAP_END);
	return raw->failed ? -ENOMEM : 0;
}

/* The whole file's content. */
static struct seep_error *pack(const struct profile *p, struct buf *out)
{
	struct snapshot_header h = { .magic = SNAPSHOT_MAGIC, .version = SNAPSHOT_VERSION };
	_cleanup_buf_ struct buf raw = { 0 };
	size_t bound, n;

	if (encode(p, &raw) < 0)
		return &seep_error_nomem;
	bound = ZSTD_compressBound(raw.len);
	if (buf_add(out, &h, sizeof(h)) < 0 || buf_reserve(out, bound) < 0)
		return &seep_error_nomem;
	n = ZSTD_compress(out->data + sizeof(h), bound, raw.data, raw.len, LEVEL);
	if (ZSTD_isError(n))
		return seep_error_new(0, "cannot compress the snapshot: %s", ZSTD_getErrorName(n));
	out->len += n;
	while (raw.len > SNAPSHOT_FREE_SIZE &&
	       (raw.len - SNAPSHOT_FREE_SIZE) / SNAPSHOT_MAX_RATIO >= out->len) {
		static const char zeros[65536];

		if (buf_add(out, zeros, sizeof(zeros)) < 0)
			return &seep_error_nomem;
	}
	h.raw_size = raw.len;
	h.packed_size = n;
	h.file_size = out->len;
	h.check = snapshot_check(&h, out->data + sizeof(h), out->len - sizeof(h));
	memcpy(out->data, &h, sizeof(h));
	return NULL;
}

/* ---- the file --------------------------------------------------------------- */

static int write_all(int fd, const char *data, size_t n)
{
	while (n) {
		ssize_t w = write(fd, data, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		data += w;
		n -= (size_t)w;
	}
	return 0;
}

/* So that the new name survives a crash too; a file system that cannot do that is no error. */
static void sync_dir(const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path))
	                                 : strdup(".");
	_cleanup_close_ int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0)
		(void)!fsync(fd);
}

static struct seep_error *write_file(const char *path, const struct buf *content)
{
	_cleanup_free_ char *temp = NULL;
	struct seep_error *err = NULL;
	struct stat st;
	int fd, r;

	/* Renaming over a device would replace it. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return seep_error_new(S_ISDIR(st.st_mode) ? EISDIR : 0,
		                      "cannot write the snapshot to %s%s", path,
		                      S_ISDIR(st.st_mode) ? "" : ": it is not a regular file");
	if (asprintf(&temp, "%s.XXXXXX", path) < 0) {
		temp = NULL;
		return &seep_error_nomem;
	}
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return seep_error_hint(seep_error_new(errno, "cannot create the snapshot %s", path),
		                       "Choose another place with -o.");
	r = write_all(fd, content->data, content->len);
	if (!r && fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && !r)
		r = -errno;
	if (!r && rename(temp, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(temp);
		err = seep_error_new(-r, "cannot write the snapshot %s", path);
		return r == -ENOSPC || r == -EDQUOT
		               ? seep_error_hint(
					 err,
					 "It needs %zu bytes; make room or choose another place with -o.",
					 content->len)
		               : err;
	}
	sync_dir(path);
	return NULL;
}

struct seep_error *snapshot_write(const struct profile *p, const char *path)
{
	_cleanup_buf_ struct buf content = { 0 };
	struct seep_error *err = pack(p, &content);

	return err ? err : write_file(path, &content);
}
