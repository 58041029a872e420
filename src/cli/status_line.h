/* SPDX-License-Identifier: Apache-2.0 */
/* A line at the bottom of the terminal that stays there while others print above it. */
#ifndef SEEP_CLI_STATUS_LINE_H
#define SEEP_CLI_STATUS_LINE_H

#include <stdbool.h>
#include <sys/types.h>

struct status_line {
	unsigned int rows; /* of the terminal, when the line was last shown; 0: it is not shown */
	int keeper; /* the process that tidies up after a seep that was killed hears of rows here; 0: none */
	pid_t keeper_pid;
};

/* Whether stderr is a terminal that can do it. */
bool status_line_possible(void);
/* Shows text, cut to the terminal's width; does nothing while somebody else has the terminal. */
void status_line_show(struct status_line *s, const char *text);
/* Takes the line away and gives the terminal back as it was. */
void status_line_clear(struct status_line *s);
/* The same for good. */
void status_line_release(struct status_line *s);

#endif
