/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep snap: a snapshot of a tracked process, or with triggers a series of them.  The process
 * is not touched, not even looked at: its ledger is copied.
 */
#include "capture/capture.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/snap_cli.h"
#include "cli/snapshot_name.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/emit.h"
#include "profile/profile.h"

#include <stdlib.h>
#include <string.h>

struct snap_options {
	const char *out, *dir;
	bool symbols, blocks, json;
};

static int tell(const struct snap_options *o, const struct profile *p, const char *path)
{
	_cleanup_buf_ struct buf out = { 0 };
	struct emit_options eo = { .format = o->json ? EMIT_JSON : EMIT_TEXT,
		                   .width = cli_width(STDOUT_FILENO) };
	_cleanup_emit_ struct emit *e = emit_new(&eo, &out);
	struct prof_totals t = profile_totals_of(p, PROF_MEMORY);
	struct emit_part parts[] = {
		{ .key = "snapshot", .value = emit_string(path) },
		{ .key = "inuse_bytes", .value = emit_bytes(t.inuse.bytes) },
		{ .key = "inuse_blocks", .value = emit_count(t.inuse.blocks) },
		{ .key = "pid", .value = emit_number(p->pid) },
	};

	if (!e)
		return cli_fail("snap", &seep_error_nomem);
	emit_object(e, NULL);
	emit_line(e, EMIT_PLAIN, "%: % in use in % blocks of process %", parts, ARRAY_SIZE(parts));
	emit_object_end(e);
	if (out.failed)
		return cli_fail("snap", &seep_error_nomem);
	fputs(out.data ? out.data : "", stdout);
	return CLI_OK;
}

/* One, now. */
static int snap_once(const struct snap_options *o, const char *path)
{
	struct read_options read = { .blocks = o->blocks };
	_cleanup_profile_ struct profile *p = NULL;
	_cleanup_free_ char *name = NULL;
	struct seep_error *err = profile_open(path, &read, &p);

	if (!err && o->symbols)
		err = cli_symbolize("snap", p);
	if (!err) {
		name = snapshot_name(o->out, p);
		err = name ? snapshot_write(p, name) : &seep_error_nomem;
	}
	return err ? cli_fail("snap", err) : tell(o, p, name);
}

/* Many, as the triggers say. */
static int snap_many(const struct snap_options *o, struct snap_cli *snaps, const char *path)
{
	struct seep_error *err = snap_cli_resolve(snaps);

	if (!err && o->out)
		err = seep_error_hint(seep_error_new(0, "-o is for a single snapshot"),
		                      "A series goes into the directory that --snaps names.");
	snaps->symbols = o->symbols;
	snaps->blocks = o->blocks;
	if (!err)
		err = snap_watch(snaps, path, o->json);
	return err ? cli_fail("snap", err) : CLI_OK;
}

int cmd_snap(int argc, char **argv)
{
	struct snap_options o = { 0 };
	struct snap_cli snaps;
	struct cli_option opts[SNAP_CLI_ROWS + 8];
	const struct cli_option own[] = {
		{ CLI_STRING, 'o', "output", &o.out, "FILE|DIR",
		  "where it goes (default: ./seep.PID.NAME.seep)", false, NULL },
		{ CLI_FLAG, 0, "symbols", &o.symbols, NULL,
		  "put functions and lines into it, to read it on any machine", false, NULL },
		{ CLI_FLAG, 0, "blocks", &o.blocks, NULL,
		  "keep every live block, not only the sums of each site", false, NULL },
		{ CLI_STRING, 0, "ledger-dir", &o.dir, "DIR", "look for ledgers there", false, NULL },
		{ CLI_FLAG, 0, "json", &o.json, NULL, "say what was done as JSON", false, NULL },
		{ .type = CLI_END },
	};
	_cleanup_free_ char *path = NULL;
	struct seep_error *err;
	size_t rows;
	int n, status;

	snap_cli_init(&snaps, "snap");
	rows = snap_cli_options(&snaps, opts);
	memcpy(opts + rows, own, sizeof(own));
	n = cli_parse(opts, argc, argv, false);
	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	if (n != 1) {
		fprintf(stderr,
		        "seep snap: %s: seep snap PID|NAME|LEDGER\n`seep ps` lists what is being tracked.\n",
		        n ? "one process at a time" : "which process?");
		return CLI_FAILED;
	}
	err = profile_locate(argv[1], o.dir, &path);
	if (err)
		return cli_fail("snap", err);
	status = snap_cli_given(&snaps) ? snap_many(&o, &snaps, path) : snap_once(&o, path);
	snap_cli_release(&snaps);
	return status;
}
