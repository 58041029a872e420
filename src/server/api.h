/* SPDX-License-Identifier: Apache-2.0 */
/* What the routes share: which process is meant, and bodies. */
#ifndef SEEP_SERVER_API_H
#define SEEP_SERVER_API_H

#include "server/private.h"

#include <stdbool.h>
#include <stdint.h>

struct jsonw;
struct json_object;

/* A process as a path names it. */
struct who {
	int64_t id;               /* 0: runs, and is not recorded */
	struct store_process row; /* when id */
	int32_t pid;              /* of one that runs, or ran */
	bool running;
};

void who_release(struct who *w);
#define _cleanup_who_ __attribute__((cleanup(who_release)))

/* "12" or "pid:4711"; with `adopt` the latter is recorded from now on.  False: answered. */
bool api_who(struct server *s, const char *text, bool adopt, struct who *ret, struct reply *r);

/* A number of a path; false: answered with 404. */
bool api_number(const char *text, const char *what, int64_t *ret, struct reply *r);

/* The body as a JSON object; NULL: answered.  To be released with json_object_put(). */
struct json_object *api_body(const struct request *q, struct reply *r);
/* A member; NULL when it is missing or null.  *ret_given: it is there (so that null clears). */
struct json_object *api_member(struct json_object *o, const char *name, bool *ret_given);

/* JSON from here on: the body's writer. */
struct jsonw api_json(struct reply *r);

/* Of a user; the number where there is no name. */
void user_name(uint32_t uid, char *name, size_t size);

/* One process as lists and pages have it. */
struct subject;
struct running;
void process_put(struct server *s, struct jsonw *j, const char *key, const struct store_process *row,
                 const struct subject *subject, const struct running *running);

#endif
