/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ledger cannot know of its own process, and the watcher does: how much of it was resident, which
 * process it started and when, what it went on as, and how it was killed.
 *
 * The first ledger of a pid is a fork, seen from the ledger of its parent; a later one of the same pid
 * is an exec, seen from both sides.  So that the whole, which leaves out programs that were replaced, still
 * tells of each once, a fork whose parent has no ledger here is noted in the child.
 */
#include "cli/run.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "capture/rss_log.h"
#include "profile/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define MAX_FORKS 1000u /* marks; what starts more processes than that is not told one by one */

/* The part of this pid with the nearest exec_seq below `before`; NULL none. */
static struct profile *earlier_part(const struct run_result *res, int32_t pid, uint32_t before)
{
	struct profile *best = NULL;

	for (size_t i = 0; i < res->nparts; i++) {
		struct profile *p = res->parts[i];

		if (p->pid == pid && p->exec_seq < before && (!best || p->exec_seq > best->exec_seq))
			best = p;
	}
	return best;
}

/* The part of this pid that was written at that moment. */
static struct profile *part_at(const struct run_result *res, int32_t pid, uint64_t real_ns)
{
	struct profile *best = NULL;

	for (size_t i = 0; i < res->nparts; i++) {
		struct profile *p = res->parts[i];

		if (p->pid == pid && p->start_real_ns <= real_ns &&
		    (!best || p->start_real_ns > best->start_real_ns))
			best = p;
	}
	return best;
}

static char *describe(const struct profile *p)
{
	char *text;

	if (asprintf(&text, "process %d: %.200s", (int)p->pid,
	             p->command && *p->command ? p->command
	             : p->exe                  ? p->exe
	                                       : "?") < 0)
		return NULL;
	return text;
}

static bool add_start(const struct run_result *res, struct profile *p, pid_t target, size_t *forks)
{
	struct profile *before = earlier_part(res, p->pid, p->exec_seq), *parent;
	_cleanup_free_ char *text = describe(p);

	if (!text)
		return false;
	if (before) /* went on as another program */
		return profile_add_event(before, before->duration_ns, PROF_EVENT_EXEC, text) &&
		       profile_add_event(p, 0, PROF_EVENT_EXEC, text);
	if (p->pid == target || ++*forks > MAX_FORKS)
		return true;
	parent = part_at(res, p->ppid, p->start_real_ns);
	if (parent && !parent->execed)
		return profile_add_event(parent, p->start_real_ns - parent->start_real_ns,
		                         PROF_EVENT_FORK, text);
	return profile_add_event(p, 0, PROF_EVENT_FORK, text);
}

static bool add_end(const struct run_end *end, struct profile *p)
{
	char text[640];
	int sig = WTERMSIG(end->status);

	if (!WIFSIGNALED(end->status))
		return true;
	snprintf(text, sizeof(text), "SIG%s%s%s%s", sigabbrev_np(sig) ? sigabbrev_np(sig) : "?",
	         end->oom ? ", out of memory" : "", end->oom && end->cgroup[0] ? " in " : "",
	         end->oom ? end->cgroup : "");
	return profile_add_event(p, p->duration_ns, PROF_EVENT_KILLED, text);
}

struct seep_error *run_times_add(const struct run_watch *w, const struct run_end *end,
                                 struct run_result *res)
{
	size_t forks = 0;

	for (size_t i = 0; i < res->nparts; i++)
		if (!rss_log_fill(w->rss, res->parts[i]))
			return &seep_error_nomem;
	for (size_t i = 0; i < res->nparts; i++) {
		struct profile *p = res->parts[i];

		if (!add_start(res, p, w->pid, &forks))
			return &seep_error_nomem;
		if (p->pid == w->pid && !p->execed && !add_end(end, p))
			return &seep_error_nomem;
	}
	return NULL;
}
