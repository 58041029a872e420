/* SPDX-License-Identifier: Apache-2.0 */
/* The recorder, as its files see it. */
#ifndef SEEP_SERVER_RECORDER_PRIVATE_H
#define SEEP_SERVER_RECORDER_PRIVATE_H

#include "server/recorder.h"

#include <pthread.h>

#define RECORDER_DEAD 32 /* ledgers of the dead that are looked at when the server starts */
#define RECORDER_ENDED 256

struct store_point;

struct tracked {
	struct subject s; /* under the lock */
	struct tracked *next;
	char *ledger;
	int ledger_fd; /* opened while it lived; -1 none */
	int64_t next_point, next_deep, next_snapshot;
	int64_t seen_ms; /* first */
	bool seen, snapping, was_tracked, has_baseline, passing;
	unsigned int taken; /* snapshots */
	uint64_t last_inuse;
};

struct recorder {
	struct server *server;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool started, stop, poked, scanned;
	struct tracked *first;
	size_t n;

	struct store_point *pending;
	size_t npending, cap_pending;
	uint64_t written, lost;

	struct ended_sum *ended;
	size_t nended;
};

struct tracked *recorder_by_id(struct recorder *r, int64_t id);
void recorder_changed(struct recorder *r);
/* Puts a point among those that wait for the store; the oldest goes when there are too many. */
void recorder_pend(struct recorder *r, const struct store_point *p);
/* Gives the store what waits, and then tells those who listen. */
void recorder_flush(struct recorder *r);
/* Under the lock. */
void recorder_sum_ended(struct recorder *r, const struct subject *s);

/* NAME, PID or a cgroup's path. */
bool recorder_spec_matches(const char *spec, const struct running *p);
bool recorder_settled(unsigned int taken, uint64_t before, uint64_t now);

#endif
