/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SEEP_SERVER_API_SITES_H
#define SEEP_SERVER_API_SITES_H

#include <stddef.h>
#include <stdint.h>

struct jsonw;
struct look;
struct row;
struct seep_error;
struct server;
struct store_course;

/* How a process's memory in use goes, and which sites make it grow; null with fewer than two snapshots. */
struct seep_error *sites_put_growth(struct server *s, int64_t process, struct jsonw *j,
                                    const char *key);
/* One of those, if it grows. */
void sites_put_growing(const struct look *l, const struct row *row, uint64_t key,
                       const struct store_course *c, size_t number, struct jsonw *j);

#endif
