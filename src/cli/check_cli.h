/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `seep check` and `seep run --check` share: options, where results go, and what the
 * exit status says.
 */
#ifndef SEEP_CLI_CHECK_CLI_H
#define SEEP_CLI_CHECK_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/check.h"
#include "cli/cli.h"
#include "output/check_report.h"

struct check_cli {
	/* as given */
	const char *leak_check, *show_kinds, *fail_on, *preset, *heuristics, *roots, *pointer_mask;
	const char *baseline, *write_baseline, *junit, *sarif, *output, *json_file;
	struct cli_list suppression_files;
	uint64_t error_exitcode, top, depth;
	bool error_exitcode_given, json, gen_suppressions, rules, unaligned, full_paths, symbols;

	/* as understood: check_cli_resolve() */
	struct reach_options reach;
	unsigned int show, fail; /* sets of classes; fail is 0 when nothing makes the check fail */
	int fail_status;
	bool summary_only, lsan;
	struct suppressions *suppressions;
	char *cwd;
};

#define CHECK_CLI_ROWS 24

void check_cli_init(struct check_cli *c);
/* The rows of the option table for these; at most CHECK_CLI_ROWS.  Returns their number. */
size_t check_cli_options(struct check_cli *c, struct cli_option *rows);
struct seep_error *check_cli_resolve(struct check_cli *c);
void check_cli_release(struct check_cli *c);

/* Fills what the options say; the caller adds ledger, moment and so on. */
void check_cli_apply(const struct check_cli *c, struct check_options *opts);

/*
 * Text of one result to the terminal or -o as soon as it is there (nothing with --json); everything
 * else (JSON, JUnit, SARIF, a baseline) of all of them at the end.
 */
struct seep_error *check_cli_show(const struct check_cli *c, const struct check *check, int fd);
struct seep_error *check_cli_finish(const struct check_cli *c, struct check *const *checks,
                                    size_t n, int fd);

/* Whether one of them fails by --fail-on. */
bool check_cli_fails(const struct check_cli *c, struct check *const *checks, size_t n);

#endif
