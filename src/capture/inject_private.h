/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of injecting share. */
#ifndef SEEP_CAPTURE_INJECT_PRIVATE_H
#define SEEP_CAPTURE_INJECT_PRIVATE_H

#include "proc/borrow.h"
#include "proc/dynsym.h"
#include "proc/image.h"
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
	int ledger_fd, library_fd; /* -1: none; closed by inject_target_release() */
};

/* Looks at it; an error is what is in the way of injecting. */
struct seep_error *inject_look(pid_t pid, struct inject_target *ret);
void inject_target_release(struct inject_target *t);
#define _cleanup_inject_target_ __attribute__((cleanup(inject_target_release)))
/* What borrowing came to, as an error; NULL: the library has answered with ATTACH_DONE. */
struct seep_error *inject_outcome(const struct inject_target *t, const struct borrow_result *res);

/* inject_files.c: the ledger (in `given`, or the user's directory), and how the target will open the library. */
struct seep_error *inject_ledger_make(struct inject_target *t, const char *given);
struct seep_error *inject_library_choose(struct inject_target *t, const char *given);
bool inject_library_exists(bool musl);
bool inject_foreign_user(pid_t pid); /* another user namespace */
bool inject_foreign_time(pid_t pid); /* another time namespace: its clock is not ours */

/* inject_before.c: a clone of the process, or NULL: too large, or not possible. */
struct image;
struct image *inject_before_clone(const struct inject_target *t, uint64_t *stopped_ns);
bool inject_before_count(const struct image *img, uint64_t *ret_blocks, uint64_t *ret_bytes);
void inject_before_write(int ledger_fd, uint64_t blocks, uint64_t bytes);

/* inject_watch.c: a process that detaches when it is time. */
struct attach_options;
struct seep_error *inject_watch_start(pid_t pid, int ledger_fd, const struct attach_options *opts);

#endif
