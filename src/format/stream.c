/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: a window over the expanded bytes of a file.
 *
 *     file ──read──► in[] ──inflate / zstd / nothing──► out[ consumed | pending | free ]
 *                                                            │        │
 *                                                           pos      len
 *
 * Readers take lines or chunks out of `pending`.  When no whole line is there, what is pending moves to
 * the front and more is expanded behind it; only a line longer than the window makes it grow, up to a
 * limit.  Several members of gzip and several frames of zstd follow one another as in `cat a.gz b.gz`.
 *
 * A bomb costs time, not memory, and even that is bounded: beyond a free allowance, a file may not
 * expand to more than MAX_RATIO times its size.
 */
#include "format/stream.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define IN_SIZE (128u << 10)
#define OUT_SIZE (256u << 10)
#define FREE_SIZE (1ull << 30) /* any file may expand to this */
#define MAX_RATIO 2000
#define PROGRESS_STEP (1u << 20)

enum packing { PLAIN, GZIP, ZSTD };

struct stream {
	enum packing packing;
	int fd; /* -1: memory */
	const uint8_t *memory;
	size_t memory_left;
	uint8_t *in_buf; /* of a file */
	const uint8_t *in;
	size_t in_len;
	uint64_t taken, total; /* bytes of the file */
	bool in_end, end;      /* nothing more to read; nothing more to expand */
	bool member;           /* inside a member or frame: an end here is a truncation */
	z_stream z;
	bool z_on;
	ZSTD_DStream *zstd;

	char *out;
	size_t pos, len, cap; /* cap leaves room for a NUL */
	uint64_t expanded;    /* bytes ever put into out */

	uint64_t number, offset;
	bool cut, nomem;
	char problem[160];

	void (*progress)(void *, uint64_t, uint64_t);
	void *progress_arg;
	uint64_t next_progress;
};

static void set_problem(struct stream *s, const char *what, int code)
{
	if (!s->problem[0])
		snprintf(s->problem, sizeof(s->problem), "%s at byte %llu%s%s", what,
		         (unsigned long long)(s->taken - s->in_len), code ? ": " : "",
		         code ? strerror(code) : "");
	s->end = true;
}

static void set_nomem(struct stream *s)
{
	s->nomem = true;
	set_problem(s, "out of memory", 0);
}

/* More of the file into in[]; in[] must be empty. */
static void fill_in(struct stream *s)
{
	ssize_t n;

	if (s->fd < 0) {
		s->in = s->memory;
		s->in_len = s->memory_left < IN_SIZE ? s->memory_left : IN_SIZE;
		s->memory += s->in_len;
		s->memory_left -= s->in_len;
		s->taken += s->in_len;
		s->in_end = !s->in_len;
		return;
	}
	do
		n = read(s->fd, s->in_buf, IN_SIZE);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		set_problem(s, "reading failed", errno);
	s->in = s->in_buf;
	s->in_len = n > 0 ? (size_t)n : 0;
	s->taken += s->in_len;
	s->in_end = n <= 0;
	if (s->progress && (s->taken >= s->next_progress || s->in_end)) {
		s->progress(s->progress_arg, s->taken, s->total);
		s->next_progress = s->taken + PROGRESS_STEP;
	}
}

static void expand_plain(struct stream *s, size_t room)
{
	size_t n = s->in_len < room ? s->in_len : room;

	memcpy(s->out + s->len, s->in, n);
	s->len += n;
	s->in += n;
	s->in_len -= n;
}

static void expand_gzip(struct stream *s, size_t room)
{
	int r;

	if (!s->member) {
		inflateReset(&s->z);
		s->member = true;
	}
	s->z.next_in = (Bytef *)(uintptr_t)s->in;
	s->z.avail_in = (uInt)s->in_len;
	s->z.next_out = (Bytef *)s->out + s->len;
	s->z.avail_out = (uInt)room;
	r = inflate(&s->z, Z_NO_FLUSH);
	s->in += s->in_len - s->z.avail_in;
	s->in_len = s->z.avail_in;
	s->len += room - s->z.avail_out;
	if (r == Z_STREAM_END)
		s->member = false;
	else if (r == Z_MEM_ERROR)
		set_nomem(s);
	else if (r != Z_OK && r != Z_BUF_ERROR)
		set_problem(s, "the gzip data is damaged", 0);
}

static void expand_zstd(struct stream *s, size_t room)
{
	ZSTD_inBuffer in = { s->in, s->in_len, 0 };
	ZSTD_outBuffer out = { s->out + s->len, room, 0 };
	size_t r = ZSTD_decompressStream(s->zstd, &out, &in);

	s->in += in.pos;
	s->in_len -= in.pos;
	s->len += out.pos;
	s->member = r != 0;
	if (ZSTD_getErrorCode(r) == ZSTD_error_frameParameter_windowTooLarge)
		set_problem(s, "it was packed with zstd --long; unpack it first (zstd -d --long=31)",
		            0);
	else if (ZSTD_isError(r))
		set_problem(s, "the zstd data is damaged", 0);
}

/* Room at the end of the window: what was consumed goes, or the window grows. */
static size_t make_room(struct stream *s)
{
	if (s->pos) {
		memmove(s->out, s->out + s->pos, s->len - s->pos);
		s->len -= s->pos;
		s->pos = 0;
	}
	if (s->len == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : OUT_SIZE;
		char *p = realloc(s->out, cap + 1);

		if (!p) {
			set_nomem(s);
			return 0;
		}
		s->out = p;
		s->cap = cap;
	}
	return s->cap - s->len;
}

/* At least one more byte behind what is pending; false at the end. */
static bool expand(struct stream *s)
{
	size_t room, before;

	if (s->end)
		return false;
	room = make_room(s);
	before = s->len;
	while (!s->end && s->len == before) {
		/* even without input an expander may hold back output */
		bool starved = false;

		if (!s->in_len && !s->in_end)
			fill_in(s);
		if (!s->in_len && s->in_end)
			starved = true;
		if (starved && (s->packing == PLAIN || !s->member)) {
			s->end = true;
			break;
		}
		if (s->packing == PLAIN)
			expand_plain(s, room);
		else if (s->packing == GZIP)
			expand_gzip(s, room);
		else
			expand_zstd(s, room);
		if (starved && s->len == before)
			set_problem(s, "the compressed data ends early", 0);
	}
	s->expanded += s->len - before;
	if (s->packing != PLAIN && s->expanded > FREE_SIZE && s->expanded / MAX_RATIO > s->taken)
		set_problem(s, "the file expands to an absurd size", 0);
	return s->len > before;
}

static struct seep_error *start(struct stream *s)
{
	static const uint8_t gzip_magic[] = { 0x1f, 0x8b, 8 },
			     zstd_magic[] = { 0x28, 0xb5, 0x2f, 0xfd };

	fill_in(s);
	if (s->problem[0])
		return seep_error_new(0, "%s", s->problem);
	if (s->in_len >= sizeof(gzip_magic) && !memcmp(s->in, gzip_magic, sizeof(gzip_magic))) {
		s->packing = GZIP;
		if (inflateInit2(&s->z, 16 + MAX_WBITS) != Z_OK)
			return &seep_error_nomem;
		s->z_on = s->member = true;
	} else if (s->in_len >= sizeof(zstd_magic) &&
	           !memcmp(s->in, zstd_magic, sizeof(zstd_magic))) {
		s->packing = ZSTD;
		s->zstd = ZSTD_createDStream();
		if (!s->zstd || ZSTD_isError(ZSTD_initDStream(s->zstd)))
			return &seep_error_nomem;
		s->member = true;
	}
	return NULL;
}

struct seep_error *stream_memory(const void *data, size_t len, struct stream **ret_stream)
{
	_cleanup_stream_ struct stream *s = calloc(1, sizeof(*s));
	struct seep_error *err;

	if (!s)
		return &seep_error_nomem;
	s->fd = -1;
	s->memory = data;
	s->memory_left = s->total = len;
	err = start(s);
	if (!err)
		*ret_stream = TAKE(s);
	return err;
}

struct seep_error *stream_open(const char *path, struct stream **ret_stream)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	_cleanup_stream_ struct stream *s = calloc(1, sizeof(*s));
	struct seep_error *err;
	struct stat st;

	if (fd < 0)
		return seep_error_new(errno, "cannot open %s", path);
	if (fstat(fd, &st) < 0)
		return seep_error_new(errno, "cannot look at %s", path);
	if (S_ISDIR(st.st_mode))
		return seep_error_new(0, "%s is a directory", path);
	if (!s)
		return &seep_error_nomem;
	s->fd = TAKE_FD(fd);
	s->total = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	s->in_buf = malloc(IN_SIZE);
	if (!s->in_buf)
		return &seep_error_nomem;
	err = start(s);
	if (err)
		return seep_error_wrap(err, "cannot read %s", path);
	*ret_stream = TAKE(s);
	return NULL;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	if (s->z_on)
		inflateEnd(&s->z);
	ZSTD_freeDStream(s->zstd);
	free(s->in_buf);
	free(s->out);
	free(s);
}

void stream_progress(struct stream *s, void (*progress)(void *, uint64_t, uint64_t), void *arg)
{
	s->progress = progress;
	s->progress_arg = arg;
}

size_t stream_peek(struct stream *s, size_t n, const uint8_t **ret_data)
{
	while (s->len - s->pos < n && expand(s))
		continue;
	*ret_data = (const uint8_t *)s->out + s->pos;
	return s->len - s->pos < n ? s->len - s->pos : n;
}

char *stream_line(struct stream *s, size_t *ret_len)
{
	size_t searched = 0, n, next;
	char *line, *nl = NULL;

	for (;;) {
		if (s->len > s->pos + searched)
			nl = memchr(s->out + s->pos + searched, '\n', s->len - s->pos - searched);
		if (nl)
			break;
		searched = s->len - s->pos;
		if (searched >= STREAM_MAX_LINE) {
			set_problem(s, "a line is longer than any format has", 0);
			return NULL;
		}
		if (!expand(s))
			break;
	}
	if (!nl && s->len == s->pos)
		return NULL;
	s->cut = !nl;
	s->number++;
	s->offset = s->expanded - (s->len - s->pos);
	line = s->out + s->pos;
	n = nl ? (size_t)(nl - line) : s->len - s->pos;
	next = nl ? n + 1 : n;
	line[n] = 0; /* the newline, or the byte kept free behind the window */
	s->pos += next;
	if (n && line[n - 1] == '\r')
		line[--n] = 0;
	*ret_len = n;
	return line;
}

size_t stream_chunk(struct stream *s, const uint8_t **ret_data)
{
	size_t n;

	if (s->len == s->pos && !expand(s))
		return 0;
	n = s->len - s->pos;
	s->offset = s->expanded - n;
	*ret_data = (const uint8_t *)s->out + s->pos;
	s->pos = s->len;
	return n;
}

uint64_t stream_number(const struct stream *s)
{
	return s->number;
}

uint64_t stream_offset(const struct stream *s)
{
	return s->offset;
}

bool stream_cut(const struct stream *s)
{
	return s->cut;
}

const char *stream_problem(const struct stream *s)
{
	return s->problem[0] ? s->problem : NULL;
}

bool stream_nomem(const struct stream *s)
{
	return s->nomem;
}
