/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dropping pages: the guardian's loop.  No malloc, as all that runs in the guardian.
 *
 * Since Linux 6.15 process_madvise() drops many ranges of the caller's own memory in one call; before that, and wherever
 * one of the ranges is refused, each has a call of its own.
 *
 * A range of a gigabyte is not dropped by one call: the kernel takes a tenth of a second for that, and whoever has to
 * stop in between, because time is up or seep is gone, would have to wait.
 */
#include "proc/discard.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "proc/inject.h"

#define CALL_TIME (30000 * 1000000ull)
#ifndef PIDFD_SELF
#define PIDFD_SELF (-10000) /* the calling thread: no descriptor is needed */
#endif

struct work {
	const struct discard_range *ranges;
	size_t n, at;
	uint64_t offset, len; /* in the range: where the call under way began, and its length */
	size_t group;         /* ranges of the call under way, when it is for several; else 0 */
	size_t single_to;     /* ranges before this one are to be done one by one */
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

/* The last call was for several ranges: through, or to be done again one by one, which tells who refused. */
static void account_group(struct work *w, long result)
{
	w->reply->calls++;
	if (result >= 0 && (uint64_t)result == w->len)
		w->at += w->group;
	else /* -EINVAL, -EBADF: this kernel cannot do it at all */
		w->single_to = result < 0 && !w->at ? w->n : w->at + w->group;
	w->group = 0;
}

static void account_single(struct work *w, long result)
{
	w->reply->calls++;
	w->offset += w->len;
	if (result) {
		if (!w->reply->first_errno)
			w->reply->first_errno = (int32_t)-result;
		w->reply->refused++;
		w->offset = w->ranges[w->at].len;
	}
	if (w->offset >= w->ranges[w->at].len) {
		w->at++;
		w->offset = 0;
	}
}

/* As many ranges as one call may drop, from the next one on; fewer than two: none. */
static bool make_group(struct work *w, struct inject_call *call)
{
	struct iovec iov[INJECT_SCRATCH / sizeof(struct iovec)];
	size_t k = 0;

	w->len = 0;
	for (size_t i = w->at; i < w->n && k < ARRAY_SIZE(iov); i++, k++) {
		if (w->len + w->ranges[i].len > DISCARD_SLICE)
			break;
		w->len += w->ranges[i].len;
		iov[k] = (struct iovec){ (void *)(uintptr_t)w->ranges[i].start, w->ranges[i].len };
	}
	if (k < 2)
		return false;
	w->group = k;
	memcpy(call->scratch, iov, k * sizeof(*iov));
	call->scratch_len = k * sizeof(*iov);
	call->nr = SYS_process_madvise;
	call->args[0] = (uint64_t)PIDFD_SELF;
	call->args[1] = call->scratch_at;
	call->args[2] = k;
	call->args[3] = MADV_DONTNEED;
	return true;
}

/* Takes the last call's result and prepares the next one. */
static bool next_call(struct inject_call *call)
{
	struct work *w = call->arg;
	const struct discard_range *r;

	if (w->begun && w->group)
		account_group(w, call->result);
	else if (w->begun)
		account_single(w, call->result);
	/* One call is made in any case: it may be late only because this process had to wait for a processor. */
	if (w->at == w->n || (w->begun && tracees_now() >= w->until) || gone(w->hangup))
		return false;
	w->begun = true;
	if (call->scratch_at && !w->offset && w->at >= w->single_to && make_group(w, call))
		return true;
	r = &w->ranges[w->at];
	w->len = r->len - w->offset < DISCARD_SLICE ? r->len - w->offset : DISCARD_SLICE;
	call->nr = SYS_madvise;
	call->scratch_len = 0;
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
		.nr = SYS_madvise, .seccomp = seccomp, .again = next_call, .arg = &w
	};
	uint64_t begun = tracees_now();
	int r = inject_call(ts, t, place, &call, begun + CALL_TIME);

	ret->done = (uint32_t)w.at;
	ret->partial = w.offset;
	ret->ns = tracees_now() - begun;
	if (r)
		ret->failure = -r;
}
