# SPDX-License-Identifier: Apache-2.0
"""seep trim: free memory goes back, as much as was predicted, and the program notices nothing.

The truth about memory is the kernel's (smaps_rollup), the truth about data the targets' own.
"""
import http.client
import json
import os
import random
import signal
import subprocess
import time

import glibc_packages
from harness import (SEEP, SERVICE, SOAK, Skip, case, check, check_between, check_equal, main, need_program, need_root,
                     need_target, process_state, wait_for)

MB = 1 << 20


def rss(pid):
    with open('/proc/%d/smaps_rollup' % pid) as f:
        return [int(line.split()[1]) * 1024 for line in f if line.startswith('Rss:')][0]


def get(address, path):
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request('GET', path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def hold(w, *args, target='trim_hold', **more):
    process = w.start([need_target(target), *args], stdin=subprocess.PIPE, **more)
    line = process.stdout.readline()
    if line == 'may not lock\n':
        raise Skip('memory may not be locked here')
    check_equal(line, 'ready\n', 'first line')
    return process


def ask(process, what):
    process.stdin.write(what + '\n')
    process.stdin.flush()
    return process.stdout.readline().strip()


def trim(w, pid, *options, status=0):
    run = w.seep('trim', '--json', '--wait', '60s', *options, str(pid), deadline=120)
    check_equal(run.status, status, 'status of seep trim %s' % run.describe())
    return json.loads(run.stdout)


def nobody_is_left(pid):
    """Nothing of the target is traced or stopped, and no child of ours stays in it."""
    def trouble():
        for tid in os.listdir('/proc/%d/task' % pid):
            with open('/proc/%d/task/%s/status' % (pid, tid)) as f:
                lines = [line.split() for line in f if line.startswith(('State:', 'TracerPid:'))]
            if lines[0][1] in 'tT' or lines[1][1] != '0':
                return 'thread %s: %r' % (tid, lines)
            with open('/proc/%d/task/%s/children' % (pid, tid)) as f:
                children = f.read().split()
            if children:
                return 'children %r' % [(c, process_state(int(c))) for c in children]
        return None
    try:
        wait_for(lambda: not trouble(), 'process %d to be left alone' % pid)
    except Exception:
        check_equal(trouble(), None, 'what is left in process %d' % pid)


def check_gain(t, before, after, least):
    """Predicted, said and seen agree within 2 %, and it is as much as the target has freed."""
    check(t['predicted_bytes'] >= least, 'predicted', t['predicted_bytes'], 'of', least)
    check_between(t['returned_bytes'], 0.98 * t['predicted_bytes'], 1.02 * t['predicted_bytes'], 'returned')
    check_between(before - after, 0.98 * t['predicted_bytes'] - MB // 2, 1.02 * t['predicted_bytes'] + MB // 2, 'RSS')


def holes(w, target, least=55 * MB):
    process = hold(w, 'holes', '64', target=target)
    before = rss(process.pid)
    dry = trim(w, process.pid, '--dry-run')
    check_between(rss(process.pid), before - MB // 4, before + MB // 4, 'RSS after a dry run')
    check_equal(dry['returned_bytes'], None, 'returned by a dry run')
    t = trim(w, process.pid)
    check_gain(t, before, rss(process.pid), least)
    check_between(dry['predicted_bytes'], 0.98 * t['predicted_bytes'], 1.02 * t['predicted_bytes'], 'predicted, dry')
    check_equal(ask(process, 'check'), 'intact', 'what the program has kept')
    nobody_is_left(process.pid)
    # Once more there is nothing left to do, and it says so.
    check(trim(w, process.pid)['predicted_bytes'] <= MB, 'predicted the second time')
    w.release(process)


@case
def holes_in_the_heap(w):
    holes(w, 'trim_hold')


@case
def holes_static_and_stripped(w):
    holes(w, 'trim_hold_stripped')


@case
def holes_musl(w):
    # It returns groups that are wholly free by itself: what is left is in those with a block in use.
    holes(w, 'trim_hold_musl', 2 * MB)


def tops(w, target):
    """What malloc_trim() leaves alone: the ends of threads' arenas."""
    process = hold(w, 'tops', '20', '4', target=target)
    before = rss(process.pid)
    t = trim(w, process.pid)
    check_gain(t, before, rss(process.pid), 78 * MB)
    kinds = {k['kind']: k['resident_bytes'] for k in t['allocators'][0]['kinds']}
    check(kinds['thread_top'] >= 78 * MB, 'tops', kinds)
    nobody_is_left(process.pid)
    w.release(process)


@case
def tops_of_arenas(w):
    tops(w, 'trim_hold')


@case
def tops_static_and_stripped(w):
    tops(w, 'trim_hold_stripped')


@case
def a_thread_that_never_waits(w):
    """Alone, so glibc takes no locks; and computing, so only its stack tells that it is not in malloc."""
    for target in ('trim_hold', 'trim_hold_stripped'):
        process = hold(w, 'spin', '32', target=target)
        before = rss(process.pid)
        check_gain(trim(w, process.pid), before, rss(process.pid), 28 * MB)
        nobody_is_left(process.pid)
        process.kill()


@case
def locked_memory_stays(w):
    process = hold(w, 'locked', '32')
    before = rss(process.pid)
    t = trim(w, process.pid)
    check_equal(t['predicted_bytes'], 0, 'predicted of locked memory')
    check(t['unfit_bytes'] >= 28 * MB, 'left out', t['unfit_bytes'])
    check_between(rss(process.pid), before - MB // 4, before + MB // 4, 'RSS')
    check_equal(ask(process, 'check'), 'intact', 'what the program has kept')
    w.release(process)


@case
def limited(w):
    process = hold(w, 'holes', '64')
    before = rss(process.pid)
    t = trim(w, process.pid, '--limit', '16M')
    check_between(t['returned_bytes'], 15.5 * MB, 16.1 * MB, 'returned')
    check_between(before - rss(process.pid), 15 * MB, 16.5 * MB, 'RSS')
    check_equal(ask(process, 'check'), 'intact', 'what the program has kept')
    w.release(process)


@case
def at_a_rate(w):
    process = hold(w, 'holes', '64')
    before = rss(process.pid)
    run = w.seep('trim', '--every', '100ms', '--count', '3', '--limit', '8M', '--wait', '60s', str(process.pid), deadline=200)
    check_equal(run.status, 0, run.describe())
    check_equal(len(run.stdout.splitlines()), 3, 'lines %s' % run.describe())
    check_between(before - rss(process.pid), 22 * MB, 25 * MB, 'RSS after three times 8 MB')
    # ^C ends it, and that is no failure.
    looping = w.start([SEEP, 'trim', '--every', '50ms', '--json', str(process.pid)])
    check(looping.stdout.readline(), 'said nothing')
    looping.send_signal(signal.SIGINT)
    check_equal(w.finish(looping).status, 0, 'status after ^C')
    check_equal(ask(process, 'check'), 'intact', 'what the program has kept')
    # It ends with the process.
    looping = w.start([SEEP, 'trim', '--every', '50ms', str(process.pid)])
    check(looping.stdout.readline(), 'said nothing')
    w.release(process)
    check_equal(w.finish(looping).status, 0, 'status after the end of the process')


@case
def later(w):
    process = hold(w, 'rounds', '32')
    check_equal(ask(process, 'round'), 'round', 'answer')
    run = w.start([SEEP, 'trim', '--json', '--wait', '60s', '--again', '3s', str(process.pid)])
    wait_for(lambda: run.poll() is not None or rss(process.pid) < 3 * MB, 'the trim')
    check_equal(ask(process, 'round'), 'round', 'answer')
    done = w.finish(run)
    check_equal(done.status, 0, done.describe())
    t = json.loads(done.stdout)
    # The same 32 MB were used again, and the thresholds have not changed: they are there again.
    check(t['later']['used_again_bytes'] >= 28 * MB, t['later'])
    w.release(process)


@case
def the_service_after_a_burst(w):
    process = w.start([SERVICE, '--port', '0'])
    address = process.stdout.readline().split('//')[1].strip()
    check_equal(get(address, '/'), 200, '/')
    # The cache is full before: entries that are made meanwhile would take free memory that was to be returned.
    for key in range(50):
        check_equal(get(address, '/cache?key=%d' % key), 200, '/cache')
    check_equal(get(address, '/burst'), 200, '/burst')
    before = rss(process.pid)
    check(before > 70 * MB, 'RSS after the burst', before)
    run = w.start([SEEP, 'trim', '--json', '--wait', '60s', str(process.pid)])
    served = 0
    while run.poll() is None:
        check_equal(get(address, '/cache?key=%d' % (served % 50)), 200, '/cache meanwhile')
        served += 1
    done = w.finish(run)
    check_equal(done.status, 0, done.describe())
    check(served > 0, 'no request was made meanwhile')
    check_gain(json.loads(done.stdout), before, rss(process.pid), 70 * MB)
    check_equal(get(address, '/burst'), 200, '/burst again')
    nobody_is_left(process.pid)
    process.send_signal(signal.SIGTERM)
    check_equal(w.finish(process).status, 0, 'status after SIGTERM')


def churn(w, target, threads, trims, seconds):
    """Trims while threads allocate, fill, verify and free; any wrong byte ends the target with 3."""
    process = w.start([need_target(target), str(threads), str(seconds), str(random.randrange(1 << 30))])
    check_equal(process.stdout.readline(), 'ready\n', 'first line')
    done = returned = 0
    while (done < trims or not returned) and done < trims + 30 and process.poll() is None:
        run = w.seep('trim', '--json', '--wait', '1s', str(process.pid))
        if process.poll() is not None:
            break
        check(run.status in (0, 1), run.describe())
        returned += json.loads(run.stdout)['returned_bytes']
        done += 1
    check(done >= trims, 'the target ended by itself after', done)
    check(returned > 0, 'nothing was ever returned')
    nobody_is_left(process.pid)
    process.send_signal(signal.SIGTERM)
    end = w.finish(process)
    check_equal(end.status, 0, 'the target found wrong bytes, or crashed: %s' % end.describe())
    check(end.stdout.startswith('rounds '), end.describe())


@case
def under_churn_of_four_threads(w):
    churn(w, 'trim_churn', 4, 300 if SOAK else 12, 3600)


@case
def under_churn_of_one_thread(w):
    churn(w, 'trim_churn', 0, 100 if SOAK else 6, 3600)


@case
def under_churn_static(w):
    churn(w, 'trim_churn_stripped', 3, 100 if SOAK else 6, 3600)


@case
def under_churn_musl(w):
    churn(w, 'trim_churn_musl', 3, 100 if SOAK else 6, 3600)


@case
def killed_in_the_middle(w):
    """kill -9 at any moment: the target lives, its data is intact, nothing stays stopped."""
    process = w.start([need_target('trim_churn'), '3', '3600', '7'])
    check_equal(process.stdout.readline(), 'ready\n', 'first line')
    for i in range(100 if SOAK else 10):
        run = subprocess.Popen([SEEP, 'trim', '--json', str(process.pid)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.005, 0.25))  # a random moment is what is wanted
        run.kill()
        run.wait()
        nobody_is_left(process.pid)
        check(process.poll() is None, 'the target has ended')
    process.send_signal(signal.SIGTERM)
    end = w.finish(process)
    check_equal(end.status, 0, 'the target found wrong bytes, or crashed: %s' % end.describe())


def refused(w, pid, *words, options=()):
    run = w.seep('trim', *options, str(pid))
    check_equal(run.status, 2, run.describe())
    for word in words:
        check(word in run.stderr, word, 'in', run.describe())
    return run


@case
def what_cannot_be_done(w):
    for args in ([], ['1', '2'], ['--every', '0', '1'], ['--every', '1s', '--dry-run', '1']):
        check_equal(w.seep('trim', *args).status, 2, 'status of seep trim %r' % args)
    refused(w, 'no-such-program-anywhere', 'no-such-program-anywhere')
    process = hold(w, 'holes', '8')
    refused(w, process.pid, 'jemalloc', options=['--allocator', 'jemalloc'])
    w.release(process)


@case
def a_zombie(w):
    process = subprocess.Popen(['/bin/true'])
    try:
        wait_for(lambda: process_state(process.pid) == 'Z', 'the process to end')
        refused(w, process.pid, str(process.pid))
    finally:
        process.wait()


@case
def a_stopped_process(w):
    """Stopped by job control, it is trimmed all the same and stays stopped."""
    process = hold(w, 'holes', '32')
    before = rss(process.pid)
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: process_state(process.pid) == 'T', 'the process to stop')
    run = w.seep('trim', '--json', '--wait', '60s', str(process.pid), deadline=120)
    wait_for(lambda: process_state(process.pid) == 'T', 'the process to be stopped again')
    if run.status == 0:
        check(before - rss(process.pid) > 28 * MB, run.describe())
    else:
        check('stopped' in run.stderr, run.describe())
    process.send_signal(signal.SIGCONT)
    check_equal(ask(process, 'check'), 'intact', 'what the program has kept')
    w.release(process)


@case
def traced_by_another(w):
    strace = need_program('strace')
    process = hold(w, 'holes', '8')
    tracer = w.start([strace, '-f', '-o', '/dev/null', '-p', str(process.pid)])

    def traced():
        with open('/proc/%d/status' % process.pid) as f:
            return 'TracerPid:\t0' not in f.read()
    wait_for(traced, 'strace to attach')
    refused(w, process.pid, 'traced')
    tracer.send_signal(signal.SIGINT)
    w.finish(tracer)
    check_equal(ask(process, 'check'), 'intact', 'what the program has kept')
    w.release(process)


@case
def without_permission(w):
    need_root()
    process = hold(w, 'holes', '8')
    run = w.bare([SEEP, 'trim', str(process.pid)], user=65534, group=65534)
    check_equal(run.status, 2, run.describe())
    nobody_is_left(process.pid)
    w.release(process)


@case
def ends_half_way(w):
    """A process that is killed at some moment of the trim: an error or a result, never a hang."""
    for i in range(6):
        process = w.start([need_target('trim_churn'), '3', '3600'])
        check_equal(process.stdout.readline(), 'ready\n', 'first line')
        run = w.start([SEEP, 'trim', str(process.pid)])
        time.sleep(random.uniform(0.01, 0.2))  # a random moment is what is wanted
        process.kill()
        process.wait()
        end = w.finish(run)
        check(end.status in (0, 1, 2), end.describe())
        check(end.status != 2 or str(process.pid) in end.stderr, end.describe())


@case
def no_malloc_at_all(w):
    go = need_program('go')
    source = w.file('main.go')
    with open(source, 'w') as f:
        f.write('package main\nimport ("fmt"; "os")\nvar x []byte\nfunc main() {\n'
                'x = make([]byte, 50<<20)\nfor i := range x { x[i] = 1 }\nx = nil\nfmt.Println("ready")\n'
                'b := make([]byte, 1)\nos.Stdin.Read(b)\n}\n')
    built = w.bare([go, 'build', '-o', w.file('prog'), source], deadline=300,
                   env=dict(os.environ, CGO_ENABLED='0', HOME=w.path, GOCACHE=w.file('cache'), GOFLAGS='-mod=mod',
                            GO111MODULE='off'))
    if built.status:
        raise Skip('go does not build here: ' + built.stderr[-200:])
    process = w.start([w.file('prog')], stdin=subprocess.PIPE)
    check_equal(process.stdout.readline(), 'ready\n', 'first line')
    refused(w, process.pid, 'allocator')
    nobody_is_left(process.pid)
    w.release(process)


@case
def in_a_container(w):
    """Own mount, pid, network and user's names: seen from outside, nothing of it matters."""
    need_root()
    unshare = need_program('unshare')
    path = need_target('trim_hold_stripped')
    process = w.start([unshare, '--mount', '--pid', '--net', '--uts', '--ipc', '--fork', '--mount-proc', path, 'holes', '32'],
                      stdin=subprocess.PIPE)
    line = process.stdout.readline()
    if not line:
        raise Skip('no namespaces here: ' + w.finish(process).stderr)
    with open('/proc/%d/task/%d/children' % (process.pid, process.pid)) as f:
        inside = int(f.read().split()[0])
    before = rss(inside)
    check_gain(trim(w, inside), before, rss(inside), 28 * MB)
    check_equal(ask(process, 'check'), 'intact', 'what the program has kept')
    process.stdin.close()
    process.stdin = None
    check_equal(w.finish(process).status, 0, 'status')


def trims_of(w, command, churner, musl):
    """Holes, and a little churn, of a program over some libc; what it is told, what it finds."""
    process = w.start([*command, 'holes', '32'], stdin=subprocess.PIPE)
    check_equal(process.stdout.readline(), 'ready\n', 'first line')
    before = rss(process.pid)
    t = trim(w, process.pid)
    check_gain(t, before, rss(process.pid), MB if musl else 28 * MB)
    check_equal(ask(process, 'check'), 'intact', 'what the program has kept')
    w.release(process)
    for threads in ('0', '3'):
        process = w.start([*churner, threads, '3600'])
        check_equal(process.stdout.readline(), 'ready\n', 'first line')
        for _ in range(5):
            run = w.seep('trim', '--wait', '1s', str(process.pid))
            check(run.status in (0, 1), run.describe())
        process.send_signal(signal.SIGTERM)
        check_equal(w.finish(process).status, 0, 'the target found wrong bytes, or crashed')
    return '%.1f MB of %.1f predicted' % (t['returned_bytes'] / MB, t['predicted_bytes'] / MB)


@case
def every_libc_of_the_archive(w):
    failed, done = [], 0
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'targets')
    apt = glibc_packages.archive_of(w)
    for libc, packages, programs in (('glibc', ['libc6', 'libc6-dev'], glibc_packages.glibc_programs),
                                     ('musl', ['musl', 'musl-dev'], glibc_packages.musl_programs)):
        for version in apt.versions(packages[0]):
            root = w.file('%s-%s' % (libc, version))
            os.makedirs(root)
            built = {}
            try:
                apt.unpack(packages, version, root)
                for name in ('trim_hold', 'trim_churn'):
                    folder = w.file('%s-%s' % (name, version))
                    os.makedirs(folder)
                    built[name] = programs(root, os.path.join(here, name + '.c'), folder)
            except glibc_packages.Unavailable as e:
                print('# %s %s: %s' % (libc, version, e), flush=True)
                continue
            for (kind, holder), (_, churner) in zip(built['trim_hold'], built['trim_churn']):
                try:
                    says = trims_of(w, holder, churner, libc == 'musl')
                    done += 1
                except Exception as e:
                    failed.append('%s %s' % (version, kind))
                    says = 'FAILED: %s' % str(e)[:300]
                print('# %-6s %-22s %-9s %s' % (libc, version, kind, says), flush=True)
    check(done, 'no C library could be had')
    check_equal(failed, [], 'C libraries whose memory was not given back right')


main()
