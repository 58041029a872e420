/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session: what a server keeps for one visitor while it answers.
 */
#ifndef SERVICE_SESSION_H
#define SERVICE_SESSION_H

#include <stddef.h>

struct session {
	unsigned long id;
	char *buffer;
	size_t buffer_size;
};

struct session *session_open(size_t buffer_size); /* NULL: out of memory */
void session_close(struct session *session);

#endif
