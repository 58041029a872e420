/* SPDX-License-Identifier: Apache-2.0 */
/* What `seep serve` and `seep view` share: where they listen, who may come, and how that is said. */
#ifndef SEEP_CLI_LISTEN_CLI_H
#define SEEP_CLI_LISTEN_CLI_H

#include "cli/cli.h"

#include <stdbool.h>
#include <stdint.h>

struct listen_cli {
	const char *listen; /* ADDRESS, ADDRESS:PORT, [::1]:PORT; NULL: 127.0.0.1 */
	uint64_t port;
	bool remote, token, json;
	struct cli_list hosts;

	char address[64]; /* after listen_cli_resolve() */
};

#define LISTEN_CLI_ROWS 6
size_t listen_cli_options(struct listen_cli *c, struct cli_option *rows);
/* An address that others can reach needs to be meant. */
struct seep_error *listen_cli_resolve(struct listen_cli *c);
/* The URL on standard output, with the token when there is one. */
void listen_cli_say(const struct listen_cli *c, uint16_t port, const char *token);
void listen_cli_release(struct listen_cli *c);

/* HOST, HOST:PORT, [::1]:PORT; port stays as it is when there is none.  `option` is for errors. */
struct seep_error *listen_cli_split(const char *option, const char *text, char *host, size_t size,
                                    uint64_t *port);

/* SIGINT, SIGTERM and SIGHUP call stop(); a closed connection is no signal. */
void listen_cli_signals(void (*stop)(int sig));

#endif
