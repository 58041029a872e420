/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to take a snapshot: one process's triggers as a state machine.
 *
 * It is fed with facts somebody read from outside (the ledger's totals, /proc, the memory
 * cgroup, a clock) and answers which triggers fire now, and when to look again.  It reads nothing itself
 * and knows no clock but the one in the facts.
 *
 *     every     EVERY ns since it began; what was missed while nobody looked is made up once
 *     alloc     each time another ALLOC bytes were allocated in all
 *     high      in use exceeds everything a snapshot has shown so far by a step: bytes, or a
 *               part of it (but at least TRIGGER_LEAST_STEP)
 *     cgroup    the memory cgroup is filled to a share of its limit; armed again when it has fallen by
 *               TRIGGER_REARM below
 *     growth    in use, or resident memory, is so many bytes above its lowest of the last minute; after
 *               firing the minute begins anew
 *     request   the ledger's counter of requests moved (the signal of SEEP_OPTIONS signal=)
 *     end       the process has ended
 *
 * Snapshots may cost at most 10 % of the watcher's time: after one that took t, nothing but cgroup, request
 * and end fires for 9 t; what would have fired does so afterwards.
 */
#ifndef SEEP_CAPTURE_TRIGGERS_H
#define SEEP_CAPTURE_TRIGGERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum trigger_kind {
	TRIGGER_EVERY,
	TRIGGER_ALLOC,
	TRIGGER_HIGH,
	TRIGGER_CGROUP,
	TRIGGER_GROWTH,
	TRIGGER_GROWTH_RSS,
	TRIGGER_REQUEST,
	TRIGGER_END,
	TRIGGER_NKINDS
};
#define TRIGGER_BIT(kind) (1u << (kind))

#define TRIGGER_SHARES 8
#define TRIGGER_LEAST_STEP (1u << 20)
#define TRIGGER_REARM 0.05                /* of the limit */
#define TRIGGER_SECONDS 60                /* what growth looks back on */
#define TRIGGER_LONGEST_WAIT 250000000ull /* ns */
#define TRIGGER_SHORTEST_WAIT 1000000ull

struct trigger_options {
	uint64_t every_ns; /* 0: not, also below */
	uint64_t alloc_bytes;
	uint64_t high_bytes;           /* the step of `high`; both 0: not */
	double high_share;             /* the same as a share, 0.1 for 10 % */
	double cgroup[TRIGGER_SHARES]; /* shares of the limit, ascending; 0 ends the list */
	uint64_t growth, growth_rss;   /* bytes a minute */
	bool end;                      /* a snapshot at the end even when there was none before */
	const char *request;           /* what the counter counts: "SIGUSR2"; NULL: not looked at */
};

/* Whether anything can fire but the end of a process that had fired before. */
bool trigger_options_any(const struct trigger_options *o);

struct trigger_facts {
	uint64_t now_ns;
	uint64_t inuse, alloc; /* bytes, as the ledger counts */
	uint64_t rss;          /* bytes; 0: unknown */
	uint64_t used, limit; /* of the memory cgroup nearest to its limit; limit 0: there is none */
	uint64_t requests;    /* the ledger's counter */
	bool ended;
};

struct trigger_low {
	uint64_t second; /* which second of the clock; its lowest values */
	uint64_t inuse, rss;
};

struct triggers {
	struct trigger_options o;
	uint64_t begin_ns, next_every_ns, next_alloc;
	uint64_t high;         /* the most a snapshot has shown */
	uint64_t requests;     /* seen */
	uint32_t shares_armed; /* bit i: cgroup[i] */
	struct trigger_low low[TRIGGER_SECONDS];
	uint64_t growth_since, growth_rss_since; /* what was before does not count */
	uint64_t not_before_ns;
	uint64_t snapshots; /* fired so far */
	/* of the last look, for rates */
	struct trigger_facts last;
	double inuse_rate, alloc_rate, used_rate, rss_rate; /* bytes/ns, falling slowly */
	bool ended;
};

/* What fired: one snapshot answers all of it. */
struct trigger_fired {
	uint32_t kinds;  /* set of TRIGGER_BIT; 0: nothing */
	char reason[96]; /* "new high, every 1 min": for people; the first is the most telling */
};

/* *o is copied; its strings stay the caller's.  `first`: the facts when the watch began; zeros but for the time, where
 * it began with the process. */
void triggers_begin(struct triggers *t, const struct trigger_options *o,
                    const struct trigger_facts *first);
/* Takes the facts in; *ret_fired says what fires.  The caller is expected to take a snapshot then. */
void triggers_step(struct triggers *t, const struct trigger_facts *f,
                   struct trigger_fired *ret_fired);
/* A snapshot for any reason was taken, between these two moments, and showed so much in use. */
void triggers_taken(struct triggers *t, uint64_t begin_ns, uint64_t end_ns, uint64_t inuse);
/* How long nothing needs to be looked at, in ns: TRIGGER_SHORTEST_WAIT to TRIGGER_LONGEST_WAIT. */
uint64_t triggers_wait(const struct triggers *t);

#endif
