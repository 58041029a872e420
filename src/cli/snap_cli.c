/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Triggers as options: see snap_cli.h.
 */
#include "cli/snap_cli.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/large.h"
#include "base/parse.h"
#include "cli/snapshot_name.h"
#include "profile/profile.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define DEFAULT_MOST 64u
#define DEFAULT_SPACE (512u << 20)
#define DEFAULT_STEP 0.1
#define MOST_MOST 4096u

void snap_cli_init(struct snap_cli *c, const char *command)
{
	*c = (struct snap_cli){
		.command = command, .most = DEFAULT_MOST, .space = DEFAULT_SPACE, .listening = -1
	};
}

size_t snap_cli_options(struct snap_cli *c, struct cli_option *rows)
{
	const struct cli_option own[] = {
		{ CLI_DURATION, 0, "snap-every", &c->triggers.every_ns, "TIME",
		  "take a snapshot that often: 30s, 10m", false, NULL },
		{ CLI_SIZE, 0, "snap-alloc", &c->triggers.alloc_bytes, "BYTES",
		  "each time so much was allocated", false, NULL },
		{ CLI_STRING, 0, "snap-high", &c->high, "STEP",
		  "at each new high of bytes in use: by 10% (default), or a size more", true,
		  &c->high_given },
		{ CLI_STRING, 0, "snap-cgroup", &c->cgroup, "SHARES",
		  "when the memory cgroup is so full: 80,90,95 (default) percent of its limit",
		  true, &c->cgroup_given },
		{ CLI_STRING, 0, "snap-growth", &c->growth, "BYTES",
		  "when in use grew by so much within a minute: 64M, 1G/h", false, NULL },
		{ CLI_STRING, 0, "snap-growth-rss", &c->growth_rss, "BYTES",
		  "the same of resident memory", false, NULL },
		{ CLI_STRING, 0, "snap-signal", &c->signal, "SIGNAL",
		  "when a process gets this signal (USR2) and has no handler of its own", false,
		  NULL },
		{ CLI_FLAG, 0, "snap-exit", &c->triggers.end, NULL,
		  "at the end of each process (default for those with other snapshots)", false,
		  NULL },
		{ CLI_STRING, 0, "snaps", &c->dir, "DIR",
		  "where they go (default ./seep.PID.NAME.snaps)", false, NULL },
		{ CLI_U64, 0, "snaps-max", &c->most, "N",
		  "keep at most so many, spread over time (default 64)", false, NULL },
		{ CLI_SIZE, 0, "snaps-space", &c->space, "BYTES",
		  "and at most so many bytes of them (default 512M)", false, NULL },
	};

	memcpy(rows, own, sizeof(own));
	return ARRAY_SIZE(own);
}

bool snap_cli_given(const struct snap_cli *c)
{
	return trigger_options_any(&c->triggers) || c->high_given || c->cgroup_given || c->growth ||
	       c->growth_rss || c->signal || c->dir;
}

/* ---- understanding --------------------------------------------------------------------- */

static struct seep_error *resolve_high(struct snap_cli *c)
{
	double percent = DEFAULT_STEP * 100;

	if (!c->high_given)
		return NULL;
	if (!c->high || (strchr(c->high, '%') && !parse_percent(c->high, &percent))) {
		c->triggers.high_share = percent / 100;
		if (percent > 0)
			return NULL;
	} else if (!parse_size(c->high, &c->triggers.high_bytes) && c->triggers.high_bytes) {
		return NULL;
	}
	return seep_error_hint(seep_error_new(0, "--snap-high=%s: wanted a step", c->high),
	                       "A percentage with its sign (10%%) or a size (64M).");
}

static int by_share(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct seep_error *resolve_cgroup(struct snap_cli *c)
{
	_cleanup_free_ char *list = strdup(c->cgroup ? c->cgroup : "80,90,95");
	size_t n = 0;

	if (!c->cgroup_given)
		return NULL;
	if (!list)
		return &seep_error_nomem;
	for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
		double percent;

		if (n == TRIGGER_SHARES || parse_percent(word, &percent) < 0 || percent <= 0) {
			n = 0;
			break;
		}
		c->triggers.cgroup[n++] = percent / 100;
	}
	if (!n)
		return seep_error_hint(
			seep_error_new(0, "--snap-cgroup=%s: wanted percentages of the limit",
		                       c->cgroup),
			"Up to %d, with commas between: --snap-cgroup=80,90,95", TRIGGER_SHARES);
	qsort(c->triggers.cgroup, n, sizeof(double), by_share);
	return NULL;
}

/* "64M", "64M/min", "1M/s", "4G/h" → bytes a minute. */
static struct seep_error *resolve_growth(const char *option, const char *text, uint64_t *ret)
{
	static const struct {
		const char *name;
		double minutes;
	} units[] = { { "", 1 },         { "/min", 1 }, { "/m", 1 },
		      { "/s", 1. / 60 }, { "/h", 60 },  { "/d", 1440 } };
	_cleanup_free_ char *size = NULL;
	size_t len;
	uint64_t bytes;

	if (!text)
		return NULL;
	len = strcspn(text, "/");
	size = strndup(text, len);
	if (!size)
		return &seep_error_nomem;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(text + len, units[i].name) != 0 || parse_size(size, &bytes) < 0)
			continue;
		*ret = (uint64_t)((double)bytes / units[i].minutes + 0.5);
		if (*ret)
			return NULL;
	}
	return seep_error_hint(seep_error_new(0, "%s %s: wanted bytes a minute", option, text),
	                       "A size such as 64M (or 64M/min, 1M/s, 4G/h).");
}

/* "USR2", "SIGUSR2", "12", "RTMIN+3" */
static int signal_by_name(const char *text)
{
	const char *name = !strncasecmp(text, "SIG", 3) ? text + 3 : text;
	uint64_t n;

	if (!strncasecmp(name, "RTMIN+", 6) && !parse_u64(name + 6, &n) && n < 32)
		return SIGRTMIN + (int)n;
	if (!strcasecmp(name, "RTMIN"))
		return SIGRTMIN;
	if (!parse_u64(name, &n))
		return n > 0 && n <= (uint64_t)SIGRTMAX ? (int)n : 0;
	for (int i = 1; i < SIGRTMIN; i++)
		if (sigabbrev_np(i) && !strcasecmp(sigabbrev_np(i), name))
			return i;
	return 0;
}

static struct seep_error *resolve_signal(struct snap_cli *c)
{
	/* Those that mean a crash, a stop, or that cannot be caught. */
	static const int never[] = { SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,  SIGTRAP,
		                     SIGABRT, SIGSYS,  SIGCHLD, SIGTSTP, SIGCONT, SIGTTIN, SIGTTOU };
	const char *abbrev;

	if (!c->signal)
		return NULL;
	c->signo = signal_by_name(c->signal);
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (c->signo == never[i])
			return seep_error_hint(
				seep_error_new(0, "--snap-signal %s: this signal has another meaning",
			                       c->signal),
				"SIGUSR2 is free in most programs, and so are SIGRTMIN+8 and up.");
	if (!c->signo)
		return seep_error_hint(seep_error_new(0, "--snap-signal %s: there is no such signal",
		                                      c->signal),
		                       "Names are as in `kill -l`: USR2, SIGUSR2, RTMIN+8.");
	abbrev = c->signo < SIGRTMIN ? sigabbrev_np(c->signo) : NULL;
	if (abbrev)
		snprintf(c->signal_name, sizeof(c->signal_name), "SIG%s", abbrev);
	else
		snprintf(c->signal_name, sizeof(c->signal_name), "SIGRTMIN+%d", c->signo - SIGRTMIN);
	c->triggers.request = c->signal_name;
	return NULL;
}

struct seep_error *snap_cli_resolve(struct snap_cli *c)
{
	const struct series_limits limits = { c->most, c->space };
	struct series_writer w = { .fd = -1 };
	struct seep_error *err = resolve_high(c);

	if (!err)
		err = resolve_cgroup(c);
	if (!err)
		err = resolve_growth("--snap-growth", c->growth, &c->triggers.growth);
	if (!err)
		err = resolve_growth("--snap-growth-rss", c->growth_rss, &c->triggers.growth_rss);
	if (!err)
		err = resolve_signal(c);
	if (!err && (c->most < 3 || c->most > MOST_MOST))
		err = seep_error_hint(seep_error_new(0, "--snaps-max %" PRIu64 ": wanted 3 to %u",
		                                     c->most, MOST_MOST),
		                      "The first, the latest and the highest are always kept.");
	/* Before a run of hours, not in it. */
	if (!err && c->dir) {
		err = series_begin(c->dir, &limits, &w);
		series_end(&w);
	}
	return err;
}

/* ---- watching ------------------------------------------------------------------------------ */

static struct seep_error *prepare(struct profile *p, void *arg)
{
	const struct snap_cli *c = arg;

	return c->symbols ? cli_symbolize(NULL, p) : NULL;
}

static void complain(struct seep_error *err, void *arg)
{
	struct snap_cli *c = arg;

	c->failed++;
	cli_fail(c->command, err);
}

static char *default_dir(pid_t pid, const char *program)
{
	const char *slash = strrchr(program, '/');
	char name[64], *dir;
	size_t n = 0;

	for (program = slash ? slash + 1 : program; program[n] && n + 1 < sizeof(name); n++)
		name[n] = isalnum((unsigned char)program[n]) || strchr("._+-", program[n])
		                  ? program[n]
		                  : '_';
	name[n] = '\0';
	return asprintf(&dir, "seep.%d.%s.snaps", (int)pid, name) < 0 ? NULL : dir;
}

struct seep_error *snap_cli_start(struct snap_cli *c, const char *ledger_dir, const char *ledger,
                                  pid_t pid, const char *program)
{
	_cleanup_free_ char *dir = c->dir ? strdup(c->dir) : default_dir(pid, program);
	struct snapper_options o = { .ledger_dir = ledger_dir,
		                     .ledger = ledger,
		                     .triggers = c->triggers,
		                     .limits = { c->most, c->space },
		                     .dir = dir,
		                     .blocks = c->blocks,
		                     .prepare = prepare,
		                     .complain = complain,
		                     .arg = c };
	struct rlimit files;

	/* A handful of descriptors for each process, and a run may have many.  The target has started with its own limit. */
	if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	large_keep();
	return dir ? snapper_new(&o, &c->snapper) : &seep_error_nomem;
}

int snap_cli_step(struct snap_cli *c)
{
	uint64_t wait = c->snapper ? snapper_step(c->snapper) : UINT64_MAX;

	return wait == UINT64_MAX ? -1 : (int)((wait + 999999) / 1000000);
}

int snap_cli_fd(const struct snap_cli *c)
{
	return c->snapper ? snapper_fd(c->snapper) : -1;
}

void snap_cli_take(struct snap_cli *c, const char *reason)
{
	struct seep_error *err = c->snapper ? snapper_take(c->snapper, 0, reason, NULL) : NULL;

	if (err)
		complain(err, c);
}

void snap_cli_finish(struct snap_cli *c)
{
	snap_cli_deafen(c);
	if (c->snapper)
		snapper_finish(c->snapper);
}

void snap_cli_release(struct snap_cli *c)
{
	snap_cli_deafen(c);
	snapper_free(TAKE(c->snapper));
}
