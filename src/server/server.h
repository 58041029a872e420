/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server behind `seep serve`: docs/SERVER.md says how it works, docs/API.md what it answers.
 *
 *     server_new() → server_port(), server_token() for the URL to print → server_run() until server_stop() → server_free()
 *
 * It runs in threads of its own; server_run() only waits.  What looks into processes are child processes, made from
 * `options.program`, so what makes one of them crash takes nothing else with it.
 */
#ifndef SEEP_SERVER_SERVER_H
#define SEEP_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seep_error;
struct server;

#define SERVER_PORT 7337

struct server_options {
	const char *program;      /* seep itself, as a child would exec it */
	const char *data;         /* the store's directory */
	const char *ledgers;      /* where ledgers are looked for; NULL: the standard places */
	const char *address;      /* to listen on; NULL: 127.0.0.1 */
	uint16_t port;            /* 0: any that is free */
	bool token;               /* ask for one on loopback, too */
	const char *const *hosts; /* other names the server goes by */
	size_t nhosts;
	const char *const *watch; /* names, pids or cgroups to record by itself */
	size_t nwatch;
	uint64_t every_s;     /* snapshots of those */
	uint64_t interval_ms; /* points of all that is tracked or watched */
	uint64_t max_size, max_snapshots;
	uint64_t max_age_s;
	uint64_t max_blocks; /* a snapshot of a process with more of them has no single blocks */
	bool metrics_pid;    /* pids as a label in /metrics */
	void (*log)(void *arg,
	            const char *line); /* for people: what went wrong while it ran; NULL none */
	void *log_arg;
};

/* Everything that can be known beforehand is checked: the store opens, the port is free.  Listens from here on. */
struct seep_error *server_new(const struct server_options *opts, struct server **ret_server);
uint16_t server_port(const struct server *s);
const char *server_token(const struct server *s); /* "": none needed */

void server_run(struct server *s);
void server_stop(struct server *s); /* from a signal handler, too */
void server_free(struct server *s);

static inline void server_freep(struct server **s)
{
	server_free(*s);
}
#define _cleanup_server_ __attribute__((cleanup(server_freep)))

/* Rights that only root has and that looking into processes does not need are given up for good. */
void server_drop_privileges(void);

#endif
