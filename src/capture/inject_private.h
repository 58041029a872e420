/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of injecting share. */
#ifndef SEEP_CAPTURE_INJECT_PRIVATE_H
#define SEEP_CAPTURE_INJECT_PRIVATE_H

#include "proc/borrow.h"
#include "proc/dynsym.h"
#include "wire/attach.h"

extern const char inject_stub[] __attribute__((visibility("hidden")));
extern const char inject_stub_end[] __attribute__((visibility("hidden")));

/* What is known of a target before it is touched. */
struct inject_target {
	pid_t pid;
	struct dynsym symbols;
	char name[16];
	uint64_t threads;
	struct attach_request request; /* its addresses filled in */
	struct borrow_call call;       /* .unsafe filled in */
	uint64_t status_at; /* attach_status in the target; 0: the library is not mapped */
	struct attach_status status;
	bool musl;
};

/* Looks at it; an error is what is in the way of injecting. */
struct seep_error *inject_look(pid_t pid, struct inject_target *ret);
void inject_target_release(struct inject_target *t);
#define _cleanup_inject_target_ __attribute__((cleanup(inject_target_release)))
/* What borrowing came to, as an error; NULL: the library has answered with ATTACH_DONE. */
struct seep_error *inject_outcome(const struct inject_target *t, const struct borrow_result *res);

#endif
