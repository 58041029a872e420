# SPDX-License-Identifier: Apache-2.0
"""seep attach and seep detach: a tracker for programs that already run, and away again."""
import json
import os
import re
import time

from attach_tools import CALLS, Calls, Talker, attach, counts_agree, detach, less, tracked_exactly
from harness import (SOAK, case, check, check_equal, main, process_state, wait_for)


@case
def counts_since_attaching_are_exact(w):
    t = Talker(w, '3')
    a = attach(w, t.pid, '--full')
    tracked_exactly(w, t, a['ledger'], t.free_old)
    detach(w, t.pid)
    t.end()


@case
def nobody_says_that_it_has_ended(w):
    """A process that was detached from goes on; report, ps, a snapshot and a diff of it say so, by injection and by BPF."""
    t = Talker(w, '1')
    for way in ('--inject', '--bpf'):
        a = attach(w, t.pid, way, '--full')
        check_equal(w.report(a['ledger']).data['process']['state'], 'running', way)
        detach(w, t.pid)
        check_equal(w.report(a['ledger']).data['process']['state'], 'detached', way)
        run = w.seep('snap', '-o', w.file('after%s.seep' % way), a['ledger'])
        check_equal(run.status, 0, run.describe())
        check_equal(w.report(w.file('after%s.seep' % way)).data['process']['state'], 'detached', way)
        listed = [line for line in w.seep('ps', '--ledger-dir', w.ledgers).stdout.splitlines() if str(t.pid) in line.split()]
        check(listed and 'detached' in listed[-1], listed)
        text = w.seep('report', a['ledger']).stdout
        check('pid %d, detached from' % t.pid in text, text[:300])
    t.end()


@case
def every_call_is_counted(w):
    t = Calls(w)
    before = t.tell(3)
    a = attach(w, t.pid, '--full', path='inject')
    t.tell('free')
    truth = less(t.tell(50), before)
    report = w.report(a['ledger'])
    counts_agree(report, truth, CALLS)
    check_equal(report.losses, {}, 'losses')
    stacks = report.stacks('make_deep')
    check_equal([s.count('make_deep') for s in stacks], [41], 'frames of the recursion')
    detach(w, t.pid)
    t.end()


@case
def a_single_thread_stays_single(w):
    t = Talker(w, '0')
    attach(w, t.pid, '--full')
    check_equal(len(os.listdir('/proc/%d/task' % t.pid)), 1, 'threads')
    t.free_old()
    detach(w, t.pid)
    check_equal(len(os.listdir('/proc/%d/task' % t.pid)), 1, 'threads')
    t.end()


@case
def frees_of_older_blocks_are_no_losses(w):
    t = Talker(w, '1')
    a = attach(w, t.pid, '--full')
    t.free_old()
    losses = w.report(a['ledger']).losses
    check(not losses.get('unmatched_free'), 'losses', losses)
    t.end()


@case
def what_was_there_before_is_said(w):
    t = Talker(w, '0')
    a = attach(w, t.pid)
    # 4,000 blocks of 0 to 299 bytes, as the allocator rounds them; what else there is is libc's.
    check(4000 <= a['before_blocks'] < 4100 and 590000 < a['before_bytes'] < 800000, 'before attach:', a)
    report = w.report(a['ledger'])
    check_equal(report.data['tracking']['attached'], True, 'attached, in the report')
    check_equal(report.data['tracking']['before_blocks'], a['before_blocks'], 'before attach, in the report')
    text = w.seep('report', a['ledger']).stdout
    check('before attach:' in ' '.join(text.split()), text)
    t.end()


@case
def attaching_again_after_detaching_works(w):
    t = Talker(w, '3')
    for _ in range(1000 if SOAK else 8):
        a = attach(w, t.pid, '--full')
        tracked_exactly(w, t, a['ledger'])
        detach(w, t.pid)
        os.unlink(a['ledger'])
    t.end()


@case
def libraries_loaded_before_and_after(w):
    t = Talker(w, '1')
    t.load()  # the first of two plug-ins
    a = attach(w, t.pid, '--full')
    t.load()  # the second; both do ten blocks of 60 bytes
    report = w.report(a['ledger'])
    for name in ('plugin_a_make', 'plugin_b_make'):
        values = report.values(name)
        check_equal((values.allocs, values.inuse_bytes), (10, 600), name)
    t.unload()  # what was patched in them is gone
    t.load()
    t.load()
    check_equal(w.report(a['ledger']).values('plugin_b_make').allocs, 30, 'after they were loaded again')
    detach(w, t.pid)
    t.load()
    t.unload()
    t.load()
    check_equal(w.report(a['ledger']).values('plugin_b_make').allocs, 30, 'after detaching')
    b = attach(w, t.pid, '--full')
    t.load()
    check_equal([w.report(b['ledger']).values(n).allocs for n in ('plugin_a_make', 'plugin_b_make')], [10, 10],
                'in the second ledger')
    t.end()


def pages(pid):
    """Mappings of files but seep's: their protections, and the bytes of those nobody but a tracker writes to."""
    found = {}
    with open('/proc/%d/maps' % pid) as f, open('/proc/%d/mem' % pid, 'rb') as mem:
        for line in f:
            words = line.split(None, 5)
            path = words[5].strip() if len(words) > 5 else ''
            if not path.startswith('/') or 'libseep' in path or path.endswith('.ledger'):
                continue
            low, high = (int(x, 16) for x in words[0].split('-'))
            data = None
            # tables of pointers: read-only after relocation, or the program's own data
            if words[1] == 'r--p' or 'attach_truth' in path:
                mem.seek(low)
                data = mem.read(high - low)
            found[words[0], words[1], path] = data
    return found


@case
def detaching_restores_pointers_and_protections(w):
    t = Talker(w, '0')
    t.free_old()
    before = pages(t.pid)
    for _ in range(3):
        attach(w, t.pid, '--full')
        during = pages(t.pid)
        changed = [k for k in before if during.get(k) != before[k]]
        check(any('libc' in k[2] for k in changed) and any('attach_truth' in k[2] for k in changed),
              'nothing was changed by attaching?', changed)
        check_equal([k for k in changed if k not in during], [], 'mappings split, or with other protections')
        detach(w, t.pid)
        after = pages(t.pid)
        check_equal([k for k in before if after.get(k) != before[k]], [], 'what differs from before')
        # Where the ledger was there are zeros: /dev/zero, which nobody opened.
        check_equal([k for k in after if k not in before and not k[2].startswith('/dev/zero')], [],
                    'what was not there before')
    with open('/proc/%d/maps' % t.pid) as f:
        check('.ledger' not in f.read(), 'the ledger is still mapped')
    t.end()


@case
def it_detaches_by_itself(w):
    t = Talker(w, '2')
    for limit in ('--for=400ms', '--budget=1'):
        a = attach(w, t.pid, '--full', limit)
        wait_for(lambda: 'is not attached' in w.seep('detach', str(t.pid)).stderr or
                 not w.report(a['ledger']).live, 'the end of %s' % limit)
        wait_for(lambda: not watchers(t.pid), 'whoever watched to be gone')
        last = w.report(a['ledger']).totals().allocs
        check(last > 0 or 'budget' in limit, 'nothing was recorded under', limit)
        t.mark()
        t.going()
        check_equal(w.report(a['ledger']).totals().allocs, last, 'allocations recorded later')
    t.end()


def watchers(pid):
    found = []
    for name in os.listdir('/proc'):
        try:
            with open('/proc/%s/comm' % name) as comm, open('/proc/%s/cmdline' % name, 'rb') as f:
                if comm.read() == 'seep-watch\n' and f.read().split(b'\0')[-2] == b'%d' % pid:
                    found.append(int(name))
        except (OSError, IndexError):
            pass
    return found


@case
def every_block_has_a_budget(w):
    """Unless it is said otherwise; a sample's ledger stays small."""
    t = Talker(w, '1')
    for options, watched in ((('--full',), True), (('--full', '--budget=0'), False), ((), False)):
        attach(w, t.pid, *options)
        check_equal(bool(watchers(t.pid)), watched, 'whether somebody watches with %s' % (options,))
        detach(w, t.pid)
        wait_for(lambda: not watchers(t.pid), 'nobody to watch any more')
    t.end()


@case
def the_time_is_over_even_without_whoever_watches(w):
    t = Talker(w, '2')
    a = attach(w, t.pid, '--full', '--for=1s')
    began = time.monotonic()
    for pid in wait_for(lambda: watchers(t.pid), 'somebody to watch'):
        os.kill(pid, 9)
    recorded = [0, 1]

    def stands():
        recorded.append(w.report(a['ledger']).totals().allocs)
        return recorded[-1] == recorded[-2] and time.monotonic() - began > 1
    wait_for(stands, 'recording to stop by itself')
    detach(w, t.pid)
    t.end()


@case
def detaching_ends_whoever_watches(w):
    t = Talker(w, '1')
    attach(w, t.pid, '--full', '--for=1h')
    wait_for(lambda: watchers(t.pid), 'somebody to watch')
    detach(w, t.pid)
    wait_for(lambda: not watchers(t.pid), 'nobody to watch any more')
    t.end()


@case
def before_and_after_a_fix(w):
    """Two snapshots under the leak, two without it: growth, and none."""
    t = Calls(w)
    a = attach(w, t.pid, '--full')
    snaps = w.file('snaps')
    os.mkdir(snaps)

    def snap():
        run = w.seep('snap', '-o', snaps, a['ledger'])
        check_equal(run.status, 0, run.describe())

    def growth():
        """Since the snapshot before: bytes by function."""
        run = w.seep('diff', '--json', '--since=1ms', '--snaps=' + snaps, a['ledger'])
        check_equal(run.status, 0, run.describe())
        data = json.loads(run.stdout)
        found = {}
        for site in data['sites']:
            for i in site['stack']:
                name = data['frames'][i]['function']
                found[name] = found.get(name, 0) + site['growth']
        return found
    t.tell(5)
    snap()
    t.tell(5)
    check_equal(growth().get('make_plain'), 5 * 101, 'while it leaks')
    snap()
    t.tell('x5')  # what is freed again
    check_equal(growth(), {}, 'once it was mended')
    detach(w, t.pid)
    t.end()


@case
def twice_is_refused(w):
    t = Talker(w, '1')
    a = attach(w, t.pid)
    run = attach(w, t.pid, status=2)
    check('already being tracked' in run.stderr and 'seep detach' in run.stderr, run.describe())
    check_equal(os.listdir(w.ledgers), [os.path.basename(a['ledger'])], 'ledgers')
    detach(w, t.pid)
    run = detach(w, t.pid, status=2)
    check('is not attached to' in run.stderr, run.describe())
    t.end()
    env = w.tracked_environment()
    t = Talker(w, '1', env=env)
    run = attach(w, t.pid, status=2)
    check('since its start' in run.stderr, run.describe())
    run = detach(w, t.pid, status=2)
    check('seep run' in run.stderr, run.describe())
    t.end()


@case
def the_words_for_people(w):
    t = Talker(w, '1')
    run = w.seep('attach', '--full', '--ledger-dir=' + w.ledgers, str(t.pid))
    check(re.match(r'attached to process %d \(inject\) in [\d.]+ m?s\n' % t.pid, run.stdout), run.describe())
    for line in (r'  stood still for [\d.]+ .?s', r'  before attach: [\d.]+ KiB in [\d,]+ blocks', '  ledger ' + w.ledgers):
        check(re.search(line, run.stdout), line, 'in', run.stdout)
    check_equal(w.seep('detach', str(t.pid)).stdout, 'detached from process %d\n' % t.pid, 'seep detach')
    check(process_state(t.pid) in 'RS', 'state', process_state(t.pid))
    t.end()


if __name__ == '__main__':
    main()
