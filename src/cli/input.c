/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operand → profile.  A regular file whose content is that of a known format is read as such; everything else
 * (ledgers and snapshots among it) is profile_open()'s to find.  Content decides, not the name: dumps are
 * called anything.
 */
#include "cli/input.h"

#include "capture/capture.h"
#include "cli/cli.h"
#include "format/format.h"
#include "profile/profile.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL_FILE (8u << 20) /* is read before anybody would look at a bar */

#define BAR 30 /* columns */

#define OUR_BYTES 5 /* \xff S E E P: ledgers and snapshots begin alike */

struct bar {
	const char *path;
	unsigned int percent; /* + 1; 0: not shown yet */
};

/* "Reading FILE ━━━━──── 43 % of 96 MiB" in one row, which a longer one would leave behind when it wraps. */
static void show_progress(void *arg, uint64_t done, uint64_t total)
{
	struct bar *bar = arg;
	unsigned int percent, width = cli_width(STDERR_FILENO), filled;
	size_t room = width > BAR + 40 ? width - BAR - 40 : 8, len = strlen(bar->path);
	const char *name = bar->path;

	if (total < SMALL_FILE)
		return;
	percent = done < total ? (unsigned int)(100.0 * (double)done / (double)total) : 100;
	if (bar->percent == percent + 1)
		return;
	bar->percent = percent + 1;
	filled = percent * BAR / 100;
	/* the end of a path says more than its beginning; no character is cut in two */
	if (len > room)
		for (name += len - room; (*name & 0xc0) == 0x80;)
			name++;
	fprintf(stderr, "\r\033[KReading %s%s ", len > room ? "…" : "", name);
	for (unsigned int i = 0; i < BAR && width > BAR + 40; i++)
		fputs(i < filled ? "━" : "─", stderr);
	fprintf(stderr, " %u %% of %.0f MiB", percent, (double)total / 1048576);
	fflush(stderr);
}

/* A file that is neither a ledger nor a snapshot, not even a damaged one. */
static bool is_foreign(const char *path)
{
	char head[OUR_BYTES] = { 0 };
	_cleanup_fclose_ FILE *f = NULL;
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	f = fopen(path, "re");
	if (!f || (fread(head, 1, sizeof(head), f) != sizeof(head) && ferror(f)))
		return false;
	return memcmp(head, SNAPSHOT_MAGIC, OUR_BYTES) != 0;
}

/* The error of src/format, which names all formats, in place of this one. */
static struct seep_error *other_error(struct seep_error *err, const char *path)
{
	struct profile *p = NULL;
	struct seep_error *other = format_read_file(path, NULL, NULL, &p, NULL);

	profile_free(p);
	if (!other)
		return err;
	seep_error_free(err);
	return other;
}

struct seep_error *cli_open_profile(const char *command, const char *what,
                                    const struct read_options *opts, struct profile **ret_profile)
{
	struct bar bar = { .path = what };
	struct profile *p = NULL;
	struct seep_error *err;
	char **warnings = NULL;

	if (!format_probe_file(what)) {
		err = profile_open(what, opts, &p);
		if (!err)
			err = profile_check(p);
		else if (is_foreign(what)) /* say what all it could have been */
			err = other_error(err, what);
	} else {
		err = format_read_file(what, cli_terminal(STDERR_FILENO) ? show_progress : NULL,
		                       &bar, &p, &warnings);
	}
	if (bar.percent)
		fputs("\r\033[K", stderr);
	for (size_t i = 0; warnings && warnings[i]; i++)
		cli_warn(command, "%s", warnings[i]);
	format_free_warnings(warnings);
	if (err)
		profile_free(p);
	else
		*ret_profile = p;
	return err;
}

struct seep_error *cli_open_profiles(const char *command, char **names, size_t n,
                                     struct profile **ret_profile)
{
	struct profile **in = calloc(n, sizeof(*in));
	struct read_options read = { .blocks = false };
	struct seep_error *err = NULL;

	if (!in)
		return &seep_error_nomem;
	for (size_t i = 0; !err && i < n; i++)
		err = cli_open_profile(command, names[i], &read, &in[i]);
	if (!err && n == 1)
		*ret_profile = TAKE(in[0]);
	else if (!err)
		err = profile_merge(in, n, ret_profile);
	for (size_t i = 0; i < n; i++)
		profile_free(in[i]);
	free(in);
	return err;
}
