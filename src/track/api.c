/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the program says to us: include/seep.h, and LeakSanitizer's interface, which many programs already
 * call.  Those functions are the sanitizer's if it is in the process too: being preloaded we
 * come first, so we hand on.
 *
 * The ones that check are entered through a few instructions that save the caller's registers (arch_*.h).
 */
#include "track/check.h"
#include "track/snap.h"

#define IMPL __attribute__((used, visibility("hidden")))

/* What include/seep.h declares for the program. */
struct seep_check_result {
	uint64_t leaked_blocks, leaked_bytes;
};

/* The ledger is there and is this process's own: a forked child gets its own here. */
static bool working(void)
{
	if (t_self->state == T_COLD)
		thread_begin();
	return g.ready && !forked_child();
}

static void mark(enum ledger_mark_kind kind, const void *p, size_t size)
{
	if (p && working())
		mark_add(kind, (uint64_t)p, size);
}

/* ---- include/seep.h ----------------------------------------------------------------------- */

EXPORT int seep_v1_present(void)
{
	return working();
}

EXPORT const char *seep_v1_version(void)
{
	return SEEP_VERSION;
}

EXPORT void seep_v1_ignore(const void *p)
{
	mark(MARK_IGNORE, p, 0);
}

EXPORT void seep_v1_unignore(const void *p)
{
	mark(MARK_UNIGNORE, p, 0);
}

EXPORT void seep_v1_register_root(const void *p, size_t size)
{
	mark(MARK_ROOT, p, size);
}

EXPORT void seep_v1_unregister_root(const void *p, size_t size)
{
	mark(MARK_UNROOT, p, size);
}

EXPORT void seep_v1_disable(void)
{
	scope_disable();
}

EXPORT void seep_v1_enable(void)
{
	scope_enable();
}

EXPORT int seep_v1_snapshot(const char *name)
{
	return working() ? snap_ask(name) : -1;
}

/* Blocks leaked, or -1: nobody checked. */
static long ask(enum check_request_kind kind, const char *name, struct seep_check_result *result,
                const struct arch_entry *entry)
{
	struct check_reply reply;

	if (!check_possible() || !check_ask(kind, entry, 0, name, &reply))
		return -1;
	if (result)
		*result = (struct seep_check_result){ reply.leaked_blocks, reply.leaked_bytes };
	return reply.leaked_blocks < INT64_MAX ? (long)reply.leaked_blocks : INT64_MAX;
}

IMPL long api_check(struct seep_check_result *result, long unused, const struct arch_entry *entry)
{
	(void)unused;
	return ask(CHECK_REQ_NOW, NULL, result, entry);
}

IMPL long api_check_begin(const char *name, long unused, const struct arch_entry *entry)
{
	(void)unused;
	return ask(CHECK_REQ_LOCAL_BEGIN, name ? name : "", NULL, entry) < 0 ? -1 : 0;
}

IMPL long api_check_end(const char *name, struct seep_check_result *result,
                        const struct arch_entry *entry)
{
	return ask(CHECK_REQ_LOCAL_END, name ? name : "", result, entry);
}

ARCH_ENTRY_CALL(".globl", seep_v1_check, api_check);
ARCH_ENTRY_CALL(".globl", seep_v1_check_begin, api_check_begin);
ARCH_ENTRY_CALL(".globl", seep_v1_check_end, api_check_end);

/* ---- LeakSanitizer's ---------------------------------------------------------------------------- */

/* The sanitizer's own, or ours. */
#define LSAN(name, params, args, ours)   \
	EXPORT void name params          \
	{                                \
		if (!tracker_resolved()) \
			tracker_begin(); \
		if (real.name)           \
			real.name args;  \
		else                     \
			ours;            \
	}

LSAN(__lsan_ignore_object, (const void *p), (p), mark(MARK_IGNORE, p, 0))
LSAN(__lsan_register_root_region, (const void *p, size_t n), (p, n), mark(MARK_ROOT, p, n))
LSAN(__lsan_unregister_root_region, (const void *p, size_t n), (p, n), mark(MARK_UNROOT, p, n))
LSAN(__lsan_disable, (void), (), scope_disable())
LSAN(__lsan_enable, (void), (), scope_enable())

/* Once in a process, and then it is the last check; with leaks, the program ends here (sanitizer/lsan_interface.h). */
IMPL long lsan_check(long unused, long unused2, const struct arch_entry *entry)
{
	static int checked;
	struct check_reply reply;
	int pid = sys_getpid();

	(void)unused;
	(void)unused2;
	if (!tracker_resolved())
		tracker_begin();
	if (real.__lsan_do_leak_check) {
		real.__lsan_do_leak_check();
		return 0;
	}
	if (!check_possible() || __atomic_exchange_n(&checked, pid, __ATOMIC_ACQ_REL) == pid)
		return 0;
	check_spent();
	if (!check_ask(CHECK_REQ_NOW, entry, 0, NULL, &reply) || reply.status < 0)
		return 0;
	ledger_finish(LEDGER_EXITED);
	for (;;)
		sys6(SYS_exit_group, reply.status, 0, 0, 0, 0, 0);
}

IMPL long lsan_check_recoverable(long unused, long unused2, const struct arch_entry *entry)
{
	(void)unused;
	(void)unused2;
	if (!tracker_resolved())
		tracker_begin();
	if (real.__lsan_do_recoverable_leak_check)
		return real.__lsan_do_recoverable_leak_check();
	return ask(CHECK_REQ_NOW, NULL, NULL, entry) > 0;
}

ARCH_ENTRY_CALL(".globl", __lsan_do_leak_check, lsan_check);
ARCH_ENTRY_CALL(".globl", __lsan_do_recoverable_leak_check, lsan_check_recoverable);
