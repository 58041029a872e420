/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Triggers as options: what `seep run` and `seep snap` share.
 */
#ifndef SEEP_CLI_SNAP_CLI_H
#define SEEP_CLI_SNAP_CLI_H

#include "capture/snapper.h"
#include "cli/cli.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct snap_cli {
	const char *command; /* "run", "snap": whose messages these are */
	/* as given */
	uint64_t most, space;
	const char *high, *cgroup, *growth, *growth_rss, *signal, *dir;
	bool high_given, cgroup_given;
	bool symbols, blocks;
	/* as understood */
	struct trigger_options triggers;
	int signo; /* 0: none */
	char signal_name[16];
	/* while watching */
	struct snapper *snapper;
	int listening; /* for programs that ask; -1: not */
	char *socket;
	uint64_t failed; /* snapshots that could not be taken; each was said */
};

#define SNAP_CLI_ROWS 12

void snap_cli_init(struct snap_cli *c, const char *command);
/* Appends its rows; returns how many. */
size_t snap_cli_options(struct snap_cli *c, struct cli_option *rows);
/* Understands what was given, and makes the directory of --snaps. */
struct seep_error *snap_cli_resolve(struct snap_cli *c);
/* Whether a trigger was asked for; also before snap_cli_resolve(). */
bool snap_cli_given(const struct snap_cli *c);
/* Watches all ledgers of a directory, or one.  The series goes to --snaps or seep.PID.NAME.snaps here. */
struct seep_error *snap_cli_start(struct snap_cli *c, const char *ledger_dir, const char *ledger,
                                  pid_t pid, const char *program);
/* Looks at what is due.  Milliseconds for poll() until it wants to be called again; -1: it does not. */
int snap_cli_step(struct snap_cli *c);
int snap_cli_fd(const struct snap_cli *c);                  /* -1: none */
void snap_cli_take(struct snap_cli *c, const char *reason); /* of all that run; errors are said */
void snap_cli_finish(struct snap_cli *c);                   /* the last snapshots */
void snap_cli_release(struct snap_cli *c);

/* ---- snap_serve.c ---------------------------------------------------------- */

/* Opens the socket for the programs whose ledgers are in dir; pid: for this one alone; 0: for all. */
struct seep_error *snap_cli_listen(struct snap_cli *c, const char *dir, pid_t pid);
/* One request, from accept to reply. */
void snap_cli_serve(struct snap_cli *c);
/* The socket goes. */
void snap_cli_deafen(struct snap_cli *c);

/* ---- snap_watch.c ---------------------------------------------------------- */

/* Watches the process of a ledger until it ends, or a signal says that it is enough; says what was taken. */
struct seep_error *snap_watch(struct snap_cli *c, const char *ledger, bool json);

#endif
