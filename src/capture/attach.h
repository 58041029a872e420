/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tracker for a process that is already running: by injecting libseep.so, or from outside through
 * uprobes (BPF).  Either way a ledger results that every reader takes for one of `seep run`, flagged
 * LEDGER_F_ATTACHED.
 */
#ifndef SEEP_CAPTURE_ATTACH_H
#define SEEP_CAPTURE_ATTACH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct seep_error;

enum attach_path { ATTACH_AUTO, ATTACH_INJECT, ATTACH_BPF };

struct attach_options {
	enum attach_path path;
	bool full;              /* every block; else sampled */
	uint64_t period;        /* bytes, when sampled; 0: 512 KiB */
	uint64_t for_ns;        /* detach by itself after that time; 0: never */
	uint64_t budget;        /* detach when the ledger takes more bytes than this; 0: never */
	const char *ledger_dir; /* NULL: the standard place */
	const char *library;    /* libseep.so to inject; NULL: the one beside seep */
};

struct attach_result {
	enum attach_path path; /* the one that was taken */
	char *reason;          /* why that one, when it was ours to choose; NULL: the usual one */
	char *ledger;          /* path */
	uint64_t stopped_ns;   /* how long the target stood still, in all */
	uint64_t total_ns;     /* from the call to the first event that would be recorded */
	uint64_t before_blocks,
		before_bytes; /* in use at the moment of attaching, by the walker; 0, 0: not known */
	bool untouched; /* with an error: the target is as it was, another path may be tried */
};

/* Injecting: src/capture/inject*.c. */
struct seep_error *attach_inject(pid_t pid, const struct attach_options *opts,
                                 struct attach_result *ret);
/*
 * Restores every slot and page protection; the library stays mapped and passes everything through.  The error's code is
 * ENOTSUP where nothing could have been injected.
 */
struct seep_error *detach_inject(pid_t pid, const struct attach_options *opts);
/* NULL: injecting should work here.  Else the reason why not, for ATTACH_AUTO to tell. */
char *attach_inject_obstacle(pid_t pid);

/*
 * Uprobes: src/capture/bpf/.  Starts a collector (a process of its own, its pid kept beside the ledger) that fills the
 * ledger until detach_bpf(), the end of the target or opts->for_ns.
 */
struct seep_error *attach_bpf(pid_t pid, const struct attach_options *opts,
                              struct attach_result *ret);
/* The collector is found by its ledger, in opts->ledger_dir or anywhere.  The error's code is ESRCH when there is none. */
struct seep_error *detach_bpf(pid_t pid, const struct attach_options *opts);
/* NULL: this kernel and these rights are enough.  Else the reason why not. */
char *attach_bpf_obstacle(pid_t pid);

void attach_result_release(struct attach_result *ret);

#endif
