/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep top: what tracked processes hold, and what of it grows, right now.  A screen where there is a terminal
 * (top_screen.c), plain text or JSON otherwise (top_plain.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/large.h"
#include "base/parse.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/top.h"

#define DEFAULT_TOP 10
#define DEFAULT_TOP_JSON 1000
#define DEFAULT_DEPTH 12
#define SHORTEST_NS 10000000ull

static const struct cli_word by_words[] = {
	{ "site", GROUP_SITE },     { "function", GROUP_FUNCTION }, { "module", GROUP_MODULE },
	{ "thread", GROUP_THREAD }, { "kind", GROUP_KIND },
};
static const struct cli_word sort_words[] = {
	{ "inuse", TOP_INUSE }, { "blocks", TOP_BLOCKS }, { "growth", TOP_GROWTH },
	{ "since", TOP_BASE },  { "alloc", TOP_RATE },    { "age", TOP_AGE },
	{ "name", TOP_NAME },
};

static struct seep_error *finish_options(struct top_cli *c)
{
	int by = GROUP_SITE, order = TOP_INUSE;
	struct seep_error *err = NULL;

	if (c->by_name)
		err = cli_find_word("--by", c->by_name, by_words, ARRAY_SIZE(by_words), &by);
	if (!err && c->sort_name)
		err = cli_find_word("--sort", c->sort_name, sort_words, ARRAY_SIZE(sort_words),
		                    &order);
	if (err)
		return err;
	c->by = (enum group_by)by;
	c->order = (enum top_order)order;
	if (!c->top_given)
		c->top = c->json ? DEFAULT_TOP_JSON : DEFAULT_TOP;
	if (c->interval_ns < SHORTEST_NS)
		return seep_error_hint(seep_error_new(0, "the interval is too short"),
		                       "Give 10ms or more, such as --interval 1s.");
	if (c->once && c->count_given && c->count != 1)
		return seep_error_new(0, "--once and --count contradict each other");
	if (c->count_given && !c->count)
		return seep_error_hint(seep_error_new(0, "--count 0 shows nothing"),
		                       "Leave it out to go on until the process ends.");
	if (c->once) {
		c->count = 1;
		c->count_given = true;
	}
	if (c->blocks && c->combined)
		return seep_error_new(0, "--show-allocs and --combined contradict each other");
	if (c->blocks && c->by != GROUP_SITE)
		return seep_error_hint(seep_error_new(0, "blocks are listed by site only"),
		                       "Leave --by out, or --show-allocs.");
	if (c->max_size && c->max_size < c->min_size)
		return seep_error_new(0, "--max-size is below --min-size");
	return NULL;
}

/* Does this name more than one process? */
static bool names_several(const struct top_cli *c, char **names)
{
	struct top_list l;
	struct seep_error *err;
	struct stat st;
	uint64_t pid;
	bool several;

	if (parse_u64(names[0], &pid) == 0 || stat(names[0], &st) == 0)
		return false;
	top_list_init(&l, c, names, 1);
	err = top_list_refresh(&l);
	several = !err && l.n > 1;
	seep_error_free(err);
	top_list_release(&l);
	return several;
}

static int top_main(const struct top_cli *c, char **names, size_t n)
{
	bool many = n != 1 || c->all || c->name || c->cgroup || c->user || names_several(c, names);

	bool plain = c->count_given || c->json || c->blocks || c->combined ||
	             !cli_terminal(STDOUT_FILENO) || !cli_terminal(STDIN_FILENO);

	if (many && top_needs_blocks(c))
		return cli_fail(
			"top",
			seep_error_hint(seep_error_new(0,
		                                       "blocks are shown of one process at a time"),
		                        "Name one by its pid; `seep ps` lists them."));
	if (!plain)
		return top_screen(c, many ? NULL : names[0], names, n);
	return many ? top_plain_list(c, names, n) : top_plain_one(c, names[0]);
}

int cmd_top(int argc, char **argv)
{
	struct top_cli c = { .interval_ns = 1000000000, .depth = DEFAULT_DEPTH };
	const struct cli_option own[] = {
		{ CLI_DURATION, 'i', "interval", &c.interval_ns, "TIME",
		  "refresh that often (default 1s)", false, &c.interval_given },
		{ CLI_U64, 'c', "count", &c.count, "N", "plain text, N refreshes", false,
		  &c.count_given },
		{ CLI_FLAG, 0, "once", &c.once, NULL, "plain text, once: the same as --count 1",
		  false, NULL },
		{ CLI_STRING, 'b', "by", &c.by_name, "WHAT",
		  "site (default), function, module, thread or kind", false, NULL },
		{ CLI_STRING, 's', "sort", &c.sort_name, "ORDER",
		  "inuse (default), blocks, growth, since, alloc, age or name", false, NULL },
		{ CLI_FLAG, 'r', "reverse", &c.reverse, NULL, "smallest first", false, NULL },
		{ CLI_STRING, 'k', "kind", &c.kinds, "KINDS",
		  "heap, mmap, stack (of threads) or all; several with commas (default heap,mmap)",
		  false, NULL },
		{ CLI_LIST, 'f', "focus", &c.focus, "REGEX",
		  "only stacks with a matching function, file or module", false, NULL },
		{ CLI_LIST, 0, "ignore", &c.ignore, "REGEX", "leave out stacks with a match", false,
		  NULL },
		{ CLI_LIST, 0, "hide", &c.hide, "REGEX", "leave out matching frames", false, NULL },
		{ CLI_FLAG, 'a', "show-allocs", &c.blocks, NULL,
		  "plain text, and list the blocks: address, size, age, thread", false, NULL },
		{ CLI_DURATION, 'o', "older", &c.min_age, "AGE",
		  "only blocks that are at least that old", false, NULL },
		{ CLI_SIZE, 'z', "min-size", &c.min_size, "SIZE",
		  "only blocks of that size or more", false, NULL },
		{ CLI_SIZE, 'Z', "max-size", &c.max_size, "SIZE",
		  "only blocks of that size or less", false, NULL },
		{ CLI_U64, 'T', "top", &c.top, "N",
		  "plain text: at most N rows; 0: all (default 10; 1000 with --json)", false,
		  &c.top_given },
		{ CLI_U64, 0, "depth", &c.depth, "N",
		  "plain text: frames shown of a stack; 0: all (default 12)", false, NULL },
		{ CLI_FLAG, 0, "combined", &c.combined, NULL,
		  "plain text, a line for each row, no stacks", false, NULL },
		{ CLI_FLAG, 'j', "json", &c.json, NULL,
		  "JSON, a document for each refresh (docs/TOP-JSON.md)", false, NULL },
		{ CLI_FLAG, 0, "full-paths", &c.full_paths, NULL,
		  "whole paths of files and modules", false, NULL },
		{ CLI_FLAG, 0, "all", &c.all, NULL, "a list of all tracked processes", false, NULL },
		{ CLI_STRING, 0, "name", &c.name, "PATTERN",
		  "a list of those whose program is called so (* and ? match)", false, NULL },
		{ CLI_STRING, 0, "cgroup", &c.cgroup, "PATH",
		  "a list of those in this cgroup, or below it", false, NULL },
		{ CLI_STRING, 'u', "user", &c.user, "USER", "a list of those of this user", false,
		  NULL },
		{ CLI_STRING, 0, "ledger-dir", &c.ledger_dir, "DIR",
		  "look for ledgers there (default: /dev/shm/seep-UID)", false, NULL },
	};
	struct cli_option options[ARRAY_SIZE(own) + SYMBOL_CLI_ROWS + 1];
	size_t rows = ARRAY_SIZE(own);
	struct seep_error *err;
	int n, status;

	/* Every reading asks for the same large arrays: kept, they need not be faulted in again each time. */
	large_keep();
	memcpy(options, own, sizeof(own));
	symbol_cli_init(&c.symbols);
	rows += symbol_cli_options(&c.symbols, options + rows);
	options[rows] = (struct cli_option){ .type = CLI_END };
	n = cli_parse(options, argc, argv, false);
	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	c.cwd = getcwd(NULL, 0);
	err = finish_options(&c);
	status = err ? cli_fail("top", err) : top_main(&c, argv + 1, (size_t)n);
	free(c.cwd);
	free(c.focus.items);
	free(c.ignore.items);
	free(c.hide.items);
	symbol_cli_release(&c.symbols);
	return status;
}
