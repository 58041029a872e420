/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep serve: the web page, the HTTP API and the pprof endpoints, for all processes that one may look into; and a past to look at,
 * because it records.
 */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/listen_cli.h"
#include "server/server.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define DAY (24 * 3600 * SECOND)

struct serve_options {
	struct listen_cli listen;
	const char *data, *ledgers;
	struct cli_list watch;
	uint64_t every, interval, max_size, max_age, max_snapshots, max_blocks;
	bool metrics_pid;
};

static struct server *running;

static void on_signal(int sig)
{
	(void)sig;
	server_stop(running);
}

static void on_log(void *arg, const char *line)
{
	(void)arg;
	cli_warn("serve", "%s", line);
}

/* $XDG_STATE_HOME/seep/serve, or ~/.local/state/seep/serve. */
static char *standard_data(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	struct buf b = { 0 };

	if (state && *state == '/')
		buf_printf(&b, "%s/seep/serve", state);
	else if (home && *home == '/')
		buf_printf(&b, "%s/.local/state/seep/serve", home);
	else
		buf_printf(&b, "/var/tmp/seep-serve-%u", (unsigned int)geteuid());
	return buf_steal(&b);
}

static struct seep_error *serve(struct serve_options *o)
{
	_cleanup_free_ char *standard = o->data ? NULL : standard_data();
	_cleanup_server_ struct server *s = NULL;
	struct server_options so = {
		.program = "/proc/self/exe",
		.data = o->data ? o->data : standard,
		.ledgers = o->ledgers,
		.address = o->listen.address,
		.token = o->listen.token,
		.watch = o->watch.items,
		.nwatch = o->watch.n,
		.every_s = o->every / SECOND,
		.interval_ms = o->interval / 1000000,
		.max_size = o->max_size,
		.max_snapshots = o->max_snapshots,
		.max_age_s = o->max_age / SECOND,
		.max_blocks = o->max_blocks,
		.metrics_pid = o->metrics_pid,
		.log = on_log,
	};
	struct seep_error *err = listen_cli_resolve(&o->listen);

	if (!err && (o->every < SECOND || o->interval < SECOND / 10))
		err = seep_error_new(0, "--every is at least 1s, --interval at least 100ms");
	if (!err && !so.data)
		err = &seep_error_nomem;
	if (err)
		return err;
	so.port = (uint16_t)o->listen.port;
	so.hosts = o->listen.hosts.items;
	so.nhosts = o->listen.hosts.n;
	umask(077);
	err = server_new(&so, &s);
	if (err)
		return err;
	server_drop_privileges();
	running = s;
	listen_cli_signals(on_signal);
	listen_cli_say(&o->listen, server_port(s), server_token(s));
	if (!o->listen.json)
		fprintf(stderr, "Recording into %s.  Ctrl-C ends it.\n", so.data);
	server_run(s);
	return NULL;
}

int cmd_serve(int argc, char **argv)
{
	struct serve_options o = { .listen = { .port = SERVER_PORT },
		                   .every = 60 * SECOND,
		                   .interval = 2 * SECOND,
		                   .max_size = 1ull << 30,
		                   .max_age = 30 * DAY,
		                   .max_snapshots = 500,
		                   .max_blocks = 1000000 };
	const struct cli_option own[] = {
		{ CLI_LIST, 'w', "watch", &o.watch, "NAME|PID|CGROUP",
		  "record it by itself, with snapshots", false, NULL },
		{ CLI_DURATION, 'e', "every", &o.every, "TIME",
		  "a snapshot of what is watched so often (default 60s)", false, NULL },
		{ CLI_DURATION, 0, "interval", &o.interval, "TIME",
		  "a point of what is tracked or watched so often (default 2s)", false, NULL },
		{ CLI_STRING, 'd', "data", &o.data, "DIR",
		  "where the record is kept (default: ~/.local/state/seep/serve)", false, NULL },
		{ CLI_SIZE, 0, "max-size", &o.max_size, "SIZE",
		  "of the record; it is thinned out (default 1G)", false, NULL },
		{ CLI_DURATION, 0, "max-age", &o.max_age, "TIME",
		  "what is older goes (default 30d)", false, NULL },
		{ CLI_U64, 0, "max-snapshots", &o.max_snapshots, "N",
		  "of one process (default 500)", false, NULL },
		{ CLI_U64, 0, "max-blocks", &o.max_blocks, "N",
		  "snapshots know single blocks when there are no more than that (default 1000000)",
		  false, NULL },
		{ CLI_FLAG, 0, "metrics-pid", &o.metrics_pid, NULL, "pids as a label in /metrics",
		  false, NULL },
		{ CLI_STRING, 0, "ledger-dir", &o.ledgers, "DIR", "look for ledgers there", false,
		  NULL },
		{ .type = CLI_END },
	};
	struct cli_option opts[LISTEN_CLI_ROWS + ARRAY_SIZE(own)];
	struct seep_error *err;
	size_t rows = listen_cli_options(&o.listen, opts);
	int n;

	memcpy(opts + rows, own, sizeof(own));
	n = cli_parse(opts, argc, argv, false);
	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	if (n) {
		fprintf(stderr,
		        "seep serve: it takes no operands; what is to be recorded is named with --watch\n");
		return CLI_FAILED;
	}
	err = serve(&o);
	free(o.watch.items);
	listen_cli_release(&o.listen);
	return err ? cli_fail("serve", err) : CLI_OK;
}
