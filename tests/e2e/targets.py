# SPDX-License-Identifier: Apache-2.0
"""Each target's own truth against what its ledger says: for every allocating function the number and
bytes of allocations and frees, exactly, with nothing lost."""
from harness import TARGETS, case, check, check_between, check_equal, main

# Losses that mean "an event is missing or wrong"; in these targets there must be none.
WRONG = ('nested', 'live_full', 'stacks_full', 'stale', 'modules_full', 'threads_full', 'no_space',
         'contended', 'size_clamped', 'torn')


def check_truth(w, report, truth, kind='heap'):
    for site, wanted in truth['sites'].items():
        check_equal(report.values(site, kind).as_truth(), wanted, 'what %s did' % site)


def exact(target, status=0, losses=WRONG, more=None):
    def run_target(w):
        run = w.preload(target)
        check_equal(run.status, status, 'status %s' % run.describe())
        report = w.report(w.ledger(run.pid))
        check_truth(w, report, run.truth())
        for name in losses:
            check_equal(report.losses.get(name, 0), 0, 'loss "%s"' % name)
        if more:
            more(w, run, report)

    run_target.__name__ = target
    return case(run_target)


def no_unmatched(w, run, report):
    check_equal(report.losses.get('unmatched_free', 0), 0, 'frees of unknown blocks')


for name in ('malloc_free_exact', 'calloc', 'realloc_chain', 'realloc_fail', 'reallocarray',
             'memalign_family', 'zero_size', 'free_null', 'malloc_usable_overwrite', 'leak_simple',
             'threads_storm', 'cross_thread_free', 'thread_exit_tls', 'cxx_exceptions',
             'cxx_new_delete', 'leak_cxx', 'setjmp_longjmp', 'alloca_frames', 'drap_frames',
             'asm_no_cfi', 'static_tls', 'sigaltstack_alloc', 'fiber_swapcontext', 'deep_recursion',
             'dlopen_cxx'):
    exact(name, more=no_unmatched)
exact('early_calloc')
exact('malloc_address_nopie', more=lambda w, run, report: check(
    not report.bypassed, 'the allocator is libc\'s, whatever address the program takes for it'))
exact('noreturn_tail', status=4)


@case
def own_malloc(w):
    """An allocator linked into the program: its blocks are not seen, and that is said; it is not disturbed."""
    run = w.preload('own_malloc')
    check_equal(run.status, 0, 'status %s' % run.describe())
    report = w.report(w.ledger(run.pid))
    check(report.bypassed, 'the report says that the program has its own allocator')
    check_equal(report.totals('heap').allocs, 0, 'heap blocks seen')
    check(report.totals('mmap').alloc_bytes >= 5 << 20, 'its mappings are seen', report.totals('mmap'))


@case
def signal_storm(w):
    """A handler that maps memory wherever it hits: nothing hangs, and what is missed is counted."""
    run = w.preload('signal_storm', '300')
    check_equal(run.status, 0, 'status %s' % run.describe())
    report = w.report(w.ledger(run.pid))
    truth = run.truth()
    for site in ('main_alloc', 'handler_alloc'):
        found, wanted = report.values(site, 'heap').as_truth(), truth['sites'].get(site)
        if wanted:
            lost = report.losses.get('nested', 0) + report.losses.get('contended', 0)
            check(abs(found['allocs'] - wanted['allocs']) <= lost and
                  abs(found['frees'] - wanted['frees']) <= lost,
                  site, found, wanted, 'with', lost, 'events counted as lost')


@case
def mappings_bytes_in_use(w):
    run = w.preload('mmap_munmap')
    check_equal(run.status, 0, 'status %s' % run.describe())
    report = w.report(w.ledger(run.pid))
    for site, wanted in run.truth()['sites'].items():
        check_equal(report.values(site, 'mmap').inuse_bytes,
                    wanted['alloc_bytes'] - wanted['free_bytes'], 'bytes mapped by %s' % site)


@case
def thread_stacks_in_use(w):
    run = w.preload('stack_threads')
    check_equal(run.status, 0, 'status %s' % run.describe())
    report = w.report(w.ledger(run.pid))
    values = report.values('start_thread_here', 'stack')
    check_equal(values.inuse, 4, 'thread stacks in use')
    # A stack is what was asked for, and its guard page where the tracker counts the whole mapping.
    check(4 << 20 <= values.inuse_bytes <= (4 << 20) + 4 * 65536, values.inuse_bytes)
    # They are reserved address space: no total, size class or peak counts them.
    stacks, totals = report.data['totals']['thread_stacks'], report.data['totals']
    check_equal((stacks['live'], stacks['created'], stacks['unjoined']), (4, 6, 0), 'thread stacks')
    check_equal(stacks['reserved_bytes'], values.inuse_bytes, 'reserved')
    for what in ('in_use', 'allocated', 'peak'):
        check(totals[what]['bytes'] < 1 << 20, what, totals[what])
    check(sum(c['allocated_bytes'] for c in report.data['size_classes']) < 1 << 20, 'size classes')
    usual = w.seep('report', '--json', w.ledger(run.pid))
    check('"kind": "stack", "samples"' not in usual.stdout, 'no stack among the sites unless asked for')


def other_allocator(name):
    def run_target(w):
        run = w.preload('malloc_free_' + name)
        check_equal(run.status, 0, 'status %s' % run.describe())
        report = w.report(w.ledger(run.pid))
        check_truth(w, report, run.truth())
        check(name in report.allocator, 'the report names the allocator:', report.allocator)

    run_target.__name__ = 'over_' + name
    return case(run_target)


for name in ('jemalloc', 'tcmalloc', 'mimalloc'):
    other_allocator(name)


def new_that_throws(name):
    """Over an allocator that brings its own operator new: refusals leave no trace, its mappings are not the program's."""

    def run_target(w):
        run = w.preload('cxx_new_throws_' + name)
        check_equal(run.status, 0, 'status %s' % run.describe())
        report = w.report(w.ledger(run.pid))
        truth = run.truth()
        for site in ('small', 'by_handler', 'large', 'aligned'):
            check_equal(report.values(site, 'heap').as_truth(), truth['sites'][site], site)
        check_equal(report.values('mapped_here', 'mmap').as_truth(), truth['sites']['mapped_here'], 'mapped_here')
        check_equal(report.totals('mmap').as_truth(), truth['sites']['mapped_here'], 'all mappings')
        # 1,000 blocks of 16 bytes make a sample in one run of four; a refusal must not make one each.
        run = w.preload('cxx_new_throws_' + name, options='sample=65536,seed=3')
        check_equal(run.status, 0, 'status %s' % run.describe())
        report = w.report(w.ledger(run.pid))
        check(report.sampled, 'mode')
        check_between(report.values('small', 'heap').allocs, 0, 8 * 4097, 'estimate of 1,000 small blocks')
        check_equal(report.values('large', 'heap').as_truth(), truth['sites']['large'], 'large blocks are never missed')
        # Each of the 2,000 aligned ones has one chance, not another in what operator new calls.
        run = w.preload('cxx_new_throws_' + name, options='sample=256,seed=3')
        check_equal(run.status, 0, 'status %s' % run.describe())
        check_between(w.report(w.ledger(run.pid)).values('aligned', 'heap').allocs, 1700, 2300, 'estimate of 2,000 aligned ones')

    run_target.__name__ = 'new_that_throws_over_' + name
    return case(run_target)


for name in ('jemalloc', 'tcmalloc'):
    new_that_throws(name)

check(TARGETS, 'SEEP_TARGETS is not set: run these through meson test')
main()
