/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot file → profile.
 *
 * The file is hostile.  Its size bounds what it may unpack to; the check field
 * catches damage before anything is unpacked; and since every value takes at least
 * one byte, a section can never claim more records than its bytes divided by its
 * columns, so memory stays in proportion to the file.  Whatever passes is then
 * judged by profile_check(), as every profile is.
 */
#include "capture/capture.h"
#include "capture/snapshot.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/cursor.h"
#include "base/error.h"
#include "base/large.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

/* Of the beginning of a file; its first section is a few hundred bytes. */
#define HEAD_CHUNK 65536u
#define HEAD_MOST (4u << 20)

/* ---- decoding --------------------------------------------------------------- */

static int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1 ^ -(v & 1));
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

static int get_string(struct cursor *cur, uint64_t len, uint8_t *at)
{
	const uint8_t *bytes;
	char *s;

	if (!len)
		return 0;
	bytes = cursor_bytes(cur, len - 1 > SIZE_MAX ? SIZE_MAX : (size_t)(len - 1));
	if (!bytes)
		return -EBADMSG;
	if (memchr(bytes, 0, (size_t)(len - 1)))
		return -EBADMSG;
	s = strndup((const char *)bytes, (size_t)(len - 1));
	if (!s)
		return -ENOMEM;
	memcpy(at, &s, sizeof(s));
	return 0;
}

/* Stores a number in a field; one that does not fit it is damage. */
static int put_field(const struct column *c, uint64_t v, uint8_t *at)
{
	double d, one = 1;
	uint64_t bits;
	uint32_t u32;
	int32_t i32;

	switch ((enum column_type)c->type) {
	case COL_BOOL:
	case COL_U8:
		if (v > (c->type == COL_BOOL ? 1u : 255u))
			return -EBADMSG;
		*at = (uint8_t)v;
		return 0;
	case COL_I32:
		if (!c->delta)
			v = (uint64_t)unzigzag(v);
		if ((int64_t)v < INT32_MIN || (int64_t)v > INT32_MAX)
			return -EBADMSG;
		i32 = (int32_t)(int64_t)v;
		memcpy(at, &i32, 4);
		return 0;
	case COL_U32:
		if (v > UINT32_MAX)
			return -EBADMSG;
		u32 = (uint32_t)v;
		memcpy(at, &u32, 4);
		return 0;
	case COL_U64:
		memcpy(at, &v, 8);
		return 0;
	case COL_DOUBLE:
		memcpy(&bits, &one, 8);
		bits ^= __builtin_bswap64(v);
		memcpy(&d, &bits, 8);
		memcpy(at, &d, 8);
		return 0;
	case COL_STRING:
		return get_string(NULL, 0, at);
	}
	return -EBADMSG;
}

/* The next n bytes are zero, which stands for n records' zero: they are that already.  Most buckets of lifetimes are, and few sites have cells. */
static bool skip_zeros(struct cursor *cur, const struct column *c, size_t n)
{
	if (c->type == COL_DOUBLE || n > cursor_left(cur) || !bytes_are_zero(cur->pos, n))
		return false;
	cursor_bytes(cur, n);
	return true;
}

static int get_column(struct cursor *cur, const struct column *c, uint8_t *at, size_t record,
                      size_t n)
{
	uint64_t last = 0;
	int r = 0;

	if (skip_zeros(cur, c, n))
		return 0;
	for (size_t i = 0; i < n && !r; i++, at += record) {
		uint64_t v = cursor_uleb(cur);

		if (cur->failed)
			return -EBADMSG;
		if (c->type == COL_STRING) {
			r = get_string(cur, v, at);
			continue;
		}
		if (c->delta)
			v = last + (uint64_t)unzigzag(v);
		last = v;
		r = put_field(c, v, at);
	}
	return r;
}

/* n records into a new array, which is *ret_records even on failure, so that the strings decoded so far can be released. */
static int get_records(struct cursor *cur, const struct layout *l, size_t n, void *ret_records)
{
	uint64_t least = 0;
	uint8_t *records;
	int r = 0;

	for (size_t i = 0; i < l->ncolumns; i++)
		least += l->columns[i].repeat;
	if (cur->failed || n > cursor_left(cur) / least || n >= UINT32_MAX)
		return -EBADMSG;
	records = large_zero(n * l->record);
	if (!records)
		return -ENOMEM;
	*(void **)ret_records = records;
	for (size_t i = 0; i < l->ncolumns && !r; i++) {
		const struct column *c = &l->columns[i];

		for (size_t k = 0; k < c->repeat && !r; k++)
			r = get_column(cur, c, records + c->offset + k * width_of(c), l->record, n);
	}
	return r;
}

/* A section's records; *ret_n is set together with *ret_records. */
static int get_section(struct cursor *cur, enum snapshot_section id, void *ret_records,
                       size_t *ret_n)
{
	uint64_t n = cursor_uleb(cur);
	int r = get_records(cur, &snapshot_layouts[id], n, ret_records);

	if (*(void **)ret_records)
		*ret_n = n;
	if (!r && cursor_left(cur)) /* bytes that mean nothing */
		r = -EBADMSG;
	return r;
}

static int get_lifetimes(struct cursor *cur, size_t n, uint64_t **ret_column)
{
	const struct column *c = &snapshot_lifetime;

	if (cursor_left(cur) < n)
		return -EBADMSG;
	if (skip_zeros(cur, c, n))
		return 0;
	*ret_column = large_zero(n * sizeof(uint64_t));
	return *ret_column ? get_column(cur, c, (uint8_t *)*ret_column, sizeof(uint64_t), n)
	                   : -ENOMEM;
}

/* The lifetimes come last; most files of other tools have none. */
static int get_sites(struct cursor *cur, struct profile *p)
{
	uint64_t n = cursor_uleb(cur);
	int r = get_records(cur, &snapshot_layouts[SNAP_SITES], n, &p->sites);

	if (p->sites)
		p->nsites = n;
	if (r)
		return r;
	for (size_t b = 0; b < PROF_LIFE_BUCKETS && !r; b++)
		r = get_lifetimes(cur, n, &p->lifetimes[b]);
	return !r && cursor_left(cur) ? -EBADMSG : r;
}

/* ---- sections that are not simply an array ------------------------------------ */

static void free_metas(struct profile *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(m[i].exe);
		free(m[i].command);
		free(m[i].allocator);
	}
	free(m);
}

/* The profile's own fields: decoded into one of its own, then moved over. */
static int get_own(struct cursor *cur, enum snapshot_section id, struct profile *p)
{
	const struct layout *l = &snapshot_layouts[id];
	struct profile *m = NULL;
	size_t n = 0;
	int r = get_section(cur, id, &m, &n);

	if (!r && n != 1)
		r = -EBADMSG;
	for (size_t i = 0; i < l->ncolumns && !r; i++) {
		const struct column *c = &l->columns[i];

		memcpy((uint8_t *)p + c->offset, (uint8_t *)m + c->offset, c->repeat * width_of(c));
	}
	if (!r)
		m->exe = m->command = m->allocator = NULL;
	free_metas(m, n); /* a damaged file may have several */
	return r;
}

static int get_classes(struct cursor *cur, struct profile *p)
{
	struct prof_class *classes = NULL;
	size_t n = 0;
	int r = get_section(cur, SNAP_CLASSES, &classes, &n);

	if (!r && n != PROF_SIZE_CLASSES)
		r = -EBADMSG;
	if (!r)
		memcpy(p->classes, classes, sizeof(p->classes));
	free(classes);
	return r;
}

/* What belongs together lies in several sections, in any order: symbols and their lines, values and their weights. */
struct parts {
	struct prof_symbol *symbols; /* as numbers of lines */
	struct prof_line *lines;
	struct snapshot_site_weights *site_weights;
	struct snapshot_cell_weight *cell_weights;
	size_t nsymbols, nlines, nsite_weights, ncell_weights;
};

static void free_parts(struct parts *s)
{
	for (size_t i = 0; i < s->nlines; i++) {
		free(s->lines[i].function);
		free(s->lines[i].linkage);
		free(s->lines[i].file);
	}
	free(s->lines);
	free(s->symbols);
	free(s->site_weights);
	free(s->cell_weights);
}

static void drop_symbols(struct profile *p)
{
	for (size_t i = 0; i < p->nsymbols; i++)
		free(p->symbols[i].lines); /* as profile_new() made them: without strings */
	free(TAKE(p->symbols));
	p->nsymbols = 0;
}

static int join_symbols(struct parts *s, struct profile *p)
{
	uint64_t total = 0;
	size_t at = 0;

	for (size_t i = 0; i < s->nsymbols; i++) {
		if (!s->symbols[i].nlines)
			return -EBADMSG;
		total += s->symbols[i].nlines;
	}
	if (!s->nsymbols || total != s->nlines)
		return -EBADMSG;
	drop_symbols(p);
	p->symbols = TAKE(s->symbols);
	for (size_t i = 0; i < s->nsymbols; i++) {
		struct prof_symbol *sym = &p->symbols[i];

		sym->lines = calloc(sym->nlines, sizeof(*sym->lines));
		if (!sym->lines)
			return -ENOMEM;
		p->nsymbols = i + 1;
		memcpy(sym->lines, s->lines + at, sym->nlines * sizeof(*sym->lines));
		memset(s->lines + at, 0, sym->nlines * sizeof(*sym->lines)); /* their strings moved */
		at += sym->nlines;
	}
	return 0;
}

static int join_weights(const struct parts *s, struct profile *p)
{
	if (!s->site_weights && !s->cell_weights)
		return 0;
	if (!s->site_weights || !s->cell_weights || s->nsite_weights != p->nsites ||
	    s->ncell_weights != p->ncells)
		return -EBADMSG;
	for (size_t i = 0; i < p->nsites; i++) {
		p->sites[i].alloc.max_weight = s->site_weights[i].alloc;
		p->sites[i].freed.max_weight = s->site_weights[i].freed;
		p->sites[i].inuse.max_weight = s->site_weights[i].inuse;
		p->sites[i].peak.max_weight = s->site_weights[i].peak;
	}
	for (size_t i = 0; i < p->ncells; i++)
		p->cells[i].inuse.max_weight = s->cell_weights[i].inuse;
	return 0;
}

/* Kinds of events may be added without a new version: one that is not known here is left out. */
static int get_events(struct cursor *cur, struct profile *p)
{
	int r = get_section(cur, SNAP_EVENTS, &p->events, &p->nevents);
	size_t n = 0;

	for (size_t i = 0; i < p->nevents; i++) {
		if (p->events[i].kind < PROF_EVENT_NKINDS)
			p->events[n++] = p->events[i];
		else
			free(p->events[i].text);
	}
	p->nevents = n;
	return r;
}

static int get_one(struct cursor *cur, enum snapshot_section id, struct profile *p,
                   struct parts *parts)
{
	switch (id) {
	case SNAP_META:
		return get_own(cur, id, p);
	case SNAP_MODULES:
		return get_section(cur, id, &p->modules, &p->nmodules);
	case SNAP_FRAMES:
		free(TAKE(p->frames));
		p->nframes = 0;
		return get_section(cur, id, &p->frames, &p->nframes);
	case SNAP_SYMBOLS:
		return get_section(cur, id, &parts->symbols, &parts->nsymbols);
	case SNAP_LINES:
		return get_section(cur, id, &parts->lines, &parts->nlines);
	case SNAP_SITES:
		return get_sites(cur, p);
	case SNAP_CELLS:
		return get_section(cur, id, &p->cells, &p->ncells);
	case SNAP_THREADS:
		return get_section(cur, id, &p->threads, &p->nthreads);
	case SNAP_BLOCKS:
		return get_section(cur, id, &p->blocks, &p->nblocks);
	case SNAP_POINTS:
		return get_section(cur, id, &p->points, &p->npoints);
	case SNAP_CLASSES:
		return get_classes(cur, p);
	case SNAP_MERGED:
	case SNAP_DETACHED:
		return get_own(cur, id, p);
	case SNAP_SITE_WEIGHTS:
		return get_section(cur, id, &parts->site_weights, &parts->nsite_weights);
	case SNAP_CELL_WEIGHTS:
		return get_section(cur, id, &parts->cell_weights, &parts->ncell_weights);
	case SNAP_RSS:
		return get_section(cur, id, &p->rss, &p->nrss);
	case SNAP_EVENTS:
		return get_events(cur, p);
	case SNAP_END:
	case SNAP_NSECTIONS:
		break;
	}
	return -EBADMSG;
}

static int decode(struct cursor *cur, struct profile *p)
{
	struct parts parts = { 0 };
	uint32_t seen = 0;
	int r = 0;

	while (!r) {
		uint8_t id = cursor_u8(cur);
		const uint8_t *bytes;
		uint64_t len;

		if (cur->failed) {
			r = -EBADMSG;
			break;
		}
		if (id == SNAP_END)
			break;
		len = cursor_uleb(cur);
		bytes = cursor_bytes(cur, len > SIZE_MAX ? SIZE_MAX : (size_t)len);
		if (!bytes) {
			r = -EBADMSG;
		} else if (id <
		           SNAP_NSECTIONS) { /* others: additions of a later minor change, of no use here */
			struct cursor in = cursor_make(bytes, (size_t)len);

			if (seen & 1u << id)
				r = -EBADMSG;
			seen |= 1u << id;
			if (!r)
				r = get_one(&in, id, p, &parts);
		}
	}
	seen |= 1u << SNAP_MERGED | 1u << SNAP_SITE_WEIGHTS | 1u << SNAP_CELL_WEIGHTS |
	        1u << SNAP_RSS | 1u << SNAP_EVENTS | 1u << SNAP_DETACHED;
	if (!r && seen != (1u << SNAP_NSECTIONS) - 2)
		r = -EBADMSG; /* every other section is there, if only empty */
	if (!r)
		r = join_symbols(&parts, p);
	if (!r)
		r = join_weights(&parts, p);
	free_parts(&parts);
	return r;
}

/* A thread always has a name, if an empty one. */
static int name_threads(struct profile *p)
{
	for (size_t i = 0; i < p->nthreads; i++) {
		if (!p->threads[i].name)
			p->threads[i].name = strdup("");
		if (!p->threads[i].name)
			return -ENOMEM;
	}
	return 0;
}

static struct seep_error *is_damaged(const char *path, const char *how)
{
	return seep_error_hint(seep_error_new(0, "the snapshot %s is damaged: %s", path, how),
	                       "Copy it again from where it was made; nothing of it can be trusted.");
}

struct seep_error *snapshot_decode(const void *raw, size_t n, const char *path,
                                   struct profile **ret_profile)
{
	_cleanup_profile_ struct profile *p = profile_new();
	struct cursor cur = cursor_make(raw, n);
	struct seep_error *err;
	int r;

	if (!p)
		return &seep_error_nomem;
	r = decode(&cur, p);
	if (r == -ENOMEM)
		return &seep_error_nomem;
	if (r < 0)
		return is_damaged(path, "its content makes no sense");
	p->source = strdup(path);
	p->format = strdup("seep snapshot");
	if (!p->source || !p->format || name_threads(p) < 0)
		return &seep_error_nomem;
	err = profile_check(p);
	if (err)
		return seep_error_wrap(err, "the snapshot %s is damaged", path);
	*ret_profile = TAKE(p);
	return NULL;
}

/* ---- the file ------------------------------------------------------------------- */

static struct seep_error *check_header(const struct snapshot_header *h, const char *path,
                                       uint64_t size)
{
	if (memcmp(h->magic, SNAPSHOT_MAGIC, sizeof(h->magic)) != 0)
		return seep_error_new(0, "%s is not a seep snapshot", path);
	if (h->version != SNAPSHOT_VERSION)
		return seep_error_hint(
			seep_error_new(0, "%s is a snapshot of version %u; this seep reads up to %u",
		                       path, h->version, SNAPSHOT_VERSION),
			"Read it with a newer seep.");
	if (h->file_size > size)
		return is_damaged(path, "it is truncated");
	if (h->file_size != size || h->packed_size > size - sizeof(*h))
		return is_damaged(path, "its size is wrong");
	if (h->flags)
		return is_damaged(path, "its header makes no sense");
	return NULL;
}

static struct seep_error *unpack(const struct snapshot_header *h, const uint8_t *rest,
                                 uint64_t size, const char *path, struct profile **ret_profile)
{
	_cleanup_free_ void *raw = NULL;
	size_t n;

	if (snapshot_check(h, rest, size - sizeof(*h)) != h->check)
		return is_damaged(path, "its check sum is wrong");
	if (h->raw_size > SNAPSHOT_FREE_SIZE &&
	    (h->raw_size - SNAPSHOT_FREE_SIZE) / SNAPSHOT_MAX_RATIO > size)
		return is_damaged(path, "it would unpack to an absurd size");
	raw = large_alloc(h->raw_size + 1);
	if (!raw)
		return &seep_error_nomem;
	n = ZSTD_decompress(raw, h->raw_size, rest, h->packed_size);
	if (ZSTD_isError(n) || n != h->raw_size)
		return is_damaged(path, "it does not unpack");
	return snapshot_decode(raw, n, path, ret_profile);
}

/* The file, checked as far as its header tells.  Nothing is allocated for one that is something else, or sparse and huge. */
static struct seep_error *open_file(const char *path, int *ret_fd,
                                    struct snapshot_header *ret_header)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct seep_error *err;
	struct stat st;

	if (fd < 0)
		return seep_error_new(errno, "cannot open %s", path);
	if (fstat(fd, &st) < 0)
		return seep_error_new(errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode))
		return seep_error_new(0, "%s is not a regular file, so no snapshot", path);
	if ((uint64_t)st.st_size < sizeof(*ret_header))
		return seep_error_new(0, "%s is not a seep snapshot: it is too short", path);
	if (pread(fd, ret_header, sizeof(*ret_header), 0) != (ssize_t)sizeof(*ret_header))
		return seep_error_new(errno, "cannot read %s", path);
	err = check_header(ret_header, path, (uint64_t)st.st_size);
	if (!err)
		*ret_fd = TAKE_FD(fd);
	return err;
}

/* `size` bytes from `offset` on. */
static struct seep_error *read_bytes(int fd, const char *path, uint64_t offset, uint8_t *to,
                                     size_t size)
{
	for (size_t got = 0; got < size;) {
		ssize_t n = pread(fd, to + got, size - got, (off_t)(offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return seep_error_new(errno, "cannot read %s", path);
		if (n == 0)
			return is_damaged(path, "it is truncated");
		got += (size_t)n;
	}
	return NULL;
}

struct seep_error *snapshot_read(const char *path, struct profile **ret_profile)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ uint8_t *file = NULL;
	struct snapshot_header h;
	struct seep_error *err = open_file(path, &fd, &h);
	size_t size;

	if (err)
		return err;
	size = (size_t)(h.file_size - sizeof(h));
	file = large_alloc(size + 1);
	if (!file)
		return &seep_error_nomem;
	err = read_bytes(fd, path, sizeof(h), file, size);
	return err ? err : unpack(&h, file, h.file_size, path, ret_profile);
}

/* ---- the head alone --------------------------------------------------------------- */

/* The profile's own fields, from the unpacked beginning of the content.  -EAGAIN: it does not reach that far. */
static int find_head(const void *raw, size_t n, struct profile *p)
{
	struct cursor cur = cursor_make(raw, n);

	for (;;) {
		uint8_t id = cursor_u8(&cur);
		uint64_t len = cursor_uleb(&cur);
		const uint8_t *bytes = cursor_bytes(&cur, len > SIZE_MAX ? SIZE_MAX : (size_t)len);
		struct cursor in;

		if (!bytes || cur.failed)
			return -EAGAIN;
		if (id == SNAP_END)
			return -EBADMSG;
		if (id != SNAP_META)
			continue;
		in = cursor_make(bytes, (size_t)len);
		return get_own(&in, id, p);
	}
}

/* Appends what `in` unpacks to, up to HEAD_MOST bytes in all. */
static int unpack_more(ZSTD_DStream *z, ZSTD_inBuffer *in, struct buf *raw)
{
	ZSTD_outBuffer out;

	do {
		if (buf_reserve(raw, HEAD_CHUNK) < 0)
			return -ENOMEM;
		out = (ZSTD_outBuffer){ .dst = raw->data + raw->len, .size = HEAD_CHUNK };
		if (ZSTD_isError(ZSTD_decompressStream(z, &out, in)))
			return -EBADMSG;
		raw->len += out.pos;
	} while (raw->len < HEAD_MOST && (in->pos < in->size || out.pos == out.size));
	return 0;
}

/* Unpacks more and more of the file until the head is there; it is what every writer writes first. */
static int unpack_head(int fd, const struct snapshot_header *h, ZSTD_DStream *z, struct profile *p)
{
	_cleanup_free_ uint8_t *chunk = malloc(HEAD_CHUNK);
	_cleanup_buf_ struct buf raw = { 0 };
	uint64_t at = sizeof(*h), end = sizeof(*h) + h->packed_size;
	int r = chunk ? -EAGAIN : -ENOMEM;

	while (r == -EAGAIN && at < end && raw.len < HEAD_MOST) {
		ssize_t n =
			pread(fd, chunk, end - at < HEAD_CHUNK ? end - at : HEAD_CHUNK, (off_t)at);
		ZSTD_inBuffer in = { .src = chunk, .size = n > 0 ? (size_t)n : 0 };

		if (n <= 0)
			return -EBADMSG;
		at += in.size;
		r = unpack_more(z, &in, &raw);
		if (!r)
			r = find_head(raw.data, raw.len, p);
	}
	return r == -EAGAIN ? -EBADMSG : r;
}

struct seep_error *snapshot_peek(const char *path, struct profile **ret_profile)
{
	_cleanup_profile_ struct profile *p = profile_new();
	_cleanup_close_ int fd = -1;
	struct snapshot_header h;
	struct seep_error *err = open_file(path, &fd, &h);
	ZSTD_DStream *z;
	int r;

	if (err)
		return err;
	z = ZSTD_createDStream();
	r = z && p ? unpack_head(fd, &h, z, p) : -ENOMEM;
	ZSTD_freeDStream(z);
	if (r == -ENOMEM)
		return &seep_error_nomem;
	if (r < 0)
		return is_damaged(path, "its content makes no sense");
	p->source = strdup(path);
	p->format = strdup("seep snapshot");
	if (!p->source || !p->format)
		return &seep_error_nomem;
	*ret_profile = TAKE(p);
	return NULL;
}
