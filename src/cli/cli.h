/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every command shares: the command table, option tables, help, and how
 * errors reach the user.  A command is one cmd_*.c with one `int cmd_x(int argc,
 * char **argv)` (argv[0] is the command's name) whose result is the exit status:
 * 0 fine, 1 findings where the user asked to fail on them, 2 could not do it.
 */
#ifndef SEEP_CLI_CLI_H
#define SEEP_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seep_error;

#define CLI_OK 0
#define CLI_FINDINGS 1
#define CLI_FAILED 2

enum cli_type {
	CLI_FLAG,     /* bool *; --x sets true, --no-x false */
	CLI_STRING,   /* const char ** */
	CLI_LIST,     /* struct cli_list *: may be given several times */
	CLI_U64,      /* uint64_t * */
	CLI_SIZE,     /* uint64_t *, bytes; 512K, 1.5M, 2GiB */
	CLI_DURATION, /* uint64_t *, ns; 10m, 90s, 250ms, 1h30m */
	CLI_PERCENT,  /* double *, 0..100; the sign is optional */
	CLI_END
};

struct cli_list {
	const char **items;
	size_t n;
};

/*
 * One option; a table ends with CLI_END.  An `optional` value is given as --x=value; a number,
 * size, time or percentage also as the next argument, when that is one (--sample 512K).
 */
struct cli_option {
	enum cli_type type;
	char letter;      /* 0: none */
	const char *name; /* long name */
	void *target;
	const char *value; /* name of the value in help, NULL for flags */
	const char *help;  /* NULL: another name of an option, not listed by -h */
	bool optional;     /* value may be left out: then *target is left alone and *given is set */
	bool *given;       /* set when the option was seen; may be NULL */
};

struct cli_command {
	const char *name;
	const char *synopsis; /* after "seep NAME " */
	const char *summary;  /* one line for `seep help` */
	int (*run)(int argc, char **argv);
};

extern const struct cli_command cli_commands[]; /* ends with a NULL name; in main.c */

/*
 * Parses options in argv[1..], anywhere before "--"; with `stop_at_operand` it stops at the first operand
 * (for `run`, whose command has options of its own).  Operands are moved to argv[1..]; returns their
 * number, or -1 after a message on stderr, or -2 after printing -h.
 */
int cli_parse(const struct cli_option *opts, int argc, char **argv, bool stop_at_operand);

/* "seep report: MESSAGE", then the hint on a line of its own; frees err; returns CLI_FAILED. */
int cli_fail(const char *command, struct seep_error *err);
void cli_warn(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Terminal: colour only when the stream is one, NO_COLOR is unset and TERM is not dumb. */
bool cli_color(int fd);
bool cli_terminal(int fd);
unsigned int cli_height(int fd); /* rows; 0 when not a terminal */
bool cli_utf8(int fd); /* false only of a terminal whose locale (LC_ALL, LC_CTYPE, LANG) is not UTF-8 */
unsigned int cli_width(int fd); /* columns; 100 when not a terminal */

#endif
