/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1.1 response, and bodies in chunks: what `seep view` has to understand of a server that it does not
 * know.  Everything is bounded, and what is not plainly right is refused.
 */
#ifndef SEEP_SERVER_HTTP_HEAD_H
#define SEEP_SERVER_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_MOST 32768
#define HEAD_HEADERS 64

struct head_header {
	char *name, *value;
};

struct head {
	int status;
	struct head_header headers[HEAD_HEADERS];
	size_t nheaders;
	int64_t length; /* of the body; -1: until the connection ends */
	bool chunked;
};

/*
 * text: of `len` bytes, all up to and with the empty line; it is changed, and the head points into it.  False: no
 * response that we understand.
 */
bool head_parse(char *text, size_t len, struct head *ret);
/* Where the head ends, behind the empty line; 0: not in there yet. */
size_t head_end(const char *text, size_t len);
const char *head_find(const struct head *h, const char *name); /* NULL: none */

enum chunk_state { CHUNK_SIZE, CHUNK_DATA, CHUNK_AFTER, CHUNK_TRAILER, CHUNK_DONE, CHUNK_BAD };

struct chunks {
	enum chunk_state state;
	uint64_t left; /* of the chunk, or the size so far */
	unsigned int digits;
	bool extension, empty; /* behind the size; the trailer's line has nothing in it so far */
	size_t trailer;
};

/*
 * Decodes in place: of `len` bytes, *ret_data are the body's, moved to the front.  Goes on where it stopped the last time;
 * look at `state` for the end, or for what is wrong.
 */
void chunks_decode(struct chunks *c, char *data, size_t len, size_t *ret_data);

#endif
