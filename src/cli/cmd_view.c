/* SPDX-License-Identifier: Apache-2.0 */
/* seep view: the page of another host's seep, or the profiling pages of a service, in a browser that cannot reach them. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/listen_cli.h"
#include "server/proxy.h"
#include "server/server.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdio.h>
#include <string.h>

struct view_options {
	struct listen_cli listen;
	const char *target_token;
	bool all;
	char host[256];
	uint64_t port;
};

static struct proxy *running;

static void on_signal(int sig)
{
	(void)sig;
	proxy_stop(running);
}

static struct seep_error *view(struct view_options *o, const char *target)
{
	_cleanup_proxy_ struct proxy *p = NULL;
	struct proxy_options po = { .token = o->listen.token,
		                    .target_host = o->host,
		                    .target_token = o->target_token,
		                    .all = o->all };
	struct seep_error *err = listen_cli_resolve(&o->listen);

	if (!strncmp(target, "http://", 7))
		target += 7;
	if (!err)
		err = listen_cli_split("seep view", target, o->host, sizeof(o->host), &o->port);
	if (!err && strpbrk(o->host, "/ \t\r\n"))
		err = seep_error_new(0, "%s is no host", o->host);
	if (err)
		return err;
	po.address = o->listen.address;
	po.port = (uint16_t)o->listen.port;
	po.hosts = o->listen.hosts.items;
	po.nhosts = o->listen.hosts.n;
	po.target_port = (uint16_t)o->port;
	err = proxy_new(&po, &p);
	if (err)
		return err;
	running = p;
	listen_cli_signals(on_signal);
	listen_cli_say(&o->listen, proxy_port(p), proxy_token(p));
	if (!o->listen.json)
		fprintf(stderr, "Shows %s of %s port %u.  Ctrl-C ends it.\n",
		        proxy_is_seep(p) || o->all ? "the pages" : "the profiling pages", o->host,
		        (unsigned int)o->port);
	proxy_run(p);
	return NULL;
}

int cmd_view(int argc, char **argv)
{
	struct view_options o = { .port = SERVER_PORT };
	const struct cli_option own[] = {
		{ CLI_STRING, 0, "target-token", &o.target_token, "TOKEN",
		  "what the other seep serve asks for", false, NULL },
		{ CLI_FLAG, 'a', "all", &o.all, NULL,
		  "pass on every path of a service, not only /pprof and /hotspots", false, NULL },
		{ .type = CLI_END },
	};
	struct cli_option opts[LISTEN_CLI_ROWS + ARRAY_SIZE(own)];
	struct seep_error *err;
	size_t rows = listen_cli_options(&o.listen, opts);
	int n;

	/* Beside a server of one's own. */
	opts[0].help = "listen there (default: any that is free)";
	memcpy(opts + rows, own, sizeof(own));
	n = cli_parse(opts, argc, argv, false);
	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	if (n != 1) {
		fprintf(stderr, "seep view: %s: seep view [OPTIONS] HOST[:PORT]\n",
		        n ? "one place at a time" : "which host?");
		return CLI_FAILED;
	}
	err = view(&o, argv[1]);
	listen_cli_release(&o.listen);
	return err ? cli_fail("view", err) : CLI_OK;
}
