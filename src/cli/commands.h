/* SPDX-License-Identifier: Apache-2.0 */
/* The commands: one function per row of cli_commands (main.c), and what help needs. */
#ifndef SEEP_CLI_COMMANDS_H
#define SEEP_CLI_COMMANDS_H

#include <stdio.h>

int cmd_attach(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_ctl(int argc, char **argv);
int cmd_detach(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_heap(int argc, char **argv);
int cmd_help(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_snap(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_view(int argc, char **argv);
int cmd_trim(int argc, char **argv);
int cmd_tune(int argc, char **argv);

void cli_overview(FILE *f);                /* what `seep help` prints */
int cli_unknown_command(const char *name); /* says so, with the nearest name; returns CLI_FAILED */
const char *cli_nearest(const char *name); /* the command most like name, or NULL */

#endif
