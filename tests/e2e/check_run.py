# SPDX-License-Identifier: Apache-2.0
"""seep run --check: gperftools' modes by their names, HEAPCHECK, children, statuses, and what happens when one of the
two dies."""
import os
import random
import signal
import time

from harness import (SEEP, SOAK, case, check, check_equal, main, need_target, parse_checks, truth_total, wait_for)


def run(w, target, *options, args=(), env=None, **more):
    """`seep run` without --check."""
    path = w.file('checks.json')
    if os.path.exists(path):
        os.unlink(path)
    done = w.seep('run', '--check-json=' + path, '--show-kinds=all', '--ledger-dir=' + w.ledgers, *options, '--',
                  need_target(target), *args, env=env, **more)
    done.checks = []
    if os.path.exists(path):
        with open(path) as f:
            done.checks = parse_checks(f.read())
    return done


def moments(done):
    return [c.moment for c in done.checks]


@case
def normal(w):
    done = run(w, 'check_destructor_drops', '--heapcheck=normal')
    check_equal((done.status, moments(done)), (0, ['exit']), done.describe())
    check_equal(done.checks[0].classes, truth_total(done.truth(), 'exit', False), 'classes')
    done = run(w, 'check_definite', '--heapcheck=normal')
    check_equal((done.status, moments(done)), (1, ['exit']), 'leaks fail, as they do under gperftools %s' % done.describe())


@case
def strict(w):
    """Also after destructors: what they dropped is found, what was lost before is not said twice."""
    done = run(w, 'check_destructor_drops', '--heapcheck=strict')
    check_equal((done.status, moments(done)), (1, ['exit', 'end']), done.describe())
    check_equal(done.checks[0].classes, truth_total(done.truth(), 'exit', False), 'at exit')
    check_equal(done.checks[1].total('definite'), truth_total(done.truth(), 'end', False)['definite'], 'at the end')
    done = run(w, 'check_definite', '--heapcheck=strict')
    check_equal(done.status, 1, done.describe())
    check_equal(sum(c.total('definite')[0] for c in done.checks), 100, 'every leak once')


@case
def minimal(w):
    """What constructors allocated is left out."""
    done = run(w, 'check_constructor_leak', '--heapcheck=minimal')
    check_equal((done.status, moments(done)), (0, ['exit']), done.describe())
    check_equal(done.checks[0].total('definite'), (0, 0), 'lost by constructors')
    done = run(w, 'check_constructor_leak', '--heapcheck=normal')
    check_equal((done.status, done.checks[0].total('definite')), (1, (4, 4 * 680)), done.describe())
    done = run(w, 'check_definite', '--heapcheck=minimal')
    check_equal((done.status, done.checks[0].total('definite')), (1, (100, 5600)), 'lost by main')


@case
def draconian(w):
    """Everything that was not freed is a leak, whoever holds it."""
    done = run(w, 'check_root_data', '--heapcheck=draconian')
    check_equal((done.status, moments(done)), (1, ['end']), done.describe())
    check_equal(done.checks[0].total('definite'), (4, 4 * 152), 'definite; %r' % done.checks[0].lost())
    done = run(w, 'check_destructor_drops', '--heapcheck=draconian')
    check_equal(done.checks[0].total('definite'), (2, 712 + 728), 'what a destructor frees is freed')


@case
def local(w):
    """Only where the program asks; this one does not."""
    done = run(w, 'check_definite', '--heapcheck=local')
    check_equal((done.status, done.checks), (0, []), done.describe())


@case
def as_is(w):
    done = run(w, 'check_destructor_drops', '--heapcheck=as-is')
    check_equal((done.status, moments(done)), (1, ['end']), done.describe())
    done = run(w, 'check_destructor_drops', '--heapcheck=as-is', '--check-at=both', '--fail-on=possible')
    check_equal((done.status, moments(done)), (0, ['exit', 'end']), done.describe())


@case
def by_environment(w):
    for mode, wanted in (('normal', ['exit']), ('strict', ['exit', 'end']), ('draconian', ['end']), ('local', [])):
        done = run(w, 'check_definite', env=dict(os.environ, HEAPCHECK=mode))
        check_equal((done.status, moments(done)), (1 if wanted else 0, wanted), 'HEAPCHECK=%s %s' % (mode, done.describe()))
    done = run(w, 'check_definite', env=dict(os.environ, HEAPCHECK=''))
    check_equal((done.status, done.checks), (0, []), 'HEAPCHECK= is none')
    done = run(w, 'check_definite', env=dict(os.environ, HEAPCHECK='lax'))
    check_equal(done.status, 2, done.describe())
    check('HEAPCHECK' in done.stderr and 'draconian' in done.stderr, 'it names the modes', done.stderr)
    done = run(w, 'check_definite', '--heapcheck=local', env=dict(os.environ, HEAPCHECK='normal'))
    check_equal((done.status, done.checks), (0, []), 'the option comes first')


@case
def children_are_checked(w):
    done = run(w, 'check_fork_child', '--check')
    check_equal((done.status, len(done.checks)), (0, 2), done.describe())
    by_pid = {c.pid: c for c in done.checks}
    check_equal(set(by_pid), {t[0]['pid'] for t in done.truths.values()}, 'processes')
    both = run(w, 'check_fork_child', '--check', '--error-exitcode=9')
    check_equal(both.status, 9, 'leaks of either fail')
    shell = w.check_at_exit(['/bin/sh', '-c', '"%s"; "%s"; exit 3' % (need_target('check_definite'),
                                                                        need_target('check_possible'))], status=3)
    mine = [c for c in shell.checks if os.path.basename(c.data['process']['exe']).startswith('check_')]
    check_equal([c.classes for c in mine], [{'definite': (100, 5600)}, {'possible': (40, 20 * 240)}], 'its children')


@case
def statuses_pass_through(w):
    for way, status in (('return', 1), ('exit', 2), ('_exit', 3), ('quick_exit', 4), ('thread', 5)):
        done = run(w, 'check_exit_ways', '--check', args=[way])
        check_equal((done.status, len(done.checks)), (status, 1), '%s %s' % (way, done.describe()))
        done = run(w, 'check_exit_ways', '--check', '--error-exitcode=77', args=[way])
        check_equal(done.status, 77, '%s with findings' % way)
        done = run(w, 'check_exit_ways', '--check', '--error-exitcode=77', '--fail-on=possible', args=[way])
        check_equal(done.status, status, '%s without findings that fail' % way)


@case
def killed_by_a_signal(w):
    """No check was made then, and seep says so."""
    for way, number in (('abort', signal.SIGABRT), ('segv', signal.SIGSEGV), ('kill9', signal.SIGKILL)):
        done = run(w, 'exit_ways', '--check', '--error-exitcode=9', args=[way])
        check_equal((done.status, done.checks), (128 + number, []), '%s %s' % (way, done.describe()))
        check('check' in done.stderr.lower(), 'it says that there was none', done.stderr)


@case
def a_program_without_libc_is_not_checked(w):
    done = run(w, 'static_program', '--check', '--error-exitcode=9')
    check_equal(done.checks, [], done.describe())
    check(done.status != 9 and 'static' in done.stderr, 'it says why', done.describe())


@case
def seep_is_killed_while_the_target_waits(w):
    """The target goes on at once, and ends as it would have."""
    rng = random.Random(8)
    status = w.file('status')
    command = [SEEP, 'run', '--check', '--ledger-dir=' + w.ledgers, '-o', w.file('a.seep'), '--', '/bin/sh', '-c',
               '"%s" > "%s" && echo 0 > "%s"' % (need_target('check_reachable_chain'), w.file('truth'), status)]
    start = time.monotonic()
    check_equal(w.bare(command).status, 0, 'a run that is left alone')
    whole = time.monotonic() - start
    for number in range(100 if SOAK else 15):
        for name in (status, w.file('truth')):
            if os.path.exists(name):
                os.unlink(name)
        process = w.start(command)
        # The target has said its truth and is about to end, or parks, or is checked.
        wait_for(lambda: os.path.exists(w.file('truth')) and os.path.getsize(w.file('truth')), 'the target\'s truth')
        time.sleep(rng.random() * whole)
        process.kill()
        process.wait()
        wait_for(lambda: os.path.exists(status) and os.path.getsize(status), 'round %d: the target to end by itself' % number, 20)
        check_equal(open(status).read(), '0\n', 'its status')


@case
def no_check_without_being_asked(w):
    env = {k: v for k, v in os.environ.items() if k != 'HEAPCHECK'}
    done = w.seep('run', '--ledger-dir=' + w.ledgers, '-o', w.file('a.seep'), '--', need_target('check_definite'), env=env)
    check_equal(done.status, 0, done.describe())
    check('definitely lost' not in done.stderr, done.stderr)


main()
