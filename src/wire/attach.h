/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What seep and an injected libseep.so say to each other.
 *
 * seep writes a struct attach_request into memory it has mapped in the target, together with a few
 * instructions (src/capture/inject_stub.h) that load the library and call attach_entry() in it.  The
 * library answers in the same place.  Nothing is waited for: seep looks at `state`.
 *
 * The target is not trusted: what seep reads back is checked like everything else from there.
 */
#ifndef SEEP_WIRE_ATTACH_H
#define SEEP_WIRE_ATTACH_H

#include <stdint.h>

#define ATTACH_VERSION 1u

/* The library's entry point and its state, exported under these names. */
#define ATTACH_ENTRY "seep_attach_entry"
#define ATTACH_STATUS "seep_attach_status"

enum attach_order { ATTACH_BEGIN = 1, ATTACH_END = 2 };

/* attach_request.state; whatever is not one of these is a target that lies. */
enum attach_state {
	ATTACH_WANTED = 0,  /* nothing has happened yet */
	ATTACH_LOADING = 1, /* the instructions run */
	ATTACH_ENTERED = 2, /* in the library */
	ATTACH_DONE = 3,
	ATTACH_NO_THREAD = 4,  /* error: of pthread_create() */
	ATTACH_NO_LIBRARY = 5, /* dlopen() refused; message says why */
	ATTACH_NO_ENTRY = 6,   /* the file is another library */
	ATTACH_REFUSED = 7,    /* error: enum attach_refusal */
};

enum attach_refusal {
	REFUSED_VERSION = 1,  /* the library mapped is of another build */
	REFUSED_LATE = 2,     /* the deadline had passed: nobody waits any more */
	REFUSED_TRACKED = 3,  /* it is being tracked already */
	REFUSED_LEDGER = 4,   /* no ledger could be made */
	REFUSED_MEMORY = 5,   /* no memory for the tracker's tables */
	REFUSED_NOT_HERE = 6, /* detach: it is not attached */
	REFUSED_BUSY = 7,     /* another attach or detach is under way */
	REFUSED_STUCK = 8,    /* detached, but a thread still is inside the tracker */
};

struct attach_request {
	/* What the instructions use, by these very offsets: addresses in the target. */
	uint64_t pthread_create; /* 0: the call is made in the thread that was borrowed */
	uint64_t dlopen, dlsym, dlerror;
	uint64_t errno_location;
	uint64_t entry;      /* of the library, when it is mapped already; else 0 */
	uint64_t thread;     /* out: pthread_t */
	uint32_t state;      /* enum attach_state */
	int32_t error;       /* of pthread_create(), or enum attach_refusal */
	uint64_t message;    /* out: address of dlerror()'s text, or 0 */
	char library[256];   /* what dlopen() is given */
	char entry_name[32]; /* ATTACH_ENTRY */

	/* For the library. */
	uint32_t version, order; /* ATTACH_VERSION, enum attach_order */
	uint64_t deadline_mono_ns;
	uint32_t own_thread; /* 1: the thread was made for this and ends afterwards */
	/* Files opened in the target, or -1; whoever has taken one over writes -1. */
	int32_t library_fd, ledger_fd;
	/* The process as readers know it, who may live in other namespaces. */
	int32_t pid;
	uint32_t uid;
	uint64_t for_ns;       /* stop recording by itself; 0: never */
	char options[512];     /* as SEEP_OPTIONS */
	char ledger_path[256]; /* of ledger_fd, as readers will see it */

	/* The library's answer. */
	char ledger[256]; /* its path */
	uint64_t slots;   /* pointers to hooks that were written, or restored */
	uint64_t kept;    /* detach: slots somebody else had changed meanwhile, left as they were */
	uint64_t modules; /* modules with such slots */
};

/* attach_status: read from outside to see what a mapped library is doing. */
enum attach_mode {
	ATTACH_MODE_IDLE = 0,      /* loaded, does nothing: never attached, or detached */
	ATTACH_MODE_PRELOADED = 1, /* tracks since the program's start */
	ATTACH_MODE_ATTACHED = 2,
	ATTACH_MODE_BUSY = 3,
};

struct attach_status {
	uint32_t version, mode;      /* ATTACH_VERSION, enum attach_mode */
	uint64_t attached, detached; /* how often so far */
	uint64_t slots;
	int32_t pid; /* as the target sees itself; another one than its own: a child, not attached */
	uint32_t pad;
};

#endif
