# SPDX-License-Identifier: Apache-2.0
"""Snapshots by triggers: each fires when it should and not otherwise, the series keeps its bounds, and the last moments
before the OOM killer are there."""
import http.client
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from commands import Commanded, reasons, series, wait_for_reason  # noqa: E402
from harness import (SEEP, SERVICE, Skip, case, check, check_between, check_equal, main, need_root,  # noqa: E402
                     need_target, wait_for)

MB = 1 << 20


def memory_group(w, limit):
    """A memory cgroup of our own; v2 where the controller is there, else v1."""
    need_root()
    v2, v1 = '/sys/fs/cgroup', '/sys/fs/cgroup/memory'
    controllers = v2 + '/cgroup.controllers'
    if os.path.exists(controllers) and 'memory' in open(controllers).read().split():
        base, files = v2, {'memory.max': limit, 'memory.swap.max': 0}
    elif os.path.isdir(v1):
        base, files = v1, {'memory.limit_in_bytes': limit, 'memory.memsw.limit_in_bytes': limit}
    else:
        raise Skip('no memory cgroups here')
    path = os.path.join(base, 'seep-triggers-%d' % os.getpid())
    try:
        os.mkdir(path)
    except OSError as e:
        raise Skip('cannot make a cgroup: %s' % e) from None
    w.undo.append(lambda: wait_for(lambda: remove(path), 'the cgroup to be empty'))
    for name, value in files.items():
        try:
            with open(os.path.join(path, name), 'w') as f:
                f.write(str(value))
        except OSError as e:
            if 'swap' not in name and 'memsw' not in name:
                raise Skip('cannot set %s: %s' % (name, e)) from None
    return path


def remove(path):
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


def inside(group, command):
    return ['/bin/sh', '-c', 'echo $$ >%s/cgroup.procs && exec "$@"' % group, 'sh', *command]


@case
def every_so_often(w):
    folder = w.file('s')
    c = Commanded(w, '--snap-every', '50ms', '--snaps', folder)
    c.do('alloc 1 10 1000')
    wait_for_reason(folder, 'every-50-ms', 4)
    c.end()
    entries = series(folder)
    check_equal(entries[-1].reason[-3:], 'end', 'the last reason')
    check_equal(sum('end' in e.reason for e in entries), 1, 'ends')
    report = w.report(entries[-1].path)
    check_equal(report.values('phase_1').inuse_bytes, 10000, 'what it holds')


@case
def every_so_many_bytes(w):
    folder = w.file('s')
    c = Commanded(w, '--snap-alloc', '64M', '--snaps', folder)
    for step in range(1, 4):
        c.do('alloc 1 1024 65536')
        c.do('free 1')
        wait_for_reason(folder, 'allocated-', step)
    run = c.end()
    check_equal(run.stderr.count('seep: took 4 snapshots'), 1, 'what is said: %s' % run.stderr)


@case
def new_highs(w):
    folder = w.file('s')
    c = Commanded(w, '--snap-high=8M', '--snaps', folder)
    c.do('alloc 1 20 1048576')
    wait_for_reason(folder, 'new-high')
    c.do('free 1')
    c.do('alloc 2 20 1048576')    # the old high again
    c.do('alloc 3 9 1048576')
    wait_for_reason(folder, 'new-high', 2)
    c.end()
    highs = [e for e in series(folder) if 'new-high' in e.reason]
    check_equal(len(highs), 2, 'highs %r' % highs)
    # Twenty megabytes may be seen half done; what is seen is at least a step.
    check(highs[0].inuse >= 8 * MB, 'the first', highs)
    check_equal(w.report(highs[1].path).values('phase_2').inuse_bytes, 20 * MB, 'the second')


@case
def growth(w):
    folder = w.file('s')
    c = Commanded(w, '--snap-growth', '100M/h', '--snap-growth-rss', '1T', '--snaps', folder)
    c.do('alloc 1 1 1000000')
    c.do('alloc 1 1 1000000')
    wait_for_reason(folder, 'in-use-grew-1-667-MiB-in-a-minute')
    c.end()
    check(not any('RSS' in r for r in reasons(folder)), 'no growth of a terabyte', reasons(folder))


@case
def growth_of_resident_memory(w):
    folder = w.file('s')
    # Sixty megabytes in blocks that are not in use: only the kernel knows that they are resident.
    c = Commanded(w, '--inactive', '--snap-growth-rss', '40M', '--snaps', folder)
    c.do('alloc 1 40000 1500')
    wait_for_reason(folder, 'RSS-grew-40-MiB')
    c.end()
    check_equal(series(folder)[0].inuse, 0, 'in use, as far as was recorded')


@case
def the_signal(w):
    folder = w.file('s')
    c = Commanded(w, '--snap-signal', 'USR2', '--snaps', folder)
    for times in (1, 2):
        os.kill(c.pid, signal.SIGUSR2)
        wait_for_reason(folder, 'signal-SIGUSR2', times)
    c.process.send_signal(signal.SIGUSR2)    # to seep itself
    wait_for_reason(folder, 'signal-SIGUSR2', 3)
    check_equal(c.do('alloc 0 1 1'), 2, 'the target lives')
    # A handler of the program's own wins, from then on and for good.
    check_equal(c.do('take %d' % signal.SIGUSR2), 0, 'signal()')
    os.kill(c.pid, signal.SIGUSR2)
    wait_for(lambda: c.do('count') == 1, 'the program to see its signal')
    c.process.send_signal(signal.SIGUSR2)
    wait_for_reason(folder, 'signal-SIGUSR2', 4)
    check_equal(c.do('count'), 1, 'seep run keeps the signal for itself')
    c.end()
    check_equal(sum('signal' in r for r in reasons(folder)), 4, 'snapshots by signal')


@case
def a_signal_somebody_ignores_is_left_alone(w):
    folder = w.file('s')
    c = Commanded(w, '--snap-signal', 'USR2', '--snap-every', '50ms', '--snaps', folder,
                  preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN))
    os.kill(c.pid, signal.SIGUSR2)
    wait_for_reason(folder, 'every', 3)
    with open('/proc/%d/status' % c.pid) as f:
        ignored = [line.split()[1] for line in f if line.startswith('SigIgn')][0]
    check(int(ignored, 16) >> (signal.SIGUSR2 - 1) & 1, 'still ignored', ignored)
    c.end()
    check(not any('signal' in r for r in reasons(folder)), 'no snapshot', reasons(folder))


@case
def the_call(w):
    folder = w.file('s')
    c = Commanded(w, '--snaps', folder)
    c.do('alloc 1 7 100')
    check_equal(c.do('snap loaded'), 0, 'seep_snapshot()')
    # It is there when the call returns, and shows that moment.
    entries = series(folder)
    check_equal([e.reason for e in entries], ['api-loaded'], 'reasons')
    check_equal(w.report(entries[0].path).values('phase_1').inuse, 7, 'blocks then')
    c.do('alloc 1 3 100')
    check_equal(c.do('@ snap second-thread'), 0, 'from another thread')
    c.do('fork')
    c.do('alloc 2 5 10')
    check_equal(c.do('snap child'), 0, 'in a forked child')
    c.end()
    child = series(folder)[-1]
    check(child.pid != c.pid, 'the child has a number of its own')
    check_equal(w.report(child.path).values('phase_2').inuse, 5, 'the blocks of the child')


@case
def the_call_without_anybody(w):
    c = Commanded(w, preload='')
    check_equal(c.do('snap nobody'), -1, 'seep_snapshot()')
    c.end()
    bare = w.finish(w.start([need_target('on_command')], stdin=-1), stdin='snap x\n')
    check_equal(bare.stdout, 'ok -1\n', 'without the library')


@case
def a_stopped_watcher_does_not_hold_the_program_for_ever(w):
    c = Commanded(w, '--snaps', w.file('s'))
    c.process.send_signal(signal.SIGSTOP)
    c.process.stdin.write('snap x\n')
    c.process.stdin.flush()
    c.process.send_signal(signal.SIGKILL)    # the connection breaks, the program goes on at once
    check_equal(c.process.stdout.readline(), 'ok -1\n', 'the answer')


@case
def calls_threads_forks_and_checks_at_once(w):
    """Everything that may ask seep run for something does: nobody waits for anybody for ever."""
    folder = w.file('s')
    c = Commanded(w, '--check', '--snap-every=3ms', '--snaps-max=20', '--snaps', folder)
    for i in range(10):
        check_equal(c.do('@ snap a%d' % i), 0, 'second thread')
        check_equal(c.do('snap b%d' % i), 0, 'first thread')
        c.do('alloc 1 1000 100')
    c.do('fork')    # the child does the rest, and both are checked at their ends
    for i in range(10):
        check_equal(c.do('snap c%d' % i), 0, 'child')
        check_equal(c.do('@ snap d%d' % i), 0, 'a thread of the child')
    run = c.end()
    check_equal(run.stderr.count('Leak check of'), 2, 'checks: %s' % run.stderr)
    entries = series(folder)
    check_between(len(entries), 20, 20, 'entries')
    check_equal(len({e.pid for e in entries}), 2, 'processes')


@case
def a_signal_for_a_forked_child(w):
    """It may come before the child has a ledger to count it in."""
    folder = w.file('s')
    c = Commanded(w, '--snap-signal=USR2', '--snaps', folder)
    c.process.stdin.write('fork\n')
    c.process.stdin.flush()

    def child():
        with open('/proc/%d/task/%d/children' % (c.pid, c.pid)) as f:
            return f.read().split()
    pid = int(wait_for(child, 'a forked child')[0])
    os.kill(pid, signal.SIGUSR2)
    check_equal(c.process.stdout.readline(), 'ok %d\n' % pid, 'the child')
    c.do('alloc 1 5 5')    # at the latest now it has one
    wait_for_reason(folder, 'signal-SIGUSR2')
    check_equal([e.pid for e in series(folder) if 'signal' in e.reason], [pid], 'whose')
    c.end()


@case
def children_have_triggers_of_their_own(w):
    folder = w.file('s')
    c = Commanded(w, '--snap-high=4M', '--snaps', folder)
    c.do('fork')
    c.do('alloc 1 8 1048576')
    wait_for_reason(folder, 'new-high')
    c.end()
    entries = series(folder)
    check(all(e.pid != c.pid for e in entries), 'only the child grew', entries)
    check_equal(w.report(entries[-1].path).values('phase_1').inuse_bytes, 8 * MB, 'its end')


@case
def snap_watches_what_runs_already(w):
    folder = w.file('s')
    c = Commanded(w, preload='signal=%d' % signal.SIGUSR2)
    c.do('alloc 1 20 1048576')
    snap = w.start([SEEP, 'snap', '--snap-high=8M', '--snap-signal=USR2', '--json', '--snaps', folder, c.ledger()])
    wait_for_reason(folder, 'start')
    os.kill(c.pid, signal.SIGUSR2)
    wait_for_reason(folder, 'signal')
    check_equal(c.do('snap named'), 0, 'seep_snapshot()')
    c.do('alloc 2 9 1048576')
    wait_for_reason(folder, 'new-high')
    c.end()
    run = w.finish(snap)
    check_equal(run.status, 0, 'status %s' % run.describe())
    check_equal([r for r in reasons(folder)], ['start', 'signal-SIGUSR2', 'api-named', 'new-high', 'end'], 'reasons')
    check('"kept": 5' in run.stdout, 'what it says', run.stdout)
    again = w.seep('snap', '--snap-every=1s', '--snaps', folder, c.ledger())
    check_equal(again.status, 2, 'status')
    check('has ended' in again.stderr, 'a process that has ended', again.stderr)


@case
def snap_ends_when_told(w):
    c = Commanded(w, preload='')
    folder = w.file('s')
    snap = w.start([SEEP, 'snap', '--snap-every=1h', '--snaps', folder, c.ledger()])
    wait_for_reason(folder, 'start')
    second = w.seep('snap', '--snap-every=1h', '--snaps', folder, c.ledger())
    check_equal(second.status, 2, 'a second one')
    snap.send_signal(signal.SIGINT)
    run = w.finish(snap)
    check_equal(run.status, 0, 'status %s' % run.describe())
    check(not any(n.endswith('.sock') for n in os.listdir(w.ledgers)), 'no socket is left', os.listdir(w.ledgers))
    c.end()


@case
def bounds_hold_while_it_runs(w):
    folder = w.file('s')
    c = Commanded(w, '--snap-every=5ms', '--snaps-max=6', '--snaps', folder)
    c.do('alloc 1 1 5000000')
    wait_for(lambda: series(folder, strict=False) and series(folder, strict=False)[-1].inuse >= 5000000,
             'the high to be seen')
    top = series(folder, strict=False)[-1].seq
    c.do('free 1')
    wait_for(lambda: series(folder, strict=False)[-1].seq > top + 40, 'many more snapshots')
    c.end()
    entries = series(folder)
    check_equal(len(entries), 6, 'entries %r' % entries)
    check_equal(entries[0].seq, 1, 'the first is kept')
    check(any(e.inuse >= 5000000 for e in entries), 'the highest is kept', entries)
    check('end' in entries[-1].reason, 'the latest is kept', entries)


@case
def killed_while_writing(w):
    folder = w.file('s')
    for _ in range(5):
        c = Commanded(w, '--snap-every=1ms', '--snaps-max=8', '--snaps', folder)
        seen = len(reasons(folder))
        wait_for(lambda: series(folder, strict=False) and
                 series(folder, strict=False)[-1].pid == c.pid, 'snapshots of this one')
        c.process.kill()
        check_equal(c.do('alloc 1 3 10'), 3, 'the target goes on')
        c.process.stdin.close()
        c.process.stdin = None
        for e in series(folder, strict=False):
            w.report(e.path)
        check_between(seen, 0, 9, 'entries')
    # The next one tidies up.
    run = w.seep('run', '--no-summary', '-o', w.file('b.seep'), '--snap-exit', '--snaps-max=8', '--snaps', folder, '--',
                 need_target('leak_simple'))
    check_equal(run.status, 0, 'status %s' % run.describe())
    check_between(len(series(folder)), 3, 8, 'entries, and nothing else')


@case
def mistakes_are_told(w):
    target = need_target('leak_simple')
    for options, words in ((['--snap-high=x'], 'wanted a step'), (['--snap-cgroup=120'], 'percentages'),
                           (['--snap-cgroup=1,2,3,4,5,6,7,8,9'], 'percentages'),
                           (['--snap-growth=fast'], 'bytes a minute'), (['--snap-signal=SEGV'], 'another meaning'),
                           (['--snap-signal=KILL'], 'another meaning'), (['--snap-signal=WHAT'], 'no such signal'),
                           (['--snaps-max=2', '--snap-exit'], '3 to'), (['--snap-every=x'], 'a time'),
                           (['--snap-exit', '--snaps=/nonexistent/a/b'], '/nonexistent/a/b')):
        run = w.seep('run', *options, '--', target)
        check_equal(run.status, 2, '%r %s' % (options, run.describe()))
        check(words in run.stderr, options, run.stderr)
        check_equal(run.stdout, '', 'nothing was run with %r' % options)


def check_oom_series(w, folder, function, limit, final):
    entries = [e for e in series(folder) if e.reason.startswith('cgroup')]
    check_equal([e.reason for e in entries][:1], ['cgroup-80'], 'the first of %r' % entries)
    check_between(entries[0].inuse, limit * 0.6, limit * 0.97, 'in use at 80 %')
    check(entries[-1].inuse > limit * 0.8, 'in use at the last', entries)
    for what in (entries[0].path, entries[-1].path, final):
        report = w.report(what)
        top = report.top_site()
        check(function in top['functions'], 'the first site of', what, 'is', top)
        check(report.values(function, 'heap').inuse_bytes > limit * 0.6, 'it holds', top)
    return entries


@case
def before_the_oom_killer(w):
    limit = 256 * MB
    group = memory_group(w, limit)
    folder, output = w.file('s'), w.file('eaten.seep')
    run = w.seep('run', '--snap-cgroup', '--snaps', folder, '-o', output, '--',
                 *inside(group, [need_target('eat_memory')]))
    check_equal(run.status, 128 + signal.SIGKILL, 'status %s' % run.describe())
    check_oom_series(w, folder, 'hoard_memory', limit, output)


@case
def before_the_oom_killer_from_inside(w):
    """seep run in the same group, as in a container."""
    limit = 256 * MB
    group = memory_group(w, limit)
    folder, output = w.file('s'), w.file('eaten.seep')

    def enter():
        with open(os.path.join(group, 'cgroup.procs'), 'w') as f:
            f.write('0')
    run = w.seep('run', '--snap-cgroup=80,95', '--snaps', folder, '-o', output, '--', need_target('eat_memory'),
                 preexec_fn=enter)
    check_equal(run.status, 128 + signal.SIGKILL, 'status %s' % run.describe())
    check_oom_series(w, folder, 'hoard_memory', limit, output)


@case
def who_watches_stays_small(w):
    """Beside a process of 50,003 sites: 50 MB while a snapshot is taken, none of it between two; it was 20 MB more after each."""
    target = w.start([need_target('million_sites'), '25000', '100000', 'hold'], env=w.tracked_environment(), stdin=subprocess.PIPE)
    check_equal(target.stdout.readline(), 'ready\n', 'the target')
    folder = w.file('s')
    snap = w.start([SEEP, 'snap', '--snap-every=1s', '--snaps', folder, w.ledger(target.pid)])

    def taken():
        return len([n for n in os.listdir(folder) if n.endswith('.seep')]) if os.path.isdir(folder) else 0

    def resident():
        with open('/proc/%d/status' % snap.pid) as f:
            return next(int(line.split()[1]) << 10 for line in f if line.startswith('VmRSS'))
    for i in range(2, 7):
        wait_for(lambda: taken() >= i, 'snapshot %d' % i)
        wait_for(lambda: resident() < 24 * MB, 'memory to be given back after snapshot %d' % i)
    snap.send_signal(signal.SIGINT)
    check_equal(w.finish(snap).status, 0, 'status')


@case
def the_fast_leak_of_the_service(w):
    """The walk-through of the README: /spin under a limit, killed; the last snapshots and the ledger show the loop."""
    limit = 128 * MB
    group = memory_group(w, limit)
    folder, output = w.file('s'), w.file('service.seep')
    process = w.start([SEEP, 'run', '--snap-cgroup', '--snaps', folder, '-o', output, '--',
                       *inside(group, [SERVICE, '--port', '0'])])
    line = process.stdout.readline()
    check(line.startswith('listening on http://127.0.0.1:'), 'first line', repr(line))
    connection = http.client.HTTPConnection(line.split('//')[1].strip(), timeout=30)
    connection.request('GET', '/spin')
    check_equal(connection.getresponse().status, 200, '/spin')
    run = w.finish(process)
    check_equal(run.status, 128 + signal.SIGKILL, 'status %s' % run.describe())
    entries = check_oom_series(w, folder, 'spin_allocate', limit, output)
    check_equal([e.reason for e in entries], ['cgroup-80', 'cgroup-90', 'cgroup-95'], 'at 200 MB/s none is missed')
    check('took 4 snapshots' in run.stderr, 'what is said', run.stderr)


main()
