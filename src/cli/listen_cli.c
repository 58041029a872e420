/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/listen_cli.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "server/listen.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

size_t listen_cli_options(struct listen_cli *c, struct cli_option *rows)
{
	const struct cli_option own[LISTEN_CLI_ROWS] = {
		{ CLI_U64, 'p', "port", &c->port, "PORT",
		  "listen there (default 7337; 0: any that is free)", false, NULL },
		{ CLI_STRING, 0, "listen", &c->listen, "ADDRESS[:PORT]",
		  "listen on another address than 127.0.0.1; needs --remote when others can reach it",
		  false, NULL },
		{ CLI_FLAG, 0, "remote", &c->remote, NULL,
		  "yes, others may reach it: with the token that is printed", false, NULL },
		{ CLI_FLAG, 0, "token", &c->token, NULL, "ask for a token on 127.0.0.1, too", false,
		  NULL },
		{ CLI_LIST, 0, "allow-host", &c->hosts, "NAME",
		  "another name that browsers may call it by", false, NULL },
		{ CLI_FLAG, 0, "json", &c->json, NULL, "say where it is as JSON", false, NULL },
	};

	memcpy(rows, own, sizeof(own));
	return LISTEN_CLI_ROWS;
}

struct seep_error *listen_cli_split(const char *option, const char *text, char *host, size_t size,
                                    uint64_t *port)
{
	const char *from = text, *end, *number = NULL;
	char *rest;

	if (*from == '[' && (end = strchr(from, ']'))) {
		from++;
		number = end[1] == ':' ? end + 2 : NULL;
	} else {
		end = strchr(from, ':');
		if (end && strchr(end + 1, ':'))
			end = NULL; /* an IPv6 address without a port */
		number = end ? end + 1 : NULL;
		if (!end)
			end = from + strlen(from);
	}
	if (end == from || (size_t)(end - from) >= size)
		return seep_error_new(0, "%s %s: no address", option, text);
	memcpy(host, from, (size_t)(end - from));
	host[end - from] = '\0';
	if (!number)
		return NULL;
	*port = strtoul(number, &rest, 10);
	if (*rest || !*number || *port > 65535)
		return seep_error_new(0, "%s %s: no port", option, text);
	return NULL;
}

struct seep_error *listen_cli_resolve(struct listen_cli *c)
{
	struct seep_error *err = NULL;

	snprintf(c->address, sizeof(c->address), "127.0.0.1");
	if (c->listen)
		err = listen_cli_split("--listen", c->listen, c->address, sizeof(c->address),
		                       &c->port);
	if (!err && c->port > 65535)
		err = seep_error_new(0, "--port %llu: ports end at 65535",
		                     (unsigned long long)c->port);
	if (!err && !listen_is_loopback(c->address) && !c->remote)
		err = seep_error_hint(
			seep_error_new(
				0, "%s is not loopback: others could see what your processes hold",
				c->address),
			"Add --remote if that is meant: a token is then needed to get in.  Or use a tunnel: "
			"ssh -L 7337:127.0.0.1:7337 HOST");
	return err;
}

void listen_cli_say(const struct listen_cli *c, uint16_t port, const char *token)
{
	bool any = !strcmp(c->address, "0.0.0.0") || !strcmp(c->address, "::");
	bool six = !any && strchr(c->address, ':');
	char name[256] = "";
	const char *host = c->address;

	if (any)
		host = gethostname(name, sizeof(name) - 1) == 0 ? name : "localhost";
	if (c->json)
		printf("{\"url\":\"http://%s%s%s:%u/\",\"port\":%u,\"token\":\"%s\",\"pid\":%d}\n",
		       six ? "[" : "", host, six ? "]" : "", port, port, token, (int)getpid());
	else
		printf("http://%s%s%s:%u/%s%s\n", six ? "[" : "", host, six ? "]" : "", port,
		       *token ? "?token=" : "", token);
	fflush(stdout);
}

void listen_cli_release(struct listen_cli *c)
{
	free(TAKE(c->hosts.items));
}

void listen_cli_signals(void (*stop)(int sig))
{
	struct sigaction action = { .sa_handler = stop }, ignore = { .sa_handler = SIG_IGN };

	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}
