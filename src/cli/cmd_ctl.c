/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep ctl: what a tracker records, shown and changed while its program runs.
 */
#include "capture/capture.h"
#include "capture/control.h"
#include "cli/cli.h"
#include "cli/commands.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "output/emit.h"

#include <inttypes.h>
#include <string.h>

#define PATIENCE_NS 500000000u

struct ctl_options {
	const char *dir;
	uint64_t wait; /* ns */
	bool json;
};

/* "active=off": value is what follows the '=' when the key is this one. */
static const char *value_of(const char *text, const char *key)
{
	size_t n = strlen(key);

	return !strncmp(text, key, n) && text[n] == '=' ? text + n + 1 : NULL;
}

static bool parse_switch(const char *text, bool *ret)
{
	static const char *const words[][2] = {
		{ "on", "off" }, { "yes", "no" }, { "1", "0" }, { "true", "false" }
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		for (int off = 0; off < 2; off++) {
			if (!strcmp(text, words[i][off])) {
				*ret = !off;
				return true;
			}
		}
	}
	return false;
}

static struct seep_error *parse_assignment(const char *text, struct control_change *c)
{
	const char *active = value_of(text, "active"), *sample = value_of(text, "sample");

	if (active) {
		c->set_active = true;
		if (parse_switch(active, &c->active))
			return NULL;
		return seep_error_new(0, "active=%s: it is on or off", active);
	}
	if (sample) {
		c->set_period = true;
		c->period = 0;
		if (!strcmp(sample, "full") || (!parse_size(sample, &c->period) && c->period))
			return NULL;
		return seep_error_hint(
			seep_error_new(0, "sample=%s: wanted a size, or full", sample),
			"sample=512K records one block for each 512 KiB on average, sample=full all.");
	}
	return seep_error_hint(seep_error_new(0, "'%s' is nothing that can be set", text),
	                       "What can: active=on, active=off, sample=SIZE, sample=full.");
}

/* How far a change has come, in words. */
static void put_taken(struct buf *b, const struct control *c)
{
	uint64_t rest = c->threads - c->threads_taken;

	if (!c->running)
		buf_puts(b, "the process has ended");
	else if (!rest && c->taken == c->generation)
		buf_printf(b, "all of its %" PRIu64 " threads have taken it up", c->threads);
	else if (!c->threads_taken)
		buf_puts(b, "it takes it up at its next allocation");
	else
		buf_printf(b,
		           "%" PRIu64 " of its %" PRIu64
		           " threads have taken it up, the others do at their next allocation",
		           c->threads_taken, c->threads);
	if (!rest && c->threads == 1 && c->running && c->taken == c->generation) {
		buf_reset(b);
		buf_puts(b, "its thread has taken it up");
	}
}

static int tell(const struct ctl_options *o, const struct control *c, bool changed)
{
	_cleanup_buf_ struct buf out = { 0 }, taken = { 0 };
	struct emit_options eo = { .format = o->json ? EMIT_JSON : EMIT_TEXT,
		                   .width = cli_width(STDOUT_FILENO) };
	_cleanup_emit_ struct emit *e = emit_new(&eo, &out);
	const char *does = !c->running ? "recorded" : c->active ? "records" : "would record";
	const char *state = !c->running ? "ended" : c->active ? "active" : "inactive";
	struct emit_part parts[] = {
		{ .key = "pid", .value = emit_number(c->pid) },
		{ .key = "state", .value = emit_string(state) },
		{ .value = emit_string(does) },
		{ .key = "sample", .value = c->period ? emit_bytes(c->period) : emit_none() },
		{ .key = "active", .value = emit_bool(c->active), .json_only = true },
		{ .key = "generation", .value = emit_number(c->generation), .json_only = true },
		{ .key = "taken", .value = emit_bool(c->taken == c->generation), .json_only = true },
		{ .key = "threads", .value = emit_count(c->threads), .json_only = true },
		{ .key = "threads_taken", .value = emit_count(c->threads_taken), .json_only = true },
	};

	if (!e)
		return cli_fail("ctl", &seep_error_nomem);
	put_taken(&taken, c);
	emit_object(e, NULL);
	emit_line(e, EMIT_PLAIN,
	          c->period ? "process %: %; % one block for each % allocated, on average"
	                    : "process %: %; % every block",
	          parts, ARRAY_SIZE(parts));
	emit_object_end(e);
	if (changed && !o->json)
		emit_text(e, EMIT_PLAIN, 0, "%s", taken.data ? taken.data : "");
	if (out.failed || taken.failed)
		return cli_fail("ctl", &seep_error_nomem);
	fputs(out.data ? out.data : "", stdout);
	return CLI_OK;
}

int cmd_ctl(int argc, char **argv)
{
	struct ctl_options o = { .wait = PATIENCE_NS };
	const struct cli_option opts[] = {
		{ CLI_STRING, 0, "ledger-dir", &o.dir, "DIR", "look for ledgers there", false, NULL },
		{ CLI_DURATION, 0, "wait", &o.wait, "TIME",
		  "wait so long for it to be taken up (default 500ms; 0: not)", false, NULL },
		{ CLI_FLAG, 0, "json", &o.json, NULL, "the state as JSON", false, NULL },
		{ .type = CLI_END },
	};
	int n = cli_parse(opts, argc, argv, false);
	struct control_change change = { 0 };
	_cleanup_free_ char *path = NULL;
	struct seep_error *err = NULL;
	struct control c = { 0 };

	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	if (n < 1) {
		fprintf(stderr,
		        "seep ctl: which process?  seep ctl PID|NAME [active=on|off] [sample=SIZE|full]\n"
		        "`seep ps` lists what is being tracked.\n");
		return CLI_FAILED;
	}
	for (int i = 2; i <= n && !err; i++)
		err = parse_assignment(argv[i], &change);
	if (!err)
		err = profile_locate(argv[1], o.dir, &path);
	if (!err && n > 1)
		err = control_change(path, &change);
	if (!err)
		err = n > 1 ? control_wait(path, o.wait, &c) : control_read(path, &c);
	return err ? cli_fail("ctl", err) : tell(&o, &c, n > 1);
}
