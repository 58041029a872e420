/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that several routes and events show: snapshots, as the API has them. */
#ifndef SEEP_SERVER_SNAPSHOTS_H
#define SEEP_SERVER_SNAPSHOTS_H

#include <stdint.h>

struct jsonw;
struct server;
struct store_snapshot;

void snapshot_put(struct jsonw *j, const char *key, const struct store_snapshot *s,
                  int64_t baseline);
/* Tells those who listen that there is a new one. */
void snapshot_announce(struct server *s, int64_t id);

#endif
