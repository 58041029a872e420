/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dropping pages: the guardian's loop.  No malloc, as all that runs in the guardian.
 *
 * A range of a gigabyte is not dropped by one call: the kernel takes a tenth of a second for that, and whoever has to
 * stop in between, because time is up or seep is gone, would have to wait.
 */
#include "proc/discard.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "proc/inject.h"

#define CALL_TIME (30000 * 1000000ull)

struct work {
	const struct discard_range *ranges;
	size_t n, at;
	uint64_t offset, len; /* in the range: where the call under way began, and its length */
	uint64_t until;
	int hangup;
	bool begun;
	struct discard_reply *reply;
};

static bool gone(int sock)
{
	struct pollfd p = { .fd = sock };

	return sock >= 0 && poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

/* Takes the last call's result and prepares the next one. */
static bool next_slice(struct inject_call *call)
{
	struct work *w = call->arg;
	const struct discard_range *r;

	if (w->begun) {
		w->reply->calls++;
		w->offset += w->len;
		if (call->result) {
			if (!w->reply->first_errno)
				w->reply->first_errno = (int32_t)-call->result;
			w->reply->refused++;
			w->offset = w->ranges[w->at].len;
		}
		if (w->offset >= w->ranges[w->at].len) {
			w->at++;
			w->offset = 0;
		}
	}
	if (w->at == w->n || tracees_now() >= w->until || gone(w->hangup))
		return false;
	w->begun = true;
	r = &w->ranges[w->at];
	w->len = r->len - w->offset < DISCARD_SLICE ? r->len - w->offset : DISCARD_SLICE;
	call->args[0] = r->start + w->offset;
	call->args[1] = w->len;
	call->args[2] = MADV_DONTNEED;
	return true;
}

void discard_run(struct tracees *ts, struct tracee *t, const struct inject_place *place,
                 bool seccomp, const struct discard_range *ranges, size_t n, uint64_t until_ns,
                 int hangup, struct discard_reply *ret)
{
	struct work w = {
		.ranges = ranges, .n = n, .until = until_ns, .hangup = hangup, .reply = ret
	};
	struct inject_call call = {
		.nr = SYS_madvise, .seccomp = seccomp, .again = next_slice, .arg = &w
	};
	uint64_t begun = tracees_now();
	int r = inject_call(ts, t, place, &call, begun + CALL_TIME);

	ret->done = (uint32_t)w.at;
	ret->ns = tracees_now() - begun;
	if (r)
		ret->failure = -r;
}
