# SPDX-License-Identifier: Apache-2.0
"""Tracking a running process from outside, by uprobes: src/capture/bpf."""
import json
import os
import signal
import subprocess

from harness import (SOAK, Skip, case, check, check_equal, check_between, main, need_program, need_target,
                     process_state, wait_for)

TOOL = os.environ.get('SEEP_BPF_ATTACH', '')
SITES = ('make_plain', 'make_zeroed', 'make_grown', 'make_kept', 'make_aligned', 'make_posix', 'make_c11',
         'make_deep', 'make_mapping', 'make_moved', 'make_threaded', 'make_freed')


def tool(w, *args, status=0):
    run = w.bare([TOOL, *[str(a) for a in args], 'dir=' + w.ledgers])
    if status is not None:
        check_equal(run.status, status, 'status of %r %s' % (args, run.describe()))
    return run


def need_bpf():
    if not TOOL:
        raise Skip('seep was built without BPF')
    if os.geteuid() != 0:
        raise Skip('only root can do this')
    why = subprocess.run([TOOL, 'obstacle', '1'], capture_output=True, text=True)
    if why.returncode:
        raise Skip(why.stdout.strip())


class Target:
    """attach_calls: does rounds of calls when told, and says what it did."""

    def __init__(self, w, path=None, env=None, command=None):
        self.w = w
        self.process = w.start(command or [path or need_target('attach_calls')], env=env, stdin=subprocess.PIPE)
        self.pid = self.process.pid
        check_equal(self.process.stdout.readline(), 'ready\n', 'first line of the target')

    def tell(self, what):
        self.process.stdin.write('%s\n' % what)
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())['sites']

    def attach(self, *how):
        run = tool(self.w, 'attach', self.pid, *how)
        self.ledger = run.stdout.split()[0]
        return self.ledger

    def detach(self):
        tool(self.w, 'detach', self.pid)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def counts_agree(report, truth, what='', kinds=SITES):
    found = {name: report.values(name).as_truth() for name in kinds}
    wanted = {name: truth[name] for name in kinds}
    for name in kinds:
        check_equal(found[name], wanted[name], '%s %s' % (what, name))


@case
def every_call_is_counted(w):
    need_bpf()
    t = Target(w)
    t.attach('full')
    t.tell('free')  # blocks from before: nothing happens
    truth = t.tell(200)
    t.detach()
    report = w.report(t.ledger)
    counts_agree(report, truth)
    check_equal(report.losses, {}, 'losses')
    check_equal(report.unknown_values().allocs, 0, 'blocks without a stack')
    stacks = report.stacks('make_deep')
    check_equal(len(stacks), 1, 'stacks of make_deep')
    check_equal(stacks[0].count('make_deep'), 41, 'frames of the recursion in %r' % (stacks,))
    check(stacks[0][-1] in ('_start', '__libc_start_main', 'main'), stacks)
    t.end()


def library(name):
    path = '/usr/lib/x86_64-linux-gnu/' + name
    if not os.path.exists(path):
        raise Skip('%s is not installed' % path)
    return path


def variant(w, *how, **more):
    """A round trip of one program: its truth and what was found."""
    t = Target(w, **more)
    t.attach(*how)
    t.tell('free')
    truth = t.tell(50)
    t.detach()
    report = w.report(t.ledger)
    t.end()
    return truth, report


@case
def an_older_kernels_links_count_the_same(w):
    need_bpf()
    for links in ('multi', 'perf'):
        w.bare_env = dict(os.environ, SEEP_BPF_LINKS=links)
        t = Target(w)
        run = w.bare([TOOL, 'attach', str(t.pid), 'full', 'dir=' + w.ledgers], env=w.bare_env)
        check_equal(run.status, 0, 'attach %s %s' % (links, run.describe()))
        truth = t.tell(50)
        t.detach()
        report = w.report(run.stdout.split()[0])
        counts_agree(report, truth, links)
        check_equal(report.losses, {}, 'losses')
        t.end()


@case
def bundled_allocators(w):
    need_bpf()
    for name in ('libjemalloc.so.2', 'libtcmalloc_minimal.so.4', 'libmimalloc.so.2.0'):
        truth, report = variant(w, 'full', env=dict(os.environ, LD_PRELOAD=library(name)))
        counts_agree(report, truth, name)
        check_equal(report.losses, {}, 'losses with ' + name)
        check(name.split('.')[0] in report.allocator, 'allocator', report.allocator)


@case
def a_static_program(w):
    need_bpf()
    truth, report = variant(w, 'full', path=need_target('attach_calls_static'))
    counts_agree(report, truth)
    check_equal(report.losses, {}, 'losses')
    truth, report = variant(w, 'period=65536', path=need_target('attach_calls_static'))
    check_equal(report.values('make_mapping').as_truth(), truth['make_mapping'], 'mappings')


@case
def a_musl_program(w):
    need_bpf()
    cc, source = need_program('musl-gcc'), os.path.join(os.path.dirname(__file__), '../targets/attach_calls.c')
    for link in ([], ['-static']):
        path = w.file('musl' + ''.join(link))
        built = w.bare([cc, '-O2', '-g', '-fomit-frame-pointer', '-D_GNU_SOURCE', *link, '-o', path, source])
        check_equal(built.status, 0, built.describe())
        truth, report = variant(w, 'full', path=path)
        counts_agree(report, truth, path)
        check_equal(set(report.losses) - {'no_cfi'}, set(), 'losses')
        check_equal(report.stacks('make_deep')[0].count('make_deep'), 41, 'frames of the recursion')


@case
def a_stripped_static_program_is_refused(w):
    need_bpf()
    t = Target(w, need_target('attach_calls_stripped'))
    run = tool(w, 'attach', t.pid, status=2)
    check('no malloc can be found' in run.stderr and 'strip' in run.stderr, run.describe())
    check_equal(os.listdir(w.ledgers), [], 'what is left behind')
    t.end()


@case
def samples_are_unbiased(w):
    need_bpf()
    truth, report = None, None
    t = Target(w)
    t.attach('period=65536')
    truth = t.tell(4000 if SOAK else 1500)
    t.detach()
    report = w.report(t.ledger)
    check(report.sampled and report.period == 65536, 'sampled')
    for name in SITES:
        values, true = report.values(name), truth[name]
        if name in ('make_mapping', 'make_moved'):
            check_equal(values.as_truth(), true, name)
            continue
        # an interval is two standard errors: five of them fail one run in a million
        slack = max(2.5 * values.squares ** 0.5, 8 * 65536)
        check_between(values.alloc_bytes, true['alloc_bytes'] - slack, true['alloc_bytes'] + slack, name)
        check_between(values.free_bytes, true['free_bytes'] - slack, true['free_bytes'] + slack, name + ' freed')
    check_equal(report.losses, {}, 'losses')
    t.end()


@case
def the_same_as_the_preloaded_tracker(w):
    need_bpf()
    t = Target(w, env=w.tracked_environment())
    preloaded = w.ledger(t.pid)
    place = w.file('outside')
    os.mkdir(place, 0o700)
    run = w.bare([TOOL, 'attach', str(t.pid), 'full', 'dir=' + place])
    check_equal(run.status, 0, run.describe())
    t.tell(20)
    check_equal(w.bare([TOOL, 'detach', str(t.pid), 'dir=' + place]).status, 0, 'detach')
    inside, outside = w.report(preloaded), w.report(run.stdout.split()[0])
    for name in SITES:
        check_equal(outside.values(name).as_truth(), inside.values(name).as_truth(), name)
        # frames of the tracker's own library stand between for the one that looks from outside
        check_equal([[f for f in s if f in SITES or f == 'main'] for s in outside.stacks(name)],
                    [[f for f in s if f in SITES or f == 'main'] for s in inside.stacks(name)], name)
    t.end()


@case
def a_ring_that_overflows_is_counted(w):
    need_bpf()
    t = Target(w)
    t.attach('full')
    pid = collector_of(t.pid)
    os.kill(pid, signal.SIGSTOP)
    truth = t.tell('x120000')
    os.kill(pid, signal.SIGCONT)
    t.detach()
    report = w.report(t.ledger)
    lost = report.losses.get('collector', 0)
    missing = sum(truth[n]['allocs'] - report.values(n).allocs for n in truth)
    check(lost > 0 and missing > 0, 'lost', lost, 'missing', missing)
    check(missing <= lost, 'missing', missing, 'of which are counted', lost)
    t.end()


def collector_of(pid):
    """The process that says so of itself, of those whose ledgers are of pid."""
    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue
        try:
            with open('/proc/%s/comm' % name, errors='replace') as f:
                if f.read() != 'seep-collector\n':
                    continue
            with open('/proc/%s/maps' % name, errors='replace') as f:
                if '/%d.' % pid in f.read():
                    return int(name)
        except OSError:
            continue
    raise AssertionError('no collector of %d' % pid)


@case
def a_killed_collector_leaves_all_as_it_was(w):
    need_bpf()
    t = Target(w)
    for i in range(20 if SOAK else 5):
        t.attach('full')
        pid = collector_of(t.pid)
        t.tell(i)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: process_state(pid) in (None, 'Z'), 'the collector to end')
        t.tell(3)  # the target goes on
        report = w.report(t.ledger)
        check(not report.live, 'a ledger without a collector is not live')
    truth = Target(w)
    truth.attach('full')
    counts = truth.tell(10)
    truth.detach()
    counts_agree(w.report(truth.ledger), counts)
    check_equal(tool(w, 'detach', t.pid, status=2).status, 2, 'nothing to detach')
    t.end()


@case
def the_end_of_the_target(w):
    need_bpf()
    t = Target(w)
    t.attach('full')
    pid = collector_of(t.pid)
    truth = t.tell(10)
    check(w.report(t.ledger).live, 'it runs')
    t.end()
    wait_for(lambda: process_state(pid) in (None, 'Z'), 'the collector to end with its target')
    report = w.report(t.ledger)
    check(not report.live and not report.killed, 'state', report.data['process'])
    counts_agree(report, truth)


@case
def exec_ends_it(w):
    need_bpf()
    t = Target(w)
    t.attach('full')
    pid = collector_of(t.pid)
    truth = t.tell(10)
    t.process.stdin.write('exec\n')
    t.process.stdin.flush()
    check_equal(t.process.stdout.readline(), 'ready\n', 'the next program')
    wait_for(lambda: process_state(pid) in (None, 'Z'), 'the collector to end')
    t.tell(5)
    report = w.report(t.ledger)
    check(report.execed, report.data['process'])
    counts_agree(report, truth)
    t.end()


@case
def a_forked_child_is_not_counted(w):
    need_bpf()
    t = Target(w)
    t.attach('full')
    t.tell(5)
    truth = t.tell('kid')
    t.detach()
    counts_agree(w.report(t.ledger), truth)
    t.end()


@case
def in_namespaces_of_its_own(w):
    need_bpf()
    unshare = need_program('unshare')
    t = Target(w, command=[unshare, '--mount', '--pid', '--fork', '--kill-child', need_target('attach_calls')])
    with open('/proc/%d/task/%d/children' % (t.pid, t.pid)) as f:
        t.pid = int(f.read().split()[0])
    t.attach('full')
    truth = t.tell(20)
    t.detach()
    report = w.report(t.ledger)
    counts_agree(report, truth)
    t.end()


@case
def attaching_again_and_again(w):
    need_bpf()
    t = Target(w)
    for i in range(50 if SOAK else 12):
        before = t.tell(1)
        t.attach('full' if i % 2 else 'period=4096')
        truth = t.tell(3)
        t.detach()
        if i % 2:
            report = w.report(t.ledger)
            for name in SITES:
                check_equal(report.values(name).allocs, truth[name]['allocs'] - before[name]['allocs'], name)
        os.unlink(t.ledger)
    t.end()


@case
def it_ends_by_itself(w):
    need_bpf()
    t = Target(w)
    t.attach('full', 'for=300000000')
    pid = collector_of(t.pid)
    wait_for(lambda: process_state(pid) in (None, 'Z'), 'the time to be over', 10)
    t.attach('full', 'budget=1')
    pid = collector_of(t.pid)
    wait_for(lambda: process_state(pid) in (None, 'Z'), 'the space to be used up', 10)
    t.attach('full')
    check_equal(tool(w, 'attach', t.pid, status=2).status, 2, 'twice')
    t.detach()
    t.end()


if __name__ == '__main__':
    main()
