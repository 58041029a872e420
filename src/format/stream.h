/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file as a stream of lines or chunks, expanded on the way when it is gzip or zstd.  Memory is a
 * window of a few hundred KiB (the longest line at most), whatever the file's size.
 */
#ifndef SEEP_FORMAT_STREAM_H
#define SEEP_FORMAT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seep_error;
struct stream;

#define STREAM_MAX_LINE (16u << 20)

struct seep_error *stream_open(const char *path, struct stream **ret_stream);
/* data must stay as long as the stream. */
struct seep_error *stream_memory(const void *data, size_t len, struct stream **ret_stream);
void stream_free(struct stream *s);

static inline void stream_freep(struct stream **s)
{
	stream_free(*s);
}
#define _cleanup_stream_ __attribute__((cleanup(stream_freep)))

/* Called with the bytes of the file read so far, and all of them (0: unknown), every MiB or so. */
void stream_progress(struct stream *s, void (*progress)(void *, uint64_t, uint64_t), void *arg);

/* The bytes that come next, at most n, without consuming them; less when the stream is shorter. */
size_t stream_peek(struct stream *s, size_t n, const uint8_t **ret_data);

/*
 * The next line without its newline (and without a carriage return before it), NUL-terminated, which
 * may be written to; valid until the next call.  NULL at the end.  A last line that has no newline is
 * a line; stream_cut() then says so.
 */
char *stream_line(struct stream *s, size_t *ret_len);

/* Whatever is there next, consumed; 0 at the end. */
size_t stream_chunk(struct stream *s, const uint8_t **ret_data);

uint64_t stream_number(const struct stream *s); /* of the last line, from 1 */
uint64_t stream_offset(
	const struct stream *s); /* in the expanded bytes: where the last line or chunk began */
bool stream_cut(const struct stream *s); /* the last line was the file's last and had no newline */

/* Why the stream ended before its end: damage, a read that failed, no memory, absurd size.  NULL: it did not. */
const char *stream_problem(const struct stream *s);
bool stream_nomem(const struct stream *s);

#endif
