/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program in the kernel: loading it, putting it on functions, and its tables.
 */
#ifndef SEEP_CAPTURE_BPF_PROGRAM_H
#define SEEP_CAPTURE_BPF_PROGRAM_H

#include "capture/bpf/events.h"
#include "capture/bpf/functions.h"

struct seep_bpf;

/* How probes are put on: the best that the kernel has. */
enum program_links {
	LINKS_SESSION, /* many functions at once; a return is only taken where the entry asked (6.13) */
	LINKS_MULTI, /* many functions at once (6.6) */
	LINKS_PERF,  /* one perf event for each */
	LINKS_NLINKS
};

struct program_link {
	struct bpf_link *link; /* libbpf's, or */
	int fd;                /* ours */
};

struct program {
	struct seep_bpf *skel;
	enum program_links how;
	struct program_link *links;
	size_t nlinks, cap;
	uint64_t losses_seen[BPF_NLOSSES];
};

struct program_options {
	uint64_t period;                     /* 0: every block */
	uint64_t ring;                       /* bytes, a power of two; 0: 64 MiB, sampled 4 MiB */
	uint64_t live;                       /* sampled blocks at most; 0: a million */
	uint64_t ns_dev, ns_ino;             /* the target's PID namespace */
	uint64_t libc_lo, libc_hi;           /* who maps from here is libc itself; 0, 0: none */
	uint64_t allocator_lo, allocator_hi; /* or an allocator; 0, 0: none */
	bool plain_calls;                    /* those two are all that an allocator maps from */
	enum program_links how;              /* the first to be tried */
};

/* Loads it and puts it on the functions.  Nothing is recorded until program_activate(). */
struct seep_error *program_start(struct program *p, const struct program_options *opts,
                                 struct space *s, const struct functions *f);
void program_activate(struct program *p, bool active);
void program_set_period(struct program *p, uint64_t period);
void program_detach(struct program *p); /* takes all probes off; what is in the ring stays */
void program_release(struct program *p);

int program_ring(const struct program *p);
void program_stack_end(struct program *p, uint32_t tid,
                       const struct stack_end *end);        /* NULL: not known */
void program_first_copy(struct program *p, uint32_t bytes); /* of stacks whose end is not known */
void program_path(struct program *p, const struct path_key *key, const struct path_value *value);
void program_forget_paths(struct program *p);
uint32_t program_epoch(const struct program *p);
/* How many more were lost since it was asked last. */
uint64_t program_lost(struct program *p, enum bpf_loss what);

/* NULL: a program can be loaded here.  Else why not. */
char *program_obstacle(void);

#endif
