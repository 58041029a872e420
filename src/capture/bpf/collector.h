/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collector: takes events from the kernel's ring, unwinds, and writes the ledger.  It is a process of
 * its own (attach_bpf.c); here is what it does, not how it is started.
 */
#ifndef SEEP_CAPTURE_BPF_COLLECTOR_H
#define SEEP_CAPTURE_BPF_COLLECTOR_H

#include <stdint.h>
#include <sys/types.h>

struct seep_error;
struct collector;

struct collector_options {
	pid_t pid;
	uint64_t period; /* 0: every block */
	uint64_t for_ns, budget;
	unsigned int links; /* enum program_links: the first way to try */
	const char *dir;    /* of the ledger; exists */
};

/* Everything up to the first event that would be recorded. */
struct seep_error *collector_start(const struct collector_options *opts,
                                   struct collector **ret_collector);
const char *collector_ledger(const struct collector *c);
/* Until the target ends, the time or the space is up, or stop_fd becomes readable.  Then the probes are off. */
void collector_run(struct collector *c, int stop_fd);
void collector_free(struct collector *c);

#endif
