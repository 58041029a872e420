# SPDX-License-Identifier: Apache-2.0
"""fork, exec, vfork and every way a process can end: a ledger for each program, right in each."""
import signal

from harness import case, check, check_equal, main


def check_site(report, site, wanted):
    check_equal(report.values(site).as_truth(), wanted, site)


@case
def fork_without_exec(w):
    run = w.preload('fork_child')
    check_equal(run.status, 0, 'status %s' % run.describe())
    parent, child = run.truth('parent'), run.truth('child')
    theirs = w.report(w.ledger(parent['pid']))
    for site, wanted in parent['sites'].items():
        check_site(theirs, site, wanted)
    check_equal(theirs.values('in_child').allocs, 0, "the child's blocks in the parent's ledger")
    ours = w.report(w.ledger(child['pid']))
    check_site(ours, 'in_child', child['sites']['in_child'])
    check_equal(ours.values('before_fork').allocs, 0, 'inherited blocks as allocations of the child')
    check_equal(ours.losses.get('unmatched_free', 0), 0, 'frees of inherited blocks blamed as unknown')
    check_equal(ours.losses.get('inherited_free', 0), 50, 'frees of inherited blocks')
    check(ours.forked, 'the child knows that it was forked')


def programs(w, target, parent_ledgers):
    run = w.preload(target)
    check_equal(run.status, 0, 'status %s' % run.describe())
    parent = run.truth('parent')
    check_site(w.report(w.ledger(parent['pid'])), 'in_parent', parent['sites']['in_parent'])
    check_equal(len(run.truths['program']), 3, 'programs run')
    for truth in run.truths['program']:
        paths = w.ledger_paths(truth['pid'])
        check(1 <= len(paths) <= parent_ledgers, 'ledgers of', truth['pid'], paths)
        report = w.report(paths[-1])
        check_site(report, 'in_program', truth['sites']['in_program'])
        check_equal(report.values('in_parent').allocs, 0, "the parent's blocks in the program's ledger")


@case
def fork_and_exec(w):
    programs(w, 'fork_exec', 2)  # the forked child, between fork and exec, may have one of its own


@case
def vfork_and_exec(w):
    programs(w, 'vfork_exec', 1)  # a vfork child writes no ledger: it is its parent until it execs


@case
def exec_in_place(w):
    run = w.preload('exec_self')
    check_equal(run.status, 0, 'status %s' % run.describe())
    first, second = run.truth('first'), run.truth('second')
    check_equal(first['pid'], second['pid'], 'one process')
    paths = w.ledger_paths(first['pid'])
    check_equal(len(paths), 2, 'ledgers')
    reports = [w.report(p) for p in paths]
    check_site(reports[0], 'first_life', first['sites']['first_life'])
    check_site(reports[1], 'second_life', second['sites']['second_life'])
    check_equal(reports[1].values('first_life').allocs, 0, "the first program's blocks in the second")
    check(reports[0].execed and not reports[1].execed, 'the first says that it went on as another')


def ending(way, status, killed):
    def run_target(w):
        run = w.preload('exit_ways', way)
        check_equal(run.status, status, 'status %s' % run.describe())
        report = w.report(w.ledger(run.pid))
        values = report.values('last_blocks')
        check_equal((values.inuse, values.inuse_bytes), (25, 100000), 'in use')
        check_equal(report.killed, killed, 'ended without its destructors')

    run_target.__name__ = 'ended_by_' + way.strip('_')
    return case(run_target)


ending('return', 10, False)
ending('exit', 11, False)
ending('thread', 13, False)
# _exit() runs no destructors either, unless the tracker hooks it: the blocks are what matters.
ending('_exit', 12, True)
ending('abort', -signal.SIGABRT, True)
ending('kill9', -signal.SIGKILL, True)
ending('segv', -signal.SIGSEGV, True)

main()
