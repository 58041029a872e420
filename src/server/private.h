/* SPDX-License-Identifier: Apache-2.0 */
/* The server's parts, and who owns what: struct server owns all of them, and each has a file of its own. */
#ifndef SEEP_SERVER_PRIVATE_H
#define SEEP_SERVER_PRIVATE_H

#include "server/guard.h"
#include "server/request.h"
#include "server/server.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct events;
struct http;
struct jobs;
struct joints;
struct profiles;
struct recorder;
struct work;

#define SERVER_SMALL_BODY 65536u
#define SERVER_UPLOAD (256u << 20)
#define SERVER_NODES 200000
#define SERVER_ROWS 10000
#define SERVER_POINTS 20000

struct server {
	struct server_options o; /* strings borrowed from the caller */
	struct guard guard;
	bool loopback; /* listens there only */
	char boot[40];
	int64_t started_ms;
	char *tmp; /* the directory for what children write */

	struct store *store, *reader; /* writes; reads beside them */
	struct http *http;
	struct work *work;
	struct events *events;
	struct profiles *profiles;
	struct joints *joints;
	struct jobs *jobs;
	struct recorder *recorder;

	pthread_mutex_t lock; /* of store_error */
	char *store_error;    /* while nothing can be written; NULL */
	int stop_fd[2];       /* a pipe: server_stop() writes */
};

int64_t server_now_ms(void);
void server_log(struct server *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What became of a write to the store: remembered for those who ask how it is.  Frees err. */
void server_store_state(struct server *s, struct seep_error *err);

/* ---- routes (routes.c) --------------------------------------------------------------------- */

enum route_flag {
	ROUTE_QUICK = 1,  /* answered on the network thread: memory only */
	ROUTE_MERGE = 2,  /* the same question at the same time is answered once */
	ROUTE_UPLOAD = 4, /* a large body, into a file */
};

struct route {
	const char *method, *pattern;
	void (*run)(struct server *s, struct request *q, struct reply *r);
	enum guard_kind guard;
	unsigned int flags;
};

/* NULL: answered with 404 or 405.  The request's args are set. */
const struct route *route_find(struct request *q, struct reply *r);

void route_server(struct server *s, struct request *q, struct reply *r);
void route_login(struct server *s, struct request *q, struct reply *r);
void route_page(struct server *s, struct request *q, struct reply *r);
void route_events(struct server *s, struct request *q, struct reply *r);

void route_processes(struct server *s, struct request *q, struct reply *r);
void route_process(struct server *s, struct request *q, struct reply *r);
void route_process_patch(struct server *s, struct request *q, struct reply *r);
void route_process_delete(struct server *s, struct request *q, struct reply *r);
void route_watch_put(struct server *s, struct request *q, struct reply *r);
void route_watch_delete(struct server *s, struct request *q, struct reply *r);
void route_timeline(struct server *s, struct request *q, struct reply *r);

void route_snapshots(struct server *s, struct request *q, struct reply *r);
void route_snapshot(struct server *s, struct request *q, struct reply *r);
void route_snapshot_patch(struct server *s, struct request *q, struct reply *r);
void route_snapshot_delete(struct server *s, struct request *q, struct reply *r);
void route_upload(struct server *s, struct request *q, struct reply *r);

void route_view(struct server *s, struct request *q, struct reply *r);
void route_sites(struct server *s, struct request *q, struct reply *r);
void route_site(struct server *s, struct request *q, struct reply *r);
void route_findings(struct server *s, struct request *q, struct reply *r);
void route_documents(struct server *s, struct request *q, struct reply *r);
void route_document(struct server *s, struct request *q, struct reply *r);

void route_jobs(struct server *s, struct request *q, struct reply *r);
void route_job(struct server *s, struct request *q, struct reply *r);
void route_job_post(struct server *s, struct request *q, struct reply *r);
void route_job_delete(struct server *s, struct request *q, struct reply *r);

void route_tool_list(struct server *s, struct request *q, struct reply *r);
void route_tool(struct server *s, struct request *q, struct reply *r);
void route_metrics(struct server *s, struct request *q, struct reply *r);

#endif
