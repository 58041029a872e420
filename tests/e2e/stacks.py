# SPDX-License-Identifier: Apache-2.0
"""Stacks are complete and right where unwinding is hard: every function between the allocation and
main (or the start of a thread, a fiber, a handler) is there, in order, and none that is not."""
from harness import case, check, check_equal, main


def stacks_of(w, target, function, kind='heap', status=0):
    run = w.preload(target)
    check_equal(run.status, status, 'status %s' % run.describe())
    report = w.report(w.ledger(run.pid))
    stacks = report.stacks(function, kind)
    check(stacks, 'no stack holds', function)
    return report, stacks


def own(stack, *names):
    """The part of a stack that consists of the given functions."""
    return [f for f in stack if f in names]


def check_outermost(stack, *wanted):
    """Below main there are only libc's start functions, none of which may be missing in between."""
    check(stack[-1] in wanted, 'the outermost frame is', stack[-1], 'in', stack)


START = ('_start',)
THREAD = ('clone3', '__clone3', 'clone', '__clone', 'start_thread', 'thread_start')


@case
def a_plain_chain(w):
    _, stacks = stacks_of(w, 'leak_simple', 'leak_here')
    check_equal(len(stacks), 1, 'stacks')
    check_equal(own(stacks[0], 'leak_here', 'leak_caller', 'main'),
                ['leak_here', 'leak_caller', 'main'], 'own frames')
    check_outermost(stacks[0], *START)


@case
def recursion_with_alloca(w):
    _, stacks = stacks_of(w, 'alloca_frames', 'variable_frame')
    depths = sorted(s.count('variable_frame') for s in stacks)
    check_equal(depths, list(range(1, 21)), 'depths')
    for s in stacks:
        check_equal(own(s, 'main'), ['main'], 'main')
        check_outermost(s, *START)


@case
def realigned_frames(w):
    _, stacks = stacks_of(w, 'drap_frames', 'realigned')
    check_equal(sorted(s.count('realigned') for s in stacks), list(range(1, 11)), 'depths')
    for s in stacks:
        check_equal(own(s, 'main'), ['main'], 'main')
        check_outermost(s, *START)


@case
def longjmp_leaves_nothing_behind(w):
    report, stacks = stacks_of(w, 'setjmp_longjmp', 'deep_alloc')
    check_equal(sorted(s.count('deep_alloc') for s in stacks), list(range(1, 31)), 'depths')
    for s in report.stacks('shallow_alloc'):
        check_equal(own(s, 'deep_alloc', 'shallow_alloc', 'main'), ['shallow_alloc', 'main'], 'stack')


@case
def exceptions_leave_nothing_behind(w):
    _, stacks = stacks_of(w, 'cxx_exceptions', 'make_guarded')
    depths = {s.count('throw_deep') for s in stacks}
    check_equal(depths, set(range(0, 26)), 'depths of throw_deep')
    for s in stacks:
        check_equal(own(s, 'main'), ['main'], 'main in %r' % (s,))
        check_outermost(s, *START)


@case
def fibers_end_at_their_start(w):
    for function, longest in (('heap_fiber_alloc', 9), ('mapped_fiber_alloc', 12)):
        report, stacks = stacks_of(w, 'fiber_swapcontext', function)
        check_equal({s.count(function) for s in stacks}, set(range(1, longest + 1)), 'depths')
        for s in stacks:
            check('fiber_main' in s and 'main' not in s, 'a fiber of its own:', s)
        for s in report.stacks('main_alloc'):
            check('fiber_main' not in s and 'main' in s, 'the scheduler:', s)
            check_outermost(s, *START)


@case
def handlers_on_their_own_stack(w):
    _, stacks = stacks_of(w, 'sigaltstack_alloc', 'handler_alloc')
    check_equal(sorted(s.count('poke') for s in stacks), [1, 2, 3, 4, 5], 'depths below the signal')
    for s in stacks:
        check_equal(own(s, 'handler_alloc', 'raise', 'main')[0], 'handler_alloc', 'leaf')
        check_equal(own(s, 'main'), ['main'], 'main, behind the signal frame, in %r' % (s,))


@case
def threads_end_at_clone(w):
    _, stacks = stacks_of(w, 'threads_storm', 'storm_alloc')
    for s in stacks:
        check_equal(own(s, 'storm_alloc', 'storm', 'main'), ['storm_alloc', 'storm'], 'thread stack')
        check_outermost(s, *THREAD)


@case
def the_last_instruction_is_a_call(w):
    _, stacks = stacks_of(w, 'noreturn_tail', 'never_returns', status=4)
    for s in stacks:
        check_equal(own(s, 'never_returns', 'last_word', 'whatever_comes_next', 'main'),
                    ['never_returns', 'last_word', 'main'], 'the caller, not its neighbour')


@case
def code_without_cfi(w):
    report, stacks = stacks_of(w, 'asm_no_cfi', 'below_framed')
    for s in stacks:
        check_equal(own(s, 'below_framed', 'framed_call', 'main'),
                    ['below_framed', 'framed_call', 'main'], 'behind a frame pointer')
    bare = report.stacks('below_bare')
    for s in bare:
        check_equal(s[:2], ('below_bare', 'bare_call'), 'what is certain')
    if not all('main' in s for s in bare):
        check(report.losses.get('no_cfi', 0) > 0, 'a stack was cut and nobody said so')


@case
def the_limit_is_512_frames(w):
    report, stacks = stacks_of(w, 'deep_recursion', 'too_deep')
    check_equal(len(stacks), 1, 'stacks of too_deep')
    check_equal(len(stacks[0]), 512, 'frames kept')
    check('main' not in stacks[0], 'main is beyond the limit')
    whole = report.stacks('deep_enough')
    check_equal([s.count('deep_enough') for s in whole], [480], 'frames of the whole one')
    check_equal(own(whole[0], 'main'), ['main'], 'main')
    check(report.losses.get('depth', 0) >= 1, 'the cut is counted', report.losses)


@case
def names_of_a_plugin_that_is_gone(w):
    run = w.preload('dlopen_cycle')
    check_equal(run.status, 0, 'status %s' % run.describe())
    role = next(iter(run.truths))
    report = w.report(w.ledger(run.pid))
    for site, wanted in run.truth(role)['sites'].items():
        check_equal(report.values(site).as_truth(), wanted, site)
    for site, other in (('plugin_a_make', 'plugin_b_make'), ('plugin_b_make', 'plugin_a_make')):
        for s in report.stacks(site):
            check_equal(own(s, site, 'plugin_make', other, 'main'), [site, 'plugin_make', 'main'], 'stack')


main()
