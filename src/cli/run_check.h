/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leak checks of a run: trackers ask for them over DIR/check.sock (wire/check.h) and stand
 * still until they are made.
 */
#ifndef SEEP_CLI_RUN_CHECK_H
#define SEEP_CLI_RUN_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/check_cli.h"

/* gperftools' modes, by name; CHECK_MODE_PLAIN: once, at the very end, as memcheck does. */
enum check_mode {
	CHECK_MODE_NONE,
	CHECK_MODE_PLAIN,
	CHECK_MODE_MINIMAL,
	CHECK_MODE_NORMAL,
	CHECK_MODE_STRICT,
	CHECK_MODE_DRACONIAN,
	CHECK_MODE_AS_IS,
	CHECK_MODE_LOCAL,
};

struct run_check_lost; /* what was lost when something began */

struct run_check {
	struct check_cli cli;
	/* as given */
	bool check;
	const char *heapcheck, *at, *from;
	/* as understood */
	enum check_mode mode;
	bool at_exit, at_end, minimal, draconian;
	/* while running */
	int fd; /* the listening socket; -1: no checks */
	char *path;
	const char *dir;
	struct check **checks;
	size_t nchecks;
	struct run_check_lost *lost;
	size_t nlost;
	uint64_t failed;   /* checks that could not be made; each was said */
	size_t ended;      /* processes checked at their end */
	bool target_ended; /* the target itself was */
};

#define RUN_CHECK_ROWS (CHECK_CLI_ROWS + 8)

void run_check_init(struct run_check *c);
size_t run_check_options(struct run_check *c, struct cli_option *rows);
/* HEAPCHECK of the environment counts where no option says anything.  c->mode is NONE when no check is wanted. */
struct seep_error *run_check_resolve(struct run_check *c);
/* What goes into SEEP_OPTIONS: "check=end"; "" none. */
const char *run_check_tracker_options(const struct run_check *c);

/* Opens the socket in dir, before the target starts. */
struct seep_error *run_check_listen(struct run_check *c, const char *dir);
/* One request, from accept to reply; pid: the target.  Errors are said, not returned: the target must go on. */
void run_check_serve(struct run_check *c, pid_t pid);
/* After the target's end: its children usually end in the same instant.  Serves them, bounded; some are meant to stay. */
void run_check_drain(struct run_check *c, pid_t pid);
/* Everything that is written at the end; the socket is gone afterwards. */
struct seep_error *run_check_finish(struct run_check *c);
/* Whether a check was made at the end of this process. */
bool run_check_made(const struct run_check *c, pid_t pid);
bool run_check_fails(const struct run_check *c);
void run_check_release(struct run_check *c);

#endif
