/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions, and the bug this example is about: session_close() forgets the buffer. */
#include "session.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_ulong last_id;

static char *session_buffer_new(size_t size)
{
	char *buffer = malloc(size);

	if (buffer)
		memset(buffer, 0, size);
	return buffer;
}

struct session *session_open(size_t buffer_size)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->buffer = session_buffer_new(buffer_size);
	if (!session->buffer) {
		free(session);
		return NULL;
	}
	session->buffer_size = buffer_size;
	session->id = atomic_fetch_add(&last_id, 1) + 1;
	return session;
}

void session_close(struct session *session)
{
	free(session); /* the leak: session->buffer should go first */
}
