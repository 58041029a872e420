/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request looks at: which snapshot, against which, filtered how, by which value.  All routes that show stacks begin here, so
 * all of them understand the same parameters (docs/API.md, "Views").
 *
 * A look is a view of one profile, or of a difference.  Some questions are answered by making a profile that has only the answer in
 * it (blocks born in a window of time, what one thread holds, what a leak check found, what has grown): from there on they are
 * pictures and tables like all others.
 */
#ifndef SEEP_SERVER_LOOK_H
#define SEEP_SERVER_LOOK_H

#include "analysis/group.h"
#include "analysis/view.h"
#include "server/profiles.h"

#include <stdbool.h>
#include <stdint.h>

struct diff;
struct joint;
struct jsonw;
struct json_object;
struct profile;
struct reply;
struct request;
struct server;

struct look_window {
	bool given, exact; /* exact: by blocks, else by growth */
	int64_t from_ms, to_ms, asked_to_ms;
};

struct look {
	struct server *server;
	struct held *view, *base; /* what it was made of; NULL: not */
	struct profile *own;      /* a profile made for this; NULL: view's is it */
	const struct profile *sides[2];
	struct joint *joint; /* that `diff` is of, when others may have it afterwards; NULL: it is the look's own */
	struct diff *diff; /* also of one that shows growth only */
	bool shows_diff;
	struct view *v; /* of own, of view's profile, or of the diff's joint one */
	struct measure measure;
	const char *value; /* as it was asked for */
	bool normalize, noise;
	int64_t process, check, check_ms;
	struct look_window window;
	char *strings; /* what the filters borrow */
};

/* False: answered.  `fallback` is what `view` is when it is not given; NULL: then it must be. */
bool look_make(struct server *s, const struct request *q, const char *fallback, struct look *ret,
               struct reply *r);
void look_release(struct look *l);
#define _cleanup_look_ __attribute__((cleanup(look_release)))

const struct profile *look_profile(const struct look *l); /* that `v` is of */
/* Whether the same question has the same answer for ever. */
bool look_is_fixed(const struct look *l);
void look_put_about(const struct look *l, struct jsonw *j);

/* The document of a leak check → a profile whose blocks in use are those of the classes (comma-separated). */
struct seep_error *look_leaked(struct json_object *document, const char *classes,
                               struct profile **ret_profile);

#endif
