/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page's files, from build time: what npm made of web/ (gzip'd), or where there was no npm, a page that says so and lists the
 * processes.  embed.py writes the table.
 */
#ifndef SEEP_SERVER_EMBED_H
#define SEEP_SERVER_EMBED_H

#include <stdbool.h>
#include <stddef.h>

struct embedded {
	const char *path; /* "/assets/index-Bx3f.js" */
	const char *type;
	const char *encoding; /* "gzip", or NULL */
	bool hashed;          /* its name changes with its content */
	const unsigned char *data;
	size_t len;
};

extern const struct embedded embedded_files[];
extern const size_t embedded_nfiles;

const struct embedded *embedded_find(const char *path); /* NULL: there is none */

#endif
