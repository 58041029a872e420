/* SPDX-License-Identifier: Apache-2.0 */
/* Naming snapshots, and putting symbols into them: see snapshot_name.h. */
#include "cli/snapshot_name.h"

#include "base/error.h"
#include "cli/cli.h"
#include "profile/profile.h"
#include "sym/sym.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_NUMBERS 9999

/* The program's file name with nothing in it that a shell or a file system minds. */
static void short_name(const struct profile *p, char *name, size_t size)
{
	const char *exe = p->exe && *p->exe ? p->exe : "program";
	const char *slash = strrchr(exe, '/');
	size_t i = 0;

	for (exe = slash ? slash + 1 : exe; exe[i] && i + 1 < size; i++)
		name[i] = isalnum((unsigned char)exe[i]) || strchr("._+-", exe[i]) ? exe[i] : '_';
	name[i] = '\0';
}

bool snapshot_out_is_dir(const char *out)
{
	struct stat st;
	size_t n = out ? strlen(out) : 0;

	return n && (out[n - 1] == '/' || (stat(out, &st) == 0 && S_ISDIR(st.st_mode)));
}

char *snapshot_name(const char *out, const struct profile *p)
{
	const char *dir = "", *slash = "";
	char name[64], *path = NULL;

	if (out && !snapshot_out_is_dir(out))
		return strdup(out);
	if (out) {
		dir = out;
		slash = out[strlen(out) - 1] == '/' ? "" : "/";
	}
	short_name(p, name, sizeof(name));
	for (int i = 1; i <= MOST_NUMBERS; i++) {
		int r = i == 1 ? asprintf(&path, "%s%sseep.%d.%s.seep", dir, slash, (int)p->pid,
		                          name)
		               : asprintf(&path, "%s%sseep.%d.%s.%d.seep", dir, slash, (int)p->pid,
		                          name, i);

		if (r < 0)
			return NULL;
		if (access(path, F_OK) < 0 || i == MOST_NUMBERS)
			break;
		free(path);
	}
	return path;
}

static void show_progress(void *arg, unsigned int done, unsigned int total)
{
	(void)arg;
	if (done % 64 == 0 || done == total)
		fprintf(stderr, "\r\033[K%s%u of %u symbols", done == total ? "" : "reading ", done,
		        total);
	if (done == total)
		fputs("\r\033[K", stderr);
}

struct seep_error *cli_symbolize(const char *command, struct profile *p)
{
	struct sym_options opts = { .pid = p->live ? p->pid : 0 };
	struct symbolizer *sym = NULL;
	struct seep_error *err;

	if (cli_terminal(STDERR_FILENO))
		opts.progress = show_progress;
	err = symbolizer_new(&opts, &sym);
	if (err)
		return err;
	err = symbolizer_run(sym, p);
	for (const char *const *w = symbolizer_warnings(sym); command && !err && w && *w; w++)
		cli_warn(command, "%s", *w);
	symbolizer_free(sym);
	return err;
}
