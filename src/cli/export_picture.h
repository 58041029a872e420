/* SPDX-License-Identifier: Apache-2.0 */
/* What `seep export` writes for people: pictures and pages, which src/output makes.  (Files for tools: src/format.) */
#ifndef SEEP_CLI_EXPORT_PICTURE_H
#define SEEP_CLI_EXPORT_PICTURE_H

#include <stdbool.h>

#include "analysis/group.h"

struct buf;
struct diff;
struct profile;
struct seep_error;
struct view;

/* What one is made of. */
struct export_source {
	const struct profile *profile; /* the one profile, or the later one */
	const struct view *view;       /* of it, or of the joint profile of `diff` */
	struct diff *diff;             /* NULL: of one profile */
	struct measure measure;
	const char *const *warnings; /* of the symbolizer */
};

struct export_picture {
	const char *name, *title, *suffixes; /* as struct format has them */
	bool differences;                    /* can show what changed */
	struct seep_error *(*write)(const struct export_source *s, struct buf *out);
};

extern const struct export_picture export_pictures[]; /* ends with a NULL name */

const struct export_picture *export_picture_by_name(const char *name);
const struct export_picture *export_picture_by_suffix(const char *path); /* the longest that fits */

#endif
