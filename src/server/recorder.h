/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorder: a thread that sees to it that there is a past to look at.
 *
 * Its subjects are all processes that are tracked, and those that it was told to watch.  Of each it records a point every
 * interval; of watched ones that are tracked, a snapshot every so often, and the first one after the warm-up as the baseline.  When a
 * subject ends its ledger is read once more, through a descriptor that was opened while it lived, so that a `seep run` that tidies up
 * cannot be faster.  Points that the store does not take at present wait, up to a bound.
 */
#ifndef SEEP_SERVER_RECORDER_H
#define SEEP_SERVER_RECORDER_H

#include "server/measure.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct recorder;
struct seep_error;
struct server;

#define RECORDER_SUBJECTS 512
#define RECORDER_PENDING 100000 /* points */
#define RECORDER_RECENT 64

/* One subject as it was at its last reading. */
struct subject {
	int64_t id; /* in the store */
	int32_t pid;
	uint64_t start_ticks;
	uint32_t exec_seq;
	char name[64], command[256], allocator[128];
	uint32_t uid;
	bool tracked, sampled, active, attached;
	uint64_t period, inuse, inuse_blocks, alloc, ledger_bytes;
	struct measured measured;
	int64_t watch_s;  /* 0: not watched */
	int64_t retained; /* of the last doctor; STORE_NONE */
	/* Of the last minutes. */
	int64_t recent_ms[RECORDER_RECENT];
	uint64_t recent_inuse[RECORDER_RECENT], recent_rss[RECORDER_RECENT];
	size_t nrecent;
};

struct seep_error *recorder_new(struct server *s, struct recorder **ret_recorder);
void recorder_start(struct recorder *r);
void recorder_stop(struct recorder *r); /* its thread has ended; what it knows stays */
void recorder_free(struct recorder *r);

/* A copy of all; malloc'ed. */
struct subject *recorder_list(struct recorder *r, size_t *ret_n);
bool recorder_find(struct recorder *r, int64_t id, struct subject *ret);
bool recorder_find_pid(struct recorder *r, int32_t pid, struct subject *ret);
int64_t recorder_rss(struct recorder *r, int64_t id); /* STORE_NONE: not known */

/* Its number in the store, which it gets if it has none yet.  ESRCH: there is no such process; EACCES: not for this user. */
struct seep_error *recorder_adopt(struct recorder *r, int32_t pid, int64_t *ret_id);
/* 0: no longer. */
struct seep_error *recorder_watch(struct recorder *r, int64_t id, int64_t every_s);
void recorder_retained(struct recorder *r, int64_t id, int64_t bytes);
void recorder_poke(struct recorder *r); /* something has changed: look now */

/* For /metrics: what ended processes of a name had allocated, so that its counter never goes back. */
struct ended_sum {
	char name[64];
	uint64_t alloc;
};
struct ended_sum *recorder_ended(struct recorder *r, size_t *ret_n);
uint64_t recorder_points(struct recorder *r, uint64_t *ret_pending, uint64_t *ret_lost);

#endif
